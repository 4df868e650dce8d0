"""How is a phrase of a question exchanged, added or left out?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from src.agents.orchestrator.reading import Features
from src.domain.restating import spoken
from src.domain.vocabulary import Kind, Vocabulary

_LEAD = r"(?:(?:in|for|of|among|across|with|during|over)\s+)?(?:the\s+)?"


def exchanged(text: str, phrase: str, new: str) -> str | None:
    """``text`` with its words ``phrase`` replaced by ``new``; None where they do not stand there in one piece."""
    found = _pattern(phrase).search(text) if phrase else None
    return text[: found.start()] + new + text[found.end() :] if found else None


def left_out(text: str, phrase: str) -> str:
    """``text`` without the words ``phrase`` and the preposition before them."""
    found = re.compile(_LEAD + _pattern(phrase).pattern, re.IGNORECASE).search(text) if phrase else None
    return re.sub(r"\s{2,}", " ", text[: found.start()] + text[found.end() :]) if found else text


def added(text: str, *phrases: str) -> str:
    """``text`` as a question with ``phrases`` at its end."""
    return " ".join([text.rstrip(" ?.!,;:"), *phrases]) + "?"


def names_spoken(features: Features, vocabulary: Vocabulary, *, but: Iterable[Kind] = ()) -> list[str]:
    """The names of a text and its period, each with its preposition, except those of the kinds ``but``."""
    skipped = set(but)
    names = [
        spoken(match.kind, match.canonical, vocabulary)
        for match in features.matches
        if match.kind not in skipped and match.kind in _SPOKEN and not match.alternatives
    ]
    return [*dict.fromkeys(names), *([features.period_text] if features.period_text else [])]


_SPOKEN = (Kind.BRAND, Kind.REGION, Kind.SPECIALTY, Kind.MEASURE)


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"[\W_]+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"\b{words}\b", re.IGNORECASE)
