"""Which parts of an answer say something, and which only say that nothing is known?"""

from __future__ import annotations

import re

from src.rag.heuristics.claims import sentences
from src.rag.heuristics.tokens import plain_text

_CLAUSE = re.compile(r"[,;:]\s+(?=(?:but|however|although|though|yet)\b)|(?<=\w)\s-\s", re.IGNORECASE)
_SUBJECT = r"(?:i|we|the (?:contexts?|documents?|sources?|texts?|passages?|data|evidence|answer|corpus)|it|this|there)"
_DENIES = (
    r"(?:do not|does not|did not|don't|doesn't|didn't|cannot|can not|can't|could not|couldn't"
    r"|am not|i'm not|are not|aren't)"
)
_KNOWS = (
    r"(?:know|knew|have (?:any |the |enough |specific |sufficient |access ){0,2}"
    r"(?:information|data|details?|exact|knowledge|evidence|answer|to)"
    r"|find|say\b|tell|answer|determine|provide|mention|specify|state\b|contain|include|sure|certain|aware|able|familiar|recall)"
)
_MISSING = r"(?:information|data|details?|answer|documents?|sources?|context|mention|record)"
_NON_COMMITTAL = re.compile(
    rf"\b{_SUBJECT} {_DENIES} (?:\w{{1,12}} ){{0,2}}{_KNOWS}"
    rf"|\bi'm (?:not sure|unsure|afraid)|\b(?:i am|we are|i'm) (?:unsure|uncertain|unable|not)\b"
    rf"|\bno (?:\w{{1,14}} ){{0,2}}{_MISSING}\b"
    rf"|\b(?:not|never) (?:\w{{1,12}} )?"
    rf"(?:provided|specified|mentioned|stated|available|known|disclosed|documented|answerable)\b"
    rf"|\b(?:unable|impossible) to (?:answer|determine|find|say|provide|tell|confirm)"
    rf"|\b(?:is|are|was|were|remains?) (?:unknown|unclear|unavailable|undetermined)\b"
    rf"|\b(?:insufficient|not enough|missing|lacks?) {_MISSING}\b"
    rf"|\bcan(?:not| not|'t) be (?:determined|answered|found|established|said|confirmed)\b"
    rf"|\b(?:as an ai|hard to say|difficult to say|no idea|no answer)\b"
    rf"|^(?:unknown|n/?a|none|no answer|nothing|not sure|unclear)\W{{0,3}}$",
    re.IGNORECASE,
)
_LONGEST = 600


def is_non_committal(clause: str) -> bool:
    """Whether a clause says only that something is not known ("there is no information on …")."""
    return _NON_COMMITTAL.search(plain_text(clause[:_LONGEST])) is not None


def committal_parts(answer: str) -> tuple[list[str], int]:
    """The clauses that say something, in order, and how many only say that nothing is known."""
    clauses = [part.strip() for sentence in sentences(answer) for part in _CLAUSE.split(sentence) if part.strip()]
    said = [clause for clause in clauses if not is_non_committal(clause)]
    return said, len(clauses) - len(said)
