"""Does a new prompt carry what somebody hid in a document or a question to steer the assistant?

A model that reflects on answers reads documents and questions; whatever stands in them may end up in its text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from src.domain.disguises import readings
from src.domain.guards import Guards, Rule, load_guards

_ADDRESS = re.compile(
    r"(?i)\b(?:https?|ftp|file|data|javascript):\S|\bwww\.\w|!\[[^\]]*\]\(|<(?:img|script|iframe|a)\b"
)
_SECRET = re.compile(
    r"(?i)\b(?:sk|pk)-[a-z0-9_-]{8,}|\bAKIA[0-9A-Z]{12,}|\bbearer\s+[a-z0-9+/=._-]{8,}|\bgh[pousr]_\w{16,}"
)
_PROHIBITION = re.compile(r"(?:never|do not|don['’]t)\s+(?P<what>\S.*)", re.IGNORECASE)
# What a prohibition may be about and still be a rule for this assistant: what comes in with the question.
_MATERIAL = re.compile(
    r"\b(?:documents?|passages?|questions?|findings?|contexts?|quoted|quotes?|material|data|values?|users?|readers?"
    r"|patients?|prescribers?|physicians?|dos(?:e|es|age|ing)|label|clinical)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(?:your|these|this|above|previous|earlier|system|any|all)\b", re.IGNORECASE)
_DEFENCE = re.compile(
    r"(?i)\b(?:never|no) instructions?\b|\b(?:is|are) data\b|\b(?:tells?|asks?) you to\b"
    r"|\bwhatever\b[^.]{0,80}\bdo not\b"
)
_RULES = (Rule.INSTRUCTION_OVERRIDE, Rule.EXFILTRATION, Rule.OFF_LABEL, Rule.CLINICAL_ADVICE, Rule.INDIVIDUALS)
_LONGEST_WORD = 20
_UNSEEN = frozenset({"Cf", "Co", "Cn", "Cs", "Cc"})


def injected(added: Iterable[str], guards: Guards | None = None) -> list[str]:
    """Why the added sentences may be an attacker's, one line each: they break a rule for questions, or hold an
    address, a secret or a word that is none. A sentence that forbids something about documents or questions is a rule,
    not an attack."""
    rules = guards or load_guards()
    return [f"'{shown(sentence)}' {why}" for sentence in added for why in _reasons(sentence, rules)]


def hidden_characters(new: str, old: str) -> list[str]:
    """Names of the invisible and control characters, and of the scripts, that ``old`` has not."""
    unseen = {one for one in new if unicodedata.category(one) in _UNSEEN and one not in "\n\r\t"} - {*old}
    scripts = _scripts(new) - _scripts(old)
    return sorted(unicodedata.name(one, f"U+{ord(one):04X}") for one in unseen) + sorted(
        f"{script} letters" for script in scripts
    )


def defends(sentence: str) -> bool:
    """Whether a sentence of a prompt says that what comes in is material and gives no orders."""
    return _DEFENCE.search(sentence) is not None


def _reasons(sentence: str, guards: Guards) -> Iterator[str]:
    if _ADDRESS.search(sentence):
        yield "holds an address"
    if _SECRET.search(sentence):
        yield "holds what looks like a secret"
    if any(len(word) > _LONGEST_WORD for word in readings(sentence)[0].glued):
        yield f"holds a word of more than {_LONGEST_WORD} letters, which may hide others"
    if not _is_a_rule(sentence):
        yield from (f"breaks the rule {rule.value}" for rule in _RULES if guards.breaks(rule, sentence))


def _is_a_rule(sentence: str) -> bool:
    forbidden = _PROHIBITION.match(sentence)
    if forbidden is None or re.search(r"[.;:!?]\s+\S", sentence):
        return False
    return _MATERIAL.search(forbidden["what"]) is not None and _OWN.search(forbidden["what"]) is None


def _scripts(text: str) -> set[str]:
    """Scripts of the letters, by the first word of their names; Greek letters are statistics."""
    names = (unicodedata.name(one, "UNNAMED") for one in {*text} if one.isalpha())
    return {name.split()[0].lower() for name in names} - {
        "latin",
        "greek",
        "micro",
        "modifier",
        "superscript",
        "subscript",
    }


def shown(sentence: str) -> str:
    """The beginning of a sentence, for a message."""
    return sentence if len(sentence) <= 80 else f"{sentence[:77]}..."
