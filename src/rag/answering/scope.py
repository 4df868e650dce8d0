"""Is a question one for commercial analytics, or does it ask for clinical advice?"""

from __future__ import annotations

import re

CLINICAL = "this asks for clinical advice, and only questions of commercial analytics are answered"

_SOMEBODY = r"(?:(?:my|our|a|an|the|this|that|her|his|your|one|pregnant|elderly|adult|pediatric)\s+){0,3}"
# A person, not "patient starts" or "patient support".
_PATIENT = (
    r"(?:patients?(?!\s+(?:starts?|support|programs?|programmes?|shares?|touch|journeys?|volumes?))|pregnan\w{0,5})\b"
)
_ADVICE = re.compile(
    r"(?i)\b(?:"
    r"(?:should|shall|can|could|may|must)\s+(?:i|we|you|one|(?:a )?doctors?|physicians?|she|he|they)\s+"
    r"(?:\w+\s+){0,2}?(?:prescribe|inject|administer|treat|stop taking|start taking|dose"
    r"|take\s+(?:\d|it\b|kisqali|fabhalta|remibrutinib|ribociclib|iptacopan))\b"
    rf"|(?:should|can|could|may|must)\s+(?:i|we)\s+(?:give|start|put|switch)\b[^.?!]{{0,40}}\b{_PATIENT}"
    rf"|{_PATIENT}\s+(?:should|may|can|must)\s+(?:\w+\s+){{0,2}}?(?:get|receive|take|use|be given|be treated)\b"
    rf"|(?:can|may|should|must|could)\s+{_SOMEBODY}(?:patients?|women|men|child|children)\s+(?:\w+\s+){{0,2}}?"
    r"(?:take|receive|get|use|be (?:given|treated|switched|dosed|started))\b"
    r"|dos(?:e|es|age|ing)\b[^.?!]{0,60}\b(?:for|in|of|to|should)\s+"
    rf"{_SOMEBODY}(?:patient|child|woman|man|i\b|we\b|you\b)"
    r"|(?:which|what|how much|how many)\s+(?:\w+\s+){0,3}(?:dose|dosage|mg|milligrams?|tablets?|pills?)\b[^.?!]{0,40}"
    r"\b(?:patient|take|give|prescribe|administer)"
    r"|(?:recommended|right|correct|maximum|maximal|starting|safe)\s+(?:\w+\s+){0,2}(?:dose|dosage|dosing)\b"
    rf"|(?:treat|diagnose|cure)\s+{_SOMEBODY}(?:patient|pregnan)"
    r"|(?:safe|contraindicated|effective|suitable|appropriate)\s+(?:to (?:take|give|use|combine)|for|in|during|with)\s+"
    rf"{_SOMEBODY}(?:{_PATIENT}|breast ?feeding|child|children|alcohol)"
    r")"
)


def asks_for_clinical_advice(question: str) -> bool:
    """Whether a question asks how somebody should be treated."""
    return _ADVICE.search(question) is not None
