"""Does an answer earn its causal words? By adjustment, checks, identification and stated limits."""

from __future__ import annotations

import re

from src.agents.feedback_learner.evaluation.rubric_heuristic_text import (
    RUBRIC_WORDS,
    Reading,
    Sentence,
    content_words,
)
from src.domain.rubric import CriterionScore

CAUSES = re.compile(
    r"\b(?:caus(?:e|ed|es|ing)|due to|because of|led to|leads to|leading to|result(?:ed|s|ing)? in|dr(?:ove|ives?"
    r"|iven by)"
    r"|boost(?:ed|s)?|responsible for|thanks to|produc(?:es|ed)|brought about|generat(?:ed|es)|effects? of|impact of"
    r"|(?:lift|rais|increas|reduc|lower)(?:s|es|ed)|adds?|added|explains why|made .{1,30} (?:rise|fall|grow))\b"
)
ASSOCIATES = re.compile(
    r"\b(?:associat\w+|correlat\w+|coincid\w+|(?:go|goes|went) (?:along )?with|linked (?:to|with)|related to"
    r"|co-?mov\w+)\b"
)
DISCLAIMS = re.compile(
    r"\b(?:association|correlation)s?\b[^.]{0,20}\b(?:not|no|rather than|never)\b[^.]{0,25}\b(?:caus\w+|effect|impact)"
    r"|\bnot (?:evidence|proof) of (?:an? )?(?:caus\w+|effect)|\bnot (?:an? )?(?:caus\w+|causal) (?:effect|claim"
    r"|estimate)"
    r"|\b(?:cannot|not|never)\b[^.]{0,30}\b(?:causal|causation|caused|as an effect|prove)\b"
)
_CONFOUNDERS = re.compile(
    r"\b(?:confound\w*|common causes?|third factors?|omitted variables?|selection (?:bias|effects?)|reverse causation"
    r"|(?:affects?|drives?|influences?|explains?|moves?) both)\b"
)
_ADJUSTS = re.compile(
    r"\b(?:adjust(?:ed|ing|s|ment|ments)? (?:for|set)|adjustment|control(?:led|ling|s)? for|match(?:ed|ing)? on"
    r"|condition(?:ed|ing|al) on|stratif(?:ied|ying) by|account(?:ed|ing|s)? for|allow(?:ed|ing) for|correct(?:ed"
    r"|ing) for"
    r"|net of|tak(?:en|ing) into account|hold(?:ing|s)? [^.,;]{2,60} (?:constant|fixed))\b"
)
_ADJUSTED_FOR = re.compile(
    r"\b(?:(?:adjust\w*|control(?:led|ling|s)?|account(?:ed|ing|s)?|allow(?:ed|ing)|correct(?:ed|ing)) for"
    r"|(?:match(?:ed|ing)?|condition\w*) on|stratif\w+ by|net of|adjustment set(?: (?:is|was|of|holds|contains"
    r"|includes))?"
    r"|hold(?:ing|s)?(?= [^.,;]{2,60} (?:constant|fixed)))[: ]+([^.;()]{2,120})"
)
_DESIGN = re.compile(
    r"\b(?:randomi[sz]\w+|a/b test|hold-?out group|control (?:group|arm)|difference-in-differences|diff-in-diff"
    r"|propensity(?:[- ]score)?|instrumental variables?|instrument|regression discontinuity|synthetic control"
    r"|fixed effects"
    r"|doubly[- ]robust|inverse[- ]probability|double machine learning|matched (?:pairs|controls|accounts))\b"
)
_CHECKS = {
    "placebo": r"placebo\w*|permut\w+",
    "refutation": r"refut\w+|falsif\w+",
    "negative control": r"negative[- ]controls?",
    "random common cause": r"random common causes?",
    "sensitivity": r"sensitivity|e-values?|robustness",
    "trends": r"(?:pre-?|parallel )trends?|lead test",
    "overlap": r"overlap|positivity|(?:covariate )?balance[d]?",
    "subsets": r"(?:data )?subsets?|bootstrap\w*|leave-one-out|cross-?fit\w*",
}
_CHECK = {name: re.compile(rf"\b(?:{pattern})\b") for name, pattern in _CHECKS.items()}
_OUTCOME = re.compile(
    r"\b(?:pass\w*|surviv\w+|h(?:old|olds|eld)|stable|unchanged|robust|near(?:ly)? zero|close to zero|no effect"
    r"|vanish\w*"
    r"|disappear\w*|as (?:it should|expected)|stay(?:s|ed)|show(?:s|ed)|found|flat|balanced|proceed|p ?[=<>])\b|\d"
)
_FAILED = re.compile(r"\b(?:placebo|refutation|negative control|check|test)s?\b[^.;]{0,30}\bfail(?:s|ed)?\b")
_IDENTIFIED = re.compile(
    r"\b(?:identif(?:ied|iable|ication)|back-?door|front-?door|parallel trends|randomi[sz]\w+|valid instrument"
    r"|exogen\w+)\b"
)
LIMITS = re.compile(
    r"\b(?:unmeasured|unobserved|hidden confound\w+|residual confound\w+|cannot (?:rule|exclude|be (?:ruled|excluded))"
    r"|could not (?:rule|measure)|limit(?:s|ation|ations)\b|does not (?:generali[sz]e|extend|hold|apply|cover|tell)"
    r"|(?:holds|applies|valid|covers) only|only (?:holds|applies|valid|covers)|not (?:be )?(?:generali[sz]ed"
    r"|transferable)"
    r"|says nothing about|outside (?:the|this) (?:data|sample|period|range)|rests on (?:the|no|an?))"
)
_LEAP = re.compile(
    r"\b(?:correlat\w+|associat\w+|coincid\w+|at the same time|trend together)\b[^.]{0,60}"
    r"\b(?:so|therefore|thus|hence|prov\w+|means?|shows?|confirms?|demonstrates?)\b|"
    r"\bsince both (?:rose|grew|fell)\b|\b(?:correlation|association)\b[^.]{0,30}\b(?:prov|show|demonstrat|confirm"
    r"|mean)\w*"
)
_OVERSTATES = re.compile(r"\b(?:prove[sn]?|proof that|undoubtedly|clearly caused|obviously|without (?:a )?doubt)\b")
_ITEMS_END = re.compile(r",? (?:as far as|which|that|so|but|because|where|although|while|when)\b")
_GENERIC = content_words(
    "confounders confounder confounding everything other others all factors factor variables variable covariates things"
    " set known relevant measured observed these those possible potential adjustment constant several many various"
)


