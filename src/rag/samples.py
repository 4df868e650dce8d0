"""What is evaluated: a question, what should be said, what was retrieved and what was answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

DECIDING = ("expects", "kind", "declined")
"""Metadata that decides how a sample is judged."""


@dataclass(frozen=True, slots=True)
class EvaluationSample:
    """One question. ``contexts`` are the right ones, ``retrieved_contexts`` those a pipeline found, best first.

    ``sample_id`` defaults to a digest of query, ground truth and contexts. ``metadata``: brand, category, and
    what the adversarial kinds expect.
    """

    query: str
    ground_truth: str | None = None
    contexts: tuple[str, ...] = ()
    answer: str | None = None
    retrieved_contexts: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sample_id: str = ""

    def __post_init__(self) -> None:
        if not self.sample_id:
            object.__setattr__(self, "sample_id", content_id(self.query, self.ground_truth, self.contexts))

    @property
    def scored_contexts(self) -> tuple[str, ...]:
        """What the answer had before it: the retrieved contexts where a pipeline gave some, else the right ones."""
        return self.contexts if self.retrieved_contexts is None else self.retrieved_contexts


def content_id(query: str, ground_truth: str | None, contexts: Sequence[str]) -> str:
    """Sixteen hex digits that change with what is asked and expected."""
    return hashlib.sha256(_encoded([query, ground_truth, list(contexts)])).hexdigest()[:16]


def dataset_hash(samples: Sequence[EvaluationSample]) -> str:
    """Version of a set of samples: a digest of ids, expectations, and answers and contexts given, in any order."""
    return hashlib.sha256(b"\n".join(sorted(map(_version, samples)))).hexdigest()


def _version(one: EvaluationSample) -> bytes:
    given = [one.sample_id, one.query, one.ground_truth, list(one.contexts), one.answer, one.retrieved_contexts]
    return _encoded([*given, [str(one.metadata.get(name) or "") for name in DECIDING]])


def _encoded(value: list[object]) -> bytes:
    """JSON; what orjson refuses (half of a surrogate pair, cut from an emoji) with the escapes of plain JSON."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
