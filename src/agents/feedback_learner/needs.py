"""What is to be changed where a component is not good enough: its prompt, retrieval, or the way of working?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.feedback_learner.state import ComponentVerdict
from src.domain.improvement import ChangeKind, LearningItem
from src.domain.rubric import RubricDecision
from src.mlops.scoring import GOOD_ENOUGH, RAGAS_WEIGHTS, determine_improvement_type, weighted_mean_of_present


def retrieval_verdict(items: Sequence[LearningItem], config: SelfImprovementConfig) -> ComponentVerdict | None:
    """What is to be done about retrieval, by the RAGAS mean of the answers it found passages for.

    The rubric does not judge retrieval: below the mean at which ``determine_improvement_type`` calls for it, other
    settings are tried, and labelled questions decide. None where it is no component, or took no part.
    """
    name = retrieval_component(config)
    used = [item for item in items if item.retrieval_config_id is not None]
    scores = {item.interaction_id: score for item in used if (score := _ragas(item)) is not None}
    if name is None or not used:
        return None
    ids, least = tuple(item.interaction_id for item in used), config.reflection.min_items
    mean = statistics.fmean(scores.values()) if scores else None
    if mean is None or len(scores) < least:
        waits = f"{len(scores)} of the {least} answers with RAGAS scores that a decision needs"
        return ComponentVerdict(name, None, None, ids, "heuristic", waits, combined=mean)
    decision = RubricDecision.ACCEPTABLE if mean >= GOOD_ENOUGH else RubricDecision.AUTO_UPDATE
    reason = f"RAGAS mean {mean:.2f} over {len(scores)} answers, {GOOD_ENOUGH:.2f} is good enough"
    return ComponentVerdict(name, decision, None, ids, "labels", reason, combined=mean)


def retrieval_component(config: SelfImprovementConfig) -> str | None:
    """The name of the component that retrieval is."""
    return next((name for name, one in config.components.items() if one.kind == "retrieval"), None)


def kind_of(
    verdict: ComponentVerdict,
    items: Sequence[LearningItem],
    config: SelfImprovementConfig,
    *,
    retrieval_is_changed: bool,
) -> ChangeKind:
    """Which kind of change a component calls for, by ``determine_improvement_type`` over its answers.

    RAGAS counts where retrieval took part: what an answer made of other evidence is its prompt's doing. Where both
    means are low and retrieval is mended by a change of its own, the prompt's share is the prompt: each is tested for
    itself. What is no prompt and no retrieval is a way of working, which is left to a person.
    """
    configured = config.components.get(verdict.component)
    if configured is None or configured.kind == "workflow":
        return ChangeKind.WORKFLOW
    if configured.kind == "retrieval":
        return ChangeKind.RETRIEVAL
    ragas = [score for item in items if item.retrieval_config_id and (score := _ragas(item)) is not None]
    found = determine_improvement_type(statistics.fmean(ragas) if ragas else None, verdict.mean)
    if found == "prompt" or (found == "workflow" and retrieval_is_changed):
        return ChangeKind.PROMPT
    return ChangeKind.WORKFLOW


def _ragas(item: LearningItem) -> float | None:
    return weighted_mean_of_present(item.ragas, RAGAS_WEIGHTS)