def causal_validity(reading: Reading) -> CriterionScore:
    """Anchors: correlation as cause, no confounder, some adjusted for, adjustment set and checks, limits explicit."""
    named = _named(reading)
    design = reading.says(_DESIGN)
    adjusted = bool(named) or design
    checks = _checks(reading)
    limits, identified = reading.has(LIMITS), reading.says(_IDENTIFIED)
    score = _without_method(reading, limits)
    if adjusted:
        score = 3.0 + 0.1 * min(len(named), 3) + 0.15 * design + 0.15 * limits + 0.1 * bool(_mentioned(reading))
        if any(checks.values()):
            score = 4.0 + _above_four(sum(checks.values()), identified, limits, len(named) + design)
        elif checks:
            score = max(score, 3.6)
    penalty, faults = _faults(reading)
    if reading.denies(_ADJUSTS) and not adjusted:
        score = min(score, 2.25)
    found = _words_for(reading, named, design, checks, identified, limits)
    return CriterionScore(max(1.0, score - penalty), "; ".join([*found, *faults]), _quote(reading, adjusted))


def _without_method(reading: Reading, limits: bool) -> float:
    """1 for causes claimed, 2 for association, up to 2.9 where confounders are named or adjusted for in general."""
    if not reading.sentences:
        return 1.0
    disclaimed = reading.has(DISCLAIMS)
    claims = any(
        one.says(CAUSES) and not one.has(DISCLAIMS) and not one.says(_CONFOUNDERS) for one in reading.sentences
    )
    score = 1.0 if claims else 2.0 if reading.says(ASSOCIATES) or disclaimed else 1.5
    score += 0.25 * (disclaimed or limits)
    if reading.says(_CONFOUNDERS):
        score = max(score + 0.25, 2.4 if claims else 2.6)
    if reading.says(_ADJUSTS):
        score = max(score, 2.75)
    return min(score + 0.1 * bool(_checks(reading)), 2.9)


