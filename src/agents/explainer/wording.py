"""Which words may an explanation use? None that promise proof, a cause that was not found, or a treatment."""

from __future__ import annotations

import re

from src.domain.causal_words import denies, undenied

SUPPORTED = "causal effect supported"
"""The verdict that allows words of cause and effect."""

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
    (re.compile(r"\bthere (?:is|can be) no (?:doubt|question)(?= that\b)", re.IGNORECASE), "it seems"),
    (re.compile(r"\b(?:no|without(?: a| any)?|beyond(?: any| all)?) (?:doubt|question)\b", re.IGNORECASE), "probably"),
    (re.compile(r"\bproves\b", re.IGNORECASE), "suggests"),
    (re.compile(r"\bprove\b", re.IGNORECASE), "suggest"),
    (re.compile(r"\bprov(?:ed|en)\b", re.IGNORECASE), "suggested"),
)
_ASSOCIATED = (
    (
        re.compile(r"\b(?:is|are|was|were) (?:caused|driven|boosted|fuell?ed|spurred|propelled) by\b", re.IGNORECASE),
        "went together with",
    ),
    (re.compile(r"\b(?:caused|driven|boosted|fuell?ed|spurred|propelled) by\b", re.IGNORECASE), "together with"),
    (
        re.compile(r"\b(?:causes|drives|leads to|results in|boosts|fuels|spurs|propels|brings about)\b", re.IGNORECASE),
        "goes together with",
    ),
    (re.compile(r"\b(?:lead to|result in|boost|bring about)\b", re.IGNORECASE), "go together with"),
    (
        re.compile(
            r"\b(?:caused|drove|led to|resulted in|boosted|fuell?ed|spurred|propelled|brought about)\b", re.IGNORECASE
        ),
        "went together with",
    ),
    (re.compile(r"\b(?:due to|owing to|because of|thanks to|as a result of)\b", re.IGNORECASE), "together with"),
)
_ENDS = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [one for one in _ENDS.split(text.strip()) if one]


def is_clinical(text: str) -> bool:
    """Whether a text advises a treatment, a dose or a use beyond the label, without warning of it."""
    return undenied(_CLINICAL, text)


def toned_down(text: str, *, supported: bool) -> str:
    """A text that claims no proof and, unless a causal effect is ``supported``, no cause; denials stay as they are."""
    weaker = _WEAKER if supported else _WEAKER + _ASSOCIATED
    told = []
    for sentence in re.split(r"(?<=[.!?;])(?=\s)", text):
        if not denies(sentence):
            for pattern, instead in weaker:
                sentence = pattern.sub(instead, sentence)
        told.append(sentence)
    return "".join(told)
