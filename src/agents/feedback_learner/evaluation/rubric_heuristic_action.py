"""Does an answer say what to do? By steps with a verb, a target, a size, a time, an owner and an expected effect."""

from __future__ import annotations

import re
from dataclasses import dataclass

from src.agents.feedback_learner.evaluation.rubric_heuristic_text import Reading, Sentence
from src.agents.feedback_learner.evaluation.rubric_heuristic_uncertainty import NUMBER, has_interval
from src.domain.rubric import CriterionScore

_DO = (
    "shift|move|reallocate|redeploy|add|increase|raise|cut|reduce|lower|visit|call|schedule|send|pilot|test|run"
    "|launch|stop"
    "|pause|start|begin|train|assign|target|invite|hold|expand|extend|limit|replace|deliver|contact|cap|set|book|brief"
    "|roll out|review|audit|rank|recruit|double|halve|drop|redirect|concentrate|focus|prioriti[sz]e|resume|give|offer"
    "|withdraw|transfer|allocate|measure|re-?run|check|compare|equip|place|reassign|ask|have the|hire|freeze"
    "|reinvest|deploy|trim|swap|rotate|publish|retrain|recalibrate|retire|refresh|collect"
)
_VAGUE = (
    "consider|improve|optimi[sz]e|enhance|leverage|explore|monitor|look into|strengthen|engage|align|think about|pay"
    "|maximi[sz]e|work on|support|ensure|keep|investigate|evaluate|assess|be|try|do more|rethink|continue"
)
_LEAD = r"(?:please |then |first,? |second,? |third,? |next,? |finally,? |also,? |(?:by|in|from|until) [\w ]{2,20}, )?"
_MODAL = (
    r"\b(?:should|must|recommend(?:ed)?(?: to| that [\w ]{2,30}?)?|propose(?: to)?|advise(?: to)?|suggest(?: to| that)?"
)
_MODAL += (
    r"|next step is to|plan(?:s)? to|needs? to|(?:we|team|manager|lead|director|owner|head|analysts?) (?:will|to|can)"
)
_MODAL += r"|action:|step:|let us|please)\s+(?:\w+ly |now |also |first )?"
_STARTS = re.compile(
    rf"^{_LEAD}(?:{_DO})\b(?! (?:frequency|volume|rates?|intensity|plans?|accounts? (?:are|were|have|received)))"
)
_MODAL_DO = re.compile(rf"(?:{_MODAL})(?:{_DO})\b")
_NAMED_DOER = re.compile(rf"^[\w ,'/-]{{3,60}}?: (?:{_DO})\b|\bto (?:{_DO})\b [^.]{{3,}}\b(?:by|from|per|every|each)\b")
_VAGUE_STEP = re.compile(rf"^{_LEAD}(?:{_VAGUE})\b|(?:{_MODAL})(?:{_VAGUE})\b")
_TARGET = re.compile(
    r"\b(?:hcps?|physicians?|prescribers?|oncolog\w+|hematolog\w+|dermatolog\w+|allerg\w+|immunolog\w+|rheumatolog\w+"
    r"|internists?|specialists?|accounts?|clinics?|practices?|hospitals?|territor\w+|segments?|deciles?|tiers?|targets?"
    r"|northeast|south|midwest|west|regions?|districts?|centers?|cohorts?|quintiles?|writers?)\b"
)
_DATE = (
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr"
    r"|jun|jul"
    r"|aug|sep|sept|oct|nov|dec)\b(?: \d{1,2})?(?:,? \d{4})?|\bq[1-4]\b(?: \d{4})?|\b20\d\d\b|\b(?:deciles?"
    r"|tiers?) \d+(?:[-–]\d+)?"
)
_SIZE = re.compile(
    r"\b(?:\d+(?:[.,]\d+)*\s?(?:%|percent|k\b|pp)?|two|three|four|five|six|eight|ten|twelve|half|double|twice"
    r"|one more)\b"
)
_TIME = re.compile(
    r"\b(?:by (?:the end|mid|next|\w+ \d|q[1-4]|january|february|march|april|may|june|july|august|september|october"
    r"|november|december)|within \w+ (?:days?|weeks?|months?)|(?:for|over|in) (?:the next )?\w+ (?:days?|weeks?|months?"
    r"|quarters?)|until|starting|from (?:next|january|february|march|april|may|june|july|august|september|october"
    r"|november"
    r"|december|q[1-4])|next (?:week|month|quarter|cycle)|in q[1-4]|per (?:week|month|quarter)|every (?:week|month)"
    r"|weekly|monthly)\b"
)
_OWNER = re.compile(
    r"\b(?:owner|owned by|responsib\w+|accountable|led by|assigned to)\b"
    r"|\b(?:lead|leads|directors?|managers?|head|vp|team|analysts?|coordinator|liaison)\b"
)
_EXPECTS = re.compile(
    r"\b(?:expect\w*|anticipat\w+|would (?:add|bring|raise|yield|gain|lift|mean|give)|should (?:add|bring|raise"
    r"|yield|lift|give)"
    r"|predicted|projected|forecast\w*|(?:gain|uplift|lift|increase|effect|return) of|worth)\b"
)
_NOTHING = re.compile(r"\b(?:no (?:action|change|step|recommendation)s?|nothing to do|do nothing|not actionable)\b")
_NO_MATTER = re.compile(rf"{_DATE}|\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class _Step:
    sentence: Sentence
    target: bool
    size: bool


def actionability(reading: Reading) -> CriterionScore:
    """Anchors: nothing to do, vague, a step, a step with target, and with expected effect, interval and owner."""
    # A step may be shorter than a statement has to be: "Pause samples in Q3."
    lines = [one for one in reading.all_sentences if one.is_prose or _is_short_step(one)]
    steps = [_step(one) for one in lines if is_step(one)]
    if not steps:
        return _without_step(reading, lines)
    best = max(steps, key=_bare_score)
    score = _bare_score(best)
    owner = any(one.says(_OWNER) for one in lines)
    timed = any(one.sentence.has(_TIME) for one in steps)
    expects, bounded = _expectation(lines)
    if score >= 4:
        score += 0.1 * timed + 0.3 * owner + 0.2 * expects + 0.3 * bounded + 0.1 * (len(steps) > 1)
    else:
        score = min(3.9, score + 0.15 * timed + 0.2 * owner + 0.1 * expects + 0.1 * bounded + 0.05 * (len(steps) > 1))
    said = [f"{len(steps)} steps", *["target"] * best.target, *["size"] * best.size, *["time"] * timed]
    said += ["owner"] * owner + ["expected effect"] * expects + ["its interval"] * bounded
    return CriterionScore(min(5.0, score), ", ".join(said), best.sentence.quote)


def _bare_score(step: _Step) -> float:
    if step.target and step.size:
        return 4.0
    return 2.75 + 0.3 * step.target + 0.45 * step.size


def _without_step(reading: Reading, lines: list[Sentence]) -> CriterionScore:
    if vague := [one for one in lines if one.says(_VAGUE_STEP)]:
        aimed = any(one.has(_TARGET) for one in vague)
        return CriterionScore(1.8 + 0.2 * aimed + 0.1 * (len(vague) > 1), "advice without a step", vague[0].quote)
    if any(one.has(_NOTHING) for one in lines):
        return CriterionScore(1.0, "says that there is nothing to do")
    implied = any(one.says(_EXPECTS) and re.search(r"\d", one.bare) for one in reading.sentences)
    return CriterionScore(1.25 if implied else 1.0, "no step")


def is_step(sentence: Sentence) -> bool:
    """Whether a sentence says what to do."""
    if sentence.has(_NOTHING) or sentence.plain.endswith("?"):
        return False
    return sentence.has(_STARTS) or sentence.says(_MODAL_DO) or (sentence.listed and sentence.has(_NAMED_DOER))


def _is_short_step(sentence: Sentence) -> bool:
    return len(sentence.content) > 1 and len(sentence.words) > 2 and sentence.has(_STARTS) and "," not in sentence.bare


def _step(sentence: Sentence) -> _Step:
    return _Step(sentence, sentence.has(_TARGET), _SIZE.search(_NO_MATTER.sub(" ", sentence.bare)) is not None)


def _expectation(lines: list[Sentence]) -> tuple[bool, bool]:
    """Whether a numbered effect is expected, and whether its interval stands with it."""
    found = [one for one in lines if one.says(_EXPECTS) and re.search(NUMBER, _NO_MATTER.sub(" ", one.bare))]
    return bool(found), any(has_interval(one) for one in found)
