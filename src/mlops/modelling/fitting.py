"""How is a model of any family fitted, so that its training can be watched, stopped early and repeated exactly?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, EstimationError
from src.mlops.modelling.boosting import fit_lightgbm, fit_xgboost
from src.mlops.modelling.families import algorithm_named, checked_params, class_path
from src.mlops.modelling.forest import fit_forest
from src.mlops.modelling.imbalance import class_weights
from src.mlops.modelling.linear import fit_linear
from src.mlops.modelling.matrices import checked_train, estimator_scores, matrix
from src.mlops.modelling.metrics import DEFAULT_METRICS, checked_metric
from src.mlops.modelling.rounds import RoundWatch
from src.mlops.modelling.types import FittedModel, Labelled, RoundReport

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_IN_ROUNDS = {"random_forest": fit_forest, "xgboost": fit_xgboost, "lightgbm": fit_lightgbm}


def fit_model(
    algorithm: str,
    problem_type: ProblemType,
    params: Mapping[str, Any],
    train: Labelled,
    *,
    validation: Labelled | None = None,
    metric: str | None = None,
    early_stopping_rounds: int | None = None,
    report: RoundReport | None = None,
    balanced: bool = False,
    random_state: int = 42,
    n_jobs: int = 1,
) -> FittedModel:
    """Fit one model: the algorithm's defaults with ``params`` over them.

    ``report`` is called with the ``metric`` (default: the problem's) on the validation rows after each boosting
    round or group of ten trees, once at the end for linear models; what it raises leaves unchanged. After
    ``early_stopping_rounds`` (counted as the reports are) without improvement training ends; predictions of boosted
    trees use the rounds up to the best one, those of a forest all trees. ``balanced``: each class has the same
    weight in the training loss. The same arguments give the same model, bit for bit, with ``n_jobs`` = 1.

    Raises ContractViolation for names, rows or classes that do not fit together, DataUnavailable for a target with
    one value, EstimationError for effects of a treatment.
    """
    _refuse_effects(algorithm, problem_type)
    chosen = checked_params(algorithm, problem_type, params)
    _refuse_weighing_twice(chosen, problem_type, balanced)
    n_classes = checked_train(problem_type, train)
    columns = tuple(str(name) for name in train.X.columns)
    rows, y = matrix(train.X, columns), _target(problem_type, train)
    weights = class_weights(y) if balanced else None
    wanted = checked_metric(metric or DEFAULT_METRICS[problem_type], problem_type)
    watch = _watch(problem_type, wanted, validation, columns, n_classes, report, early_stopping_rounds)
    rounds = fitted = None
    notes: tuple[str, ...] = ()
    if algorithm in _IN_ROUNDS:
        fit = _IN_ROUNDS[algorithm]
        estimator, rounds, fitted = fit(problem_type, chosen, rows, y, weights, watch, random_state, n_jobs)
    else:
        estimator, notes = fit_linear(algorithm, problem_type, chosen, rows, y, weights, random_state)
        if watch is not None:
            watch.saw(estimator_scores(estimator, problem_type, watch.rows))
    if watch is not None:
        watch.refuse_if_never_judged()
    return FittedModel(
        algorithm, problem_type, estimator, columns, n_classes, rounds, fitted, chosen, balanced, notes=notes
    )


def model_scores(model: FittedModel, X: pd.DataFrame) -> Floats:
    """What ``model.scores`` returns. Raises UnknownColumn, and ContractViolation for empty cells."""
    import numpy as np

    rows = matrix(X, model.columns)
    if not len(rows):
        return np.empty(0 if model.problem_type is ProblemType.REGRESSION else (0, model.n_classes))
    scores = estimator_scores(model.estimator, model.problem_type, rows)
    if model.recalibration is None:
        return scores
    positive = model.recalibration.apply(scores[:, 1])
    return np.column_stack([1 - positive, positive])


def _refuse_effects(algorithm: str, problem_type: ProblemType) -> None:
    if problem_type is ProblemType.EFFECT or algorithm_named(algorithm).family == "causal":
        class_path(algorithm, problem_type)
        raise EstimationError(
            f"{algorithm} estimates the effect of a treatment: ask causal_impact for it (`e2i effect`); "
            "a trained model only predicts"
        )


def _refuse_weighing_twice(params: Mapping[str, Any], problem_type: ProblemType, balanced: bool) -> None:
    if not balanced:
        return
    if problem_type is ProblemType.REGRESSION:
        raise ContractViolation("classes can be balanced, numbers have none; leave balanced out")
    twice = [name for name in ("scale_pos_weight", "class_weight", "is_unbalance") if params.get(name) is not None]
    if twice:
        raise ContractViolation(f"'{twice[0]}' would weigh the classes a second time; leave it or balanced out")


def _target(problem_type: ProblemType, labelled: Labelled) -> Any:
    return labelled.y.to_numpy(dtype="float64" if problem_type is ProblemType.REGRESSION else "int64")


def _watch(
    problem_type: ProblemType,
    metric: str,
    validation: Labelled | None,
    columns: tuple[str, ...],
    n_classes: int,
    report: RoundReport | None,
    patience: int | None,
) -> RoundWatch | None:
    if report is None and patience is None:
        return None
    if validation is None:
        raise ContractViolation("reports and early stopping need validation rows to judge a round by")
    if patience is not None and patience < 1:
        raise ContractViolation(f"early_stopping_rounds is {patience}; it must be 1 or more")
    if problem_type is not ProblemType.REGRESSION and validation.y.max() >= n_classes:
        raise ContractViolation(f"class {int(validation.y.max())} of the validation rows has no training row")
    return RoundWatch(problem_type, metric, validation, matrix(validation.X, columns), report, patience)
