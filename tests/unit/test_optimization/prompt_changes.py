"""A prompt, its successors, and a change that breaks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.improvement import ChangeKind, Proposal
from src.domain.prompts import load_prompt
from src.domain.rubric import RubricDecision
from src.optimization.configuration import LoopSettings
from src.optimization.guardrails import ChangeContext, Violation, check_change
from src.optimization.text.released import file_digests, released_digests

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = ["config/guards.yaml", "config/kpi_definitions.yaml"]
OLD = load_prompt("explainer").text
BETTER = OLD.replace("\nAnswer with:", "- Name the main assumption behind every estimate.\n\nAnswer with:")
SETTINGS: LoopSettings = load_self_improvement()


def with_rule(sentence: str) -> str:
    """The prompt with one sentence more among its rules."""
    return OLD.replace("\nAnswer with:", f"- {sentence}\n\nAnswer with:")


def proposal(new: str = BETTER, **values: Any) -> Proposal:
    """A change of the explainer's prompt."""
    made: dict[str, Any] = {
        "component": "explainer",
        "kind": ChangeKind.PROMPT,
        "before": {"text": OLD},
        "after": {"text": new},
        "reason": "intervals are missing",
        "decision": RubricDecision.AUTO_UPDATE,
        "judged_by": "llm",
    }
    return Proposal(**made | values)


def change(new: str = BETTER, proposed: Mapping[str, Any] | None = None, **values: Any) -> ChangeContext:
    """That change now, nothing standing against it."""
    known: dict[str, Any] = {"digests": file_digests(RULES), "released": released_digests()}
    return ChangeContext(proposal(new, **proposed or {}), NOW, **known | values)


def broken(new: str = BETTER, settings: LoopSettings = SETTINGS, **values: Any) -> list[str]:
    """Ids of the guardrails that the change breaks, each once."""
    found: tuple[Violation, ...] = check_change(change(new, **values), settings)
    return sorted({violation.id for violation in found})
