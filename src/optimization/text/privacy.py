"""Does a new prompt carry anything that names or numbers a person?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from src.domain.disguises import plain, readings
from src.domain.identifiers import REDACTED, find_identifiers, without_identifiers

_SIGNS = re.compile(r"[^a-z0-9]")
_TITLED = re.compile(
    r"\b(?i:dr|doctor|prof|professor|mr|mrs|ms|nurse)\.?\s+(?:[A-Z]\.?\s+)?(?P<name>[A-Z][\w'’-]{1,40}(?:\s+[A-Z][\w'’-]{1,40})?)"
)
LEAST_LENGTH = 5
"""Letters and digits from which a private value is looked for: shorter ones stand in any text by chance."""


def personal(
    new: str, old: str = "", *, private_values: Iterable[str] = (), training_texts: Iterable[str] = ()
) -> list[str]:
    """Why ``new`` may identify a person, one line each, none repeating the value: identifiers in any reading of it
    (look-alike letters, codes, mirror writing), titled names, and values of ``private_values`` or identifiers and
    titled names of the training texts, however they are punctuated. What ``old`` has is not looked at again.

    Names without a title are found only where they are among the private values.
    """
    found = [
        f"a {one.kind.value} in line {one.line}" for one in find_identifiers(new) if one not in find_identifiers(old)
    ]
    found += [f"a hidden {kind}" for kind in _hidden_kinds(new) - _hidden_kinds(old)]
    if _titled(new) - _titled(old):
        found.append("the name of a person")
    values = {*private_values, *(value for text in training_texts for value in private_of(text))}
    if leaked := sum(_holds(new, value) and not _holds(old, value) for value in values):
        found.append(f"{leaked} private value{'s' if leaked > 1 else ''} of the training material")
    return list(dict.fromkeys(found))


def _titled(text: str) -> set[str]:
    return {match["name"] for match in _TITLED.finditer(text)}


def private_of(text: str) -> Iterator[str]:
    """Values in a text that identify a person: identifiers, and names after a title."""
    yield from _taken_out(text, without_identifiers(text))
    yield from _titled(text)


def _taken_out(text: str, redacted: str) -> Iterator[str]:
    """What stood where a redacted text says that something did."""
    at, kept = 0, redacted.split(REDACTED)
    for number, piece in enumerate(kept[:-1]):
        start = at + len(piece)
        following = kept[number + 1]
        end = text.find(following, start + 1) if following else len(text)
        yield text[start:end]
        at = end


def _hidden_kinds(text: str) -> set[str]:
    """Kinds of identifiers that show only when the text is read otherwise than it stands."""
    shown = {one.kind for one in find_identifiers(text)}
    return {one.kind.value for reading in readings(text) for one in find_identifiers(reading.signs)} - {
        kind.value for kind in shown
    }


def _holds(text: str, value: str) -> bool:
    bare = _bare(value)
    return len(bare) >= LEAST_LENGTH and bare in _bare(text)


def _bare(text: str) -> str:
    return _SIGNS.sub("", plain(text))
