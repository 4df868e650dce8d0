"""Is a question taken apart well, with the right tools in the right order, and answered from their results?

Gold: ``sub_questions``, ``tools``, ``order`` (pairs [earlier, later]), ``answer_points``. Prediction:
``sub_questions``, ``plan`` (tools in their order), ``answer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, list_of, overlap, share_mentioned, text_of


def tool_composer_parts(gold: Any, pred: Any) -> Parts:
    """The four parts."""
    plan = [_tool(step) for step in list_of(pred, "plan")]
    wanted = [str(one) for one in list_of(gold, "tools")]
    questions = "\n".join(str(one) for one in list_of(pred, "sub_questions"))
    return {
        "decomposition": _asked(gold, questions),
        "tools": overlap(plan, wanted, "tools"),
        "order": _order(gold, plan),
        "synthesis": _answered(gold, text_of(pred, "answer")),
    }


def _tool(step: Any) -> str:
    return str(step.get("tool", "")) if isinstance(step, Mapping) else str(step)


def _asked(gold: Any, questions: str) -> Part | None:
    if not questions.strip():
        return Part(0.0, "the question was not taken apart")
    return share_mentioned(questions, [str(one) for one in list_of(gold, "sub_questions")], "sub-questions")


def _order(gold: Any, plan: list[str]) -> Part | None:
    pairs = [(str(first), str(second)) for first, second in list_of(gold, "order")]
    if not pairs:
        return None
    if not plan:
        return Part(0.0, "there is no plan")
    wrong = [f"{first} before {second}" for first, second in pairs if not _comes_first(plan, first, second)]
    return Part(1 - len(wrong) / len(pairs), f"the plan needs {', '.join(wrong)}" if wrong else "")


def _comes_first(plan: list[str], first: str, second: str) -> bool:
    return first in plan and second in plan and plan.index(first) < plan.index(second)


def _answered(gold: Any, answer: str) -> Part | None:
    if not answer.strip():
        return Part(0.0, "there is no answer")
    return share_mentioned(answer, [str(one) for one in list_of(gold, "answer_points")], "answer")
