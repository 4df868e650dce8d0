"""Which words may an explanation use? None that promise proof, a cause that was not found, or a treatment."""

from __future__ import annotations

import re

SUPPORTED = "causal effect supported"
"""The verdict that allows words of cause and effect."""

_PROOF = re.compile(
    r"\bprov(?:es?|ed|en|ing)\b|\bproofs?\b|\b(?:certainly|definitely|undoubtedly|guarantee[sd]?)\b|\bbeyond doubt\b",
    re.IGNORECASE,
)
_CAUSAL = re.compile(
    r"\b(?:causes|caused|causing|drives?|drove|driven|driving|due to|leads? to|led to|leading to|results? in"
    r"|resulted in|because of|thanks to|attributable to|responsible for|makes? the difference|drivers? of)\b"
    r"|(?<!\bcommon )(?<!\bhidden )(?<!\ba )(?<!\bthe )(?<!\bno )(?<!\bany )(?<!\bof )\bcause\b(?! of)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not?|never|nor|neither|cannot|without|whether|nothing|nobody)\b|n't\b|\bassociation only\b", re.IGNORECASE
)
_MATERIALS = (
    r"(?! (?:access|support|services?|starts?|education|materials?|brochures?|leaflets?|information|data|programs?"
    r"|programmes?|counts?|numbers?|volumes?))"
)
_CLINICAL = re.compile(
    r"\bpatients? (?:should|must|ought to|need to|can) (?:take|start|stop|switch|receive"
    r"|be (?:given|treated|switched|started|dosed))\b"
    r"|\b(?:treat|switch|start|put|move|keep) (?:\w+ ){0,3}patients? (?:with|to|on|onto|from)\b"
    rf"|\b(?:give|offer|prescribe|administer|inject) (?:\w+ ){{0,3}}patients?\b{_MATERIALS}"
    r"|\bprescribe (?:\w+ ){1,2}(?:to|for) (?:\w+ ){0,3}(?:patients?|women|men|children)\b"
    r"|\b(?:take|administer|prescribe|dose|titrate|inject|give|start|increase|raise|use|switch)\b[^.;]{0,60}"
    r"\b\d+(?:\.\d+)? ?(?:mg|mcg|µg|ml)\b"
    r"|\b(?:increase|double|raise|lower|reduce|adjust|titrate|start|skip) (?:the |their |a )?(?:patients?'? ?s? )?"
    r"(?:dose|dosage|dosing)\b"
    r"|\b(?:discontinue|stop|start|initiate) (?:the |their )?(?:therapy|medication)\b"
    r"|\b(?:first|second)-line (?:therapy|treatment|option)\b|\bdiagnos(?:e|ing) (?:\w+ ){0,2}patients?\b"
    r"|\boff-?\s?label\b|\bunapproved (?:use|indication|population)s?\b"
    r"|\b(?:outside|beyond) (?:the |its |their )?(?:approved )?(?:label|indications?)\b",
    re.IGNORECASE,
)
_WEAKER = (
    (re.compile(r"\bproves\b", re.IGNORECASE), "suggests"),
    (re.compile(r"\bprove\b", re.IGNORECASE), "suggest"),
    (re.compile(r"\bprov(?:ed|en)\b", re.IGNORECASE), "suggested"),
)
_ASSOCIATED = (
    (re.compile(r"\b(?:is|are|was|were) (?:caused|driven) by\b", re.IGNORECASE), "went together with"),
    (re.compile(r"\b(?:caused|driven) by\b", re.IGNORECASE), "together with"),
    (re.compile(r"\b(?:causes|drives|leads to|results in)\b", re.IGNORECASE), "goes together with"),
    (re.compile(r"\b(?:lead to|result in)\b", re.IGNORECASE), "go together with"),
    (re.compile(r"\b(?:caused|drove|led to|resulted in)\b", re.IGNORECASE), "went together with"),
    (re.compile(r"\b(?:due to|because of|thanks to)\b", re.IGNORECASE), "together with"),
)
_ENDS = re.compile(r"(?<=[.!?])\s+")
_CLAUSES = re.compile(r"(?<=[.!?;:])\s+")


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [one for one in _ENDS.split(text.strip()) if one]


def claims_proof(text: str) -> bool:
    """Whether a sentence promises proof or certainty without denying it."""
    return any(_undenied(_PROOF, one) for one in _CLAUSES.split(text))


def claims_cause(text: str) -> bool:
    """Whether a sentence speaks of causes without denying them."""
    return any(_undenied(_CAUSAL, one) for one in _CLAUSES.split(text))


def is_clinical(text: str) -> bool:
    """Whether a text advises a treatment, a dose or a use beyond the label, without warning of it."""
    return any(_undenied(_CLINICAL, one) for one in _CLAUSES.split(text))


def toned_down(text: str, *, supported: bool) -> str:
    """A text that claims no proof and, unless a causal effect is ``supported``, no cause; denials stay as they are."""
    weaker = _WEAKER if supported else _WEAKER + _ASSOCIATED
    told = []
    for sentence in re.split(r"(?<=[.!?;])(?=\s)", text):
        if _DENIED.search(sentence) is None:
            for pattern, instead in weaker:
                sentence = pattern.sub(instead, sentence)
        told.append(sentence)
    return "".join(told)


def _undenied(pattern: re.Pattern[str], sentence: str) -> bool:
    found = pattern.search(sentence)
    return found is not None and _DENIED.search(sentence[: found.end()]) is None