def _above_four(checks: int, identified: bool, limits: bool, basis: int) -> float:
    """0 to 1: identification .35, limits .35, a second check .2, more than one thing adjusted for .1."""
    return 0.35 * identified + 0.35 * limits + 0.2 * (checks > 1) + 0.1 * (basis > 1)


def _named(reading: Reading) -> frozenset[str]:
    """What is adjusted for, word by word where several stand in a list."""
    found: set[str] = set()
    for one in reading.saying(_ADJUSTED_FOR):
        for match in _ADJUSTED_FOR.finditer(one.bare):
            items = re.split(r",|\band\b|\bas well as\b|\bplus\b", RUBRIC_WORDS.sub(" ", _ITEMS_END.split(match[1])[0]))
            found |= {" ".join(sorted(words)) for item in items if (words := content_words(item) - _GENERIC)}
    return frozenset(found)


def _checks(reading: Reading) -> dict[str, bool]:
    """Checks that are mentioned as made, and whether the sentence says how they came out."""
    return {
        name: any(one.has(_OUTCOME) and len(one.content) > 3 for one in saying)
        for name, pattern in _CHECK.items()
        if (saying := reading.saying(pattern))
    }


def _mentioned(reading: Reading) -> list[Sentence]:
    return reading.saying(_CONFOUNDERS)


def _faults(reading: Reading) -> tuple[float, list[str]]:
    faults = {
        "takes an association for a cause": (0.75, any(_leaps(one) for one in reading.sentences)),
        "claims proof": (0.5, reading.says(_OVERSTATES)),
        "a check failed": (0.75, reading.has(_FAILED)),
        "says that it did not adjust": (0.35, reading.denies(_ADJUSTS) or _overlooks_confounders(reading)),
        "says that it did not check": (0.25, any(reading.denies(pattern) for pattern in _CHECK.values())),
    }
    return sum(cost for cost, is_so in faults.values() if is_so), [name for name, (_, is_so) in faults.items() if is_so]


def _overlooks_confounders(reading: Reading) -> bool:
    """That unmeasured ones cannot be ruled out is a limit, not an oversight."""
    return any(one.denies(_CONFOUNDERS) and not one.has(LIMITS) for one in reading.sentences)


def _leaps(sentence: Sentence) -> bool:
    return sentence.has(_LEAP) and sentence.says(CAUSES) and not sentence.has(DISCLAIMS)


def _words_for(
    reading: Reading, named: frozenset[str], design: bool, checks: dict[str, bool], identified: bool, limits: bool
) -> list[str]:
    said = [f"adjusts for {len(named)} named factors" if named else "names nothing it adjusts for"]
    said += ["a design for causes"] * design
    said += [f"checks: {', '.join(checks)}" if checks else "no check"]
    said += ["identification stated"] * identified + ["limits stated"] * limits
    return said if reading.sentences else ["nothing is said about causes"]


def _quote(reading: Reading, adjusted: bool) -> str:
    for pattern in (_ADJUSTED_FOR, _DESIGN) if adjusted else (_CONFOUNDERS, CAUSES, ASSOCIATES):
        if saying := reading.saying(pattern):
            return saying[0].quote
    return ""
