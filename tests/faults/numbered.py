"""Which spans does a fault test log, and how does it recognise them in a store?

A span's number is ``label:sequence`` (``label:sequence.child`` for the span inside it). Its payload follows from the
number, so a store's row can be judged without asking the process that made it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from src.mlops.opik_connector import OpikConnector

# Whatever has a meaning in JSON, in COPY or in a line of the spool.
_WORDS = (
    "plain",
    "βeta",
    "日本",
    "back\\slash",
    'quo"te',
    "tab\there",
    "line\nbreak",
    "\\N",
    "\\.",
    "{brace}",
    "100 %",
)
_MOST_WORDS = 150


class Broken(Exception):
    """Raised inside some spans, to end them as errors."""


def numbers_of(label: str, sequence: int) -> list[str]:
    """The spans of one piece of work: every third has another span inside."""
    return [f"{label}:{sequence}"] + ([f"{label}:{sequence}.child"] if sequence % 3 == 0 else [])


def payload_of(number: str) -> str:
    """The input of a span: from nothing to about a kilobyte."""
    rng = random.Random(number)
    return " ".join(rng.choices(_WORDS, k=rng.randrange(_MOST_WORDS)))


def digest_of(number: str, payload: str) -> str:
    """Ties a number to its payload; letters only, since redaction leaves those alone."""
    digits = hashlib.sha256(f"{number}\0{payload}".encode()).hexdigest()
    return digits.translate(str.maketrans("0123456789", "ghijklmnop"))


def attributes_of(number: str) -> dict[str, str]:
    """What the span carries to be recognised by."""
    return {"number": number, "digest": digest_of(number, payload_of(number))}


def is_whole(number: str, digest: str, payload: str) -> bool:
    """Whether a row says what the span of this number said."""
    return payload == payload_of(number) and digest == digest_of(number, payload)


def log_work(connector: OpikConnector, label: str, sequence: int) -> Iterator[tuple[str, str]]:
    """Log one piece of work; yields number and id of each span in the order they ended."""
    root, *inner = numbers_of(label, sequence)
    with _span(connector, root) as outer:
        for number in inner:
            with _span(connector, number) as span:
                pass
            yield number, span.span_id
        if sequence % 7 == 0:
            outer.set_error(Broken("as planned"))
    yield root, outer.span_id


def _span(connector: OpikConnector, number: str) -> Any:
    # The orchestrator's traces are always mirrored.
    return connector.trace_agent(
        "orchestrator", "work", metadata=attributes_of(number), input_data={"payload": payload_of(number)}
    )


def recognised(attributes: Mapping[str, Any], given: Mapping[str, Any] | None) -> tuple[str, bool]:
    """Number of a stored row, and whether it is whole."""
    number = str(attributes["number"])
    return number, is_whole(number, str(attributes["digest"]), str((given or {}).get("payload")))
