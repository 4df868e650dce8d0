"""What of a hop goes into its record: the difference, digests of data and judge, scores, spend?"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.domain.identifiers import without_identifiers
from src.domain.improvement import ItemScores, LearningItem, Replay, digest
from src.optimization.improver import Spend

CONTEXT_LINES = 2


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Unified diff of prompts, or one line per changed setting, without identifiers; empty where one is not kept."""
    if not before or not after or set(before) != set(after):
        return ""
    old, new = _lines(before), _lines(after)
    lines = difflib.unified_diff(old, new, "in use", "candidate", lineterm="", n=CONTEXT_LINES)
    return without_identifiers("\n".join(lines))


def changed_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Only what was taken out (-) and put in (+): what two changes are compared by."""
    lines = difflib.ndiff(_lines(before), _lines(after))
    return "\n".join(line for line in lines if line.startswith(("+ ", "- ")) and line[2:].strip())


def _lines(content: Mapping[str, Any]) -> list[str]:
    if set(content) == {"text"}:
        return str(content["text"]).splitlines()
    return [f"{name}: {content[name]}" for name in sorted(content)]


def data_record(items: Sequence[LearningItem]) -> dict[str, Any]:
    """How many items, and the digest of what they say; not what they say."""
    contents = sorted(digest([item.interaction_id, item.query, dict(item.inputs)]) for item in items)
    return {"n": len(items), "sha256": digest(contents)}


def judge_record(replay: Replay) -> dict[str, Any]:
    """Who judges, and the digest of how: of ``judge_sha256`` where a replay has one (its instructions and settings)."""
    instructions = getattr(replay, "judge_sha256", None)
    return {"name": replay.judge, "sha256": digest([replay.judge, instructions])}


def spend_record(spend: Spend) -> dict[str, Any]:
    """Spend as JSON."""
    return dataclasses.asdict(spend)


def spend_of(record: Mapping[str, Any]) -> Spend:
    """Spend from a record."""
    return Spend(**record)


def spend_of_scores(scores: Iterable[ItemScores]) -> Spend:
    """What answering and judging once more cost; dollars None where the price of a call is not known."""
    total = Spend()
    for one in scores:
        dollars = one.cost_dollars if one.tokens or one.cost_dollars is not None else 0.0
        total += Spend(calls=1, task_tokens=one.tokens or 0, dollars=dollars)
    return total
