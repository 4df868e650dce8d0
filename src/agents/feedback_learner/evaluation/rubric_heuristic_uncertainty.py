"""Does an answer say how sure it is? By intervals, assumptions and what would change it."""

from __future__ import annotations

import re

from src.agents.feedback_learner.evaluation.rubric_heuristic_text import Reading, Sentence
from src.domain.rubric import CriterionScore

NUMBER = r"[-+]?[$€]?\d+(?:[.,]\d+)*\s?(?:%|k|m|pp|percent|points?|trx|nrx)?"
_PAIR = rf"{NUMBER}\s*(?:to|and|-|–|—|,|;|\.\.)\s*{NUMBER}"
_INTERVAL = re.compile(
    rf"\b(?:ci|cis|confidence|credible|interval|range|ranges|ranging|plausible"
    rf"|bounds?)\b[^;\d]{{0,40}}(?:\d\d\s?%[^;\d]{{0,25}})?{_PAIR}"
    rf"|{_PAIR}[^.;\d]{{0,20}}\b(?:ci|interval|confidence)\b|[(\[]\s*{_PAIR}\s*[\])]|±\s?{NUMBER}|\+/-\s?{NUMBER}"
    rf"|\bbetween {NUMBER} and {NUMBER}"
)
_RANGE = re.compile(rf"\b(?:likely|plausibl\w+|roughly|about|expected|perhaps|around|some)\b[^.;\d]{{0,30}}{_PAIR}")
_LEVEL = re.compile(
    r"\b(?:8\d|9\d)(?:\.\d)?\s?(?:%|percent|per cent)[^.;]{0,12}(?:ci|interval|confidence|credible|bounds?)"
    r"|\b(?:ci|interval|confidence)[^.;]{0,12}(?:8\d|9\d)(?:\.\d)?\s?(?:%|percent)"
)
_CONFIDENCE = re.compile(
    rf"\b(?:confidence|probability|likelihood|certainty|chance|odds)\b[^.;\d]{{0,20}}{NUMBER}|\bp ?[=<>] ?0?\.\d+"
    rf"|\b(?:standard error|std\.? error|se|margin of error|standard deviation)\b[^.;\d]{{0,12}}{NUMBER}"
    rf"|{NUMBER} (?:confidence|confident|probability|likely|sure|chance)|\b(?:medium|moderate|low|high) confidence\b"
)
_HEDGES = re.compile(
    r"\b(?:may|might|could|perhaps|possibl[ey]|probabl[ey]|likely|unlikely|uncertain\w*|suggests?|appears?|seems?"
    r"|roughly"
    r"|approximately|estimated|tentative\w*|unclear|cautio\w+|preliminary)\b"
)
_ASSUMPTIONS = re.compile(
    r"\b(?:assum\w+|provided that|as long as|rests on|relies on|depends on|hinges on|holds (?:only )?if"
    r"|valid (?:only )?if"
    r"|under the condition|takes? for granted|if (?:no|nothing|there is no) (?:unmeasured|unobserved|other|hidden))\b"
)
_WOULD_CHANGE = re.compile(
    r"\b(?:would|could|might) (?:also )?(?:change|reverse|overturn|weaken|alter|flip|shrink|remove|erase|undo|lower"
    r"|move"
    r"|no longer hold|strengthen|explain (?:it|this|the effect) away|make us (?:revise|reconsider))\b"
    r"|\b(?:e-?value|unless|tipping point)\b|\bwe would (?:revise|stop|reconsider|drop|withdraw)\b"
    r"|\bwhat would (?:change|alter|overturn)\b|\bchanges? (?:the|this|our) (?:answer|conclusion|estimate)\b"
)
_CERTAIN = re.compile(
    r"\b(?:definite(?:ly)?|certainly|guarantee[sd]?|undoubtedly|no doubt|prove[sn]?|always|inevitabl[ey]|surely"
    r"|for sure"
    r"|beyond (?:any )?doubt|cannot fail|without (?:any )?(?:doubt|question)|absolutely|100 ?% (?:certain|sure)"
    r"|no question"
    r"|no uncertainty|every time|unquestionabl[ey])\b"
)
_ESTIMATES = (_RANGE, _CONFIDENCE, re.compile(r"\b(?:estimat|forecast|predict|project(?:ed|ion)|extrapolat)\w*"))
_CERTAIN_DENIED = re.compile(r"\b(?:not|never|cannot|nor|no|n't)\s+(?:\w+\s+){0,2}$")
_SMALL_INTEGERS = re.compile(r"[(\[]\s*\d{1,2}\s*[,;–-]\s*\d{1,2}\s*[\])]")


def uncertainty_communication(reading: Reading) -> CriterionScore:
    """Anchors: false certainty, hedging without numbers, one range, interval and assumption, and what would change."""
    if not reading.sentences:
        return CriterionScore(1.0, "nothing is said about uncertainty")
    intervals = [one for one in reading.sentences if has_interval(one)]
    certain = [one for one in reading.sentences if _is_certain(one)]
    hedges = reading.saying(_HEDGES)
    assumes, changes = bool(reading.saying(_ASSUMPTIONS)), reading.has(_WOULD_CHANGE)
    numeric = [one for one in reading.sentences if one.says(_RANGE) or one.says(_CONFIDENCE)]
    if intervals:
        score = 3.2 + 0.15 * any(one.has(_LEVEL) for one in intervals) + 0.15 * bool(hedges) + 0.3 * changes
        if assumes:
            score = 4.0 + 0.8 * changes + 0.1 * any(one.has(_LEVEL) for one in intervals) + 0.1 * (len(intervals) > 1)
    elif numeric:
        score = 2.9 + 0.2 * assumes + 0.2 * changes + 0.1 * (len(numeric) > 1)
    else:
        score = 2.0 + 0.2 * assumes + 0.2 * changes if hedges or assumes or changes else 1.5
        score += 0.1 * (len(hedges) > 1)
    said = ["interval"] * bool(intervals) + ["confidence or range"] * bool(numeric) + ["hedges"] * bool(hedges)
    said += ["assumption"] * assumes + ["what would change the answer"] * changes + ["false certainty"] * bool(certain)
    shown = next((group[0].quote for group in (certain, intervals, numeric, hedges) if group), "")
    score -= 0.75 * bool(certain)
    return CriterionScore(max(1.0, score), "; ".join(said) or "no word on uncertainty", shown)


def has_interval(sentence: Sentence) -> bool:
    """Whether two numbers bound a figure; a pair of citation marks does not."""
    return re.search(_INTERVAL, _SMALL_INTEGERS.sub(_unless_interval(sentence), sentence.plain)) is not None


def has_estimate(sentence: Sentence) -> bool:
    """Whether a sentence gives an estimate or claims certainty, rather than a figure as it was reported."""
    return has_interval(sentence) or _is_certain(sentence) or any(sentence.says(one) for one in _ESTIMATES)


def is_reservation(sentence: Sentence) -> bool:
    """Whether a sentence says on what an answer rests or what would change it."""
    return sentence.has(_ASSUMPTIONS) or sentence.has(_WOULD_CHANGE)


def _unless_interval(sentence: Sentence) -> str:
    return r"\g<0>" if re.search(r"\b(?:ci|interval|confidence|range)\b", sentence.plain) else " "


def _is_certain(sentence: Sentence) -> bool:
    found = _CERTAIN.finditer(sentence.bare)
    return any(not _CERTAIN_DENIED.search(sentence.bare[: one.start()]) for one in found)
