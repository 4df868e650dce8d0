"""How do the parts of a metric become one score, and the reasons one text?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.optimization.gepa.library import score_with_feedback

_WORD = re.compile(r"[a-z0-9]+")
_SMALL = frozenset(
    ("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "its", "of", "on", "or", "that")
    + ("the", "this", "to", "was", "were", "will", "with")
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a metric: 0–1, and what is wrong in words (empty where nothing is)."""

    score: float
    wrong: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"a part of a metric lies in 0–1, not at {self.score}")


Parts = Mapping[str, Part | None]
"""None: the example does not tell what is right."""
PartsOf = Callable[[Any, Any], Parts]


class GepaMetric:
    """A metric as GEPA calls it: synchronous, five arguments, dspy's ``ScoreWithFeedback``.

    The score is the weighted mean of the parts that the example can be judged by; the weights of the others are
    shared out. An example that can be judged by none scores 0 and says so. A part for which the example names nothing
    that is right cannot be judged: whatever was said would be as good as anything else.
    """

    def __init__(self, name: str, parts: PartsOf, weights: Mapping[str, float]) -> None:
        self.name = name
        self.weights = dict(weights)
        self._parts = parts

    def __call__(self, gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        """Judge one prediction."""
        parts = {name: part for name, part in self._parts(gold, pred).items() if part is not None}
        weight = sum(self.weights[name] for name in parts)
        score = sum(self.weights[name] * part.score for name, part in parts.items()) / weight if weight else 0.0
        return score_with_feedback(score, in_words(parts))


def in_words(parts: Mapping[str, Part]) -> str:
    """What is wrong, the worst part first."""
    if not parts:
        return "Nothing of the output could be judged: the example does not tell what is right."
    wrong = sorted((part.score, name, part.wrong) for name, part in parts.items() if part.wrong)
    return " ".join(f"{name} {score:.2f} of 1: {said}." for score, name, said in wrong) or "Nothing is wrong."


def text_of(source: Any, name: str) -> str:
    """An output as text; empty where it is not there."""
    value = source.get(name, None)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def list_of(source: Any, name: str) -> list[Any]:
    """An output as a list: a list, JSON text of one, or one entry per line."""
    value = source.get(name, None)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = _from_text(value)
    return list(value) if isinstance(value, list | tuple | set) else [value]


def words(text: str) -> set[str]:
    """The words that carry meaning, in small letters."""
    return {word for word in _WORD.findall(text.lower()) if word not in _SMALL}


def mentions(text: str, wanted: str) -> bool:
    """Whether most of the words of ``wanted`` are in ``text``."""
    of_wanted = words(wanted.replace("_", " "))
    return bool(of_wanted) and len(of_wanted & words(text.replace("_", " "))) >= 0.6 * len(of_wanted)


def share_mentioned(text: str, wanted: Sequence[str], what: str) -> Part | None:
    """The share of ``wanted`` that ``text`` has; the others are named. None where nothing is wanted."""
    if not wanted:
        return None
    missing = [one for one in wanted if not mentions(text, one)]
    return Part(1 - len(missing) / len(wanted), f"{what} without {_listed(missing)}" if missing else "")


def overlap(found: Iterable[str], right: Iterable[str], what: str) -> Part | None:
    """F1 of two sets; what is missing and what is too much are named. None where nothing is right and nothing found."""
    has, wants = set(found), set(right)
    if not wants:
        return Part(0.0, f"{what} that do not exist: {_listed(sorted(has))}") if has else None
    both = has & wants
    score = 2 * len(both) / (len(has) + len(wants))
    said = []
    if missing := sorted(wants - has):
        said.append(f"{what} missing: {_listed(missing)}")
    if extra := sorted(has - wants):
        said.append(f"{what} that are wrong: {_listed(extra)}")
    return Part(score, "; ".join(said))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:6]) + (" and more" if len(names) > 6 else "")


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return [line.strip(" -*\t") for line in text.splitlines() if line.strip(" -*\t")]
