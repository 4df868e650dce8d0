"""Shall each class weigh the same in training, and what is said of classes that are unequal?"""

from __future__ import annotations

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, made
from src.domain.modelling import ProblemType
from src.mlops.modelling.imbalance import judge_imbalance

# Parameters by which a candidate weighs the classes itself.
WEIGHING = frozenset({"scale_pos_weight", "class_weight", "is_unbalance"})
# These judge the probabilities themselves, which weighing the classes makes wrong: a search by them would compare
# how wrong they become, and find another value than the recalibrated model has.
OF_PROBABILITIES = frozenset({"brier_score", "log_loss", "ece"})


def balance(training: Training, request: TrainRequest, metric: str) -> tuple[bool, tuple[str, ...]]:
    """Whether to weigh the classes of the training rows, judged by ``metric``, and a line on unequal ones."""
    if request.problem_type is ProblemType.REGRESSION:
        return False, ()
    judged = judge_imbalance(training.labelled["train"].y, len(made(training.coding, "the target's coding").classes))
    if not judged.balance:
        return False, ()
    counted, candidate = judged.note.partition(":")[0], request.candidate
    if own := sorted(WEIGHING & {*candidate.default_params, *candidate.search_space}):
        return False, (f"{counted}: classes are weighed by the candidate's {own[0]}",)
    if metric in OF_PROBABILITIES:
        return False, (f"{counted}: rows weigh the same in training, because {metric} judges the probabilities",)
    return True, (judged.note,)


def class_shares(training: Training) -> dict[str, float]:
    """Value of the target → share of the training rows, by the codes the model learns; {} for numbers and no rows."""
    coding = training.coding
    if coding is None or not coding.classes or "train" not in training.labelled:
        return {}
    shares = training.labelled["train"].y.value_counts(normalize=True)
    return {str(label): float(shares.get(code, 0.0)) for code, label in enumerate(coding.classes)}
