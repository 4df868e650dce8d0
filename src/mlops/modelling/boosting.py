"""How are boosted trees fitted so that each round can be judged, and only the rounds worth using are kept?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.mlops.modelling.families import get_model_class
from src.mlops.modelling.matrices import probabilities
from src.mlops.modelling.rounds import RoundWatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def fit_xgboost(
    problem_type: ProblemType,
    params: Mapping[str, Any],
    rows: Floats,
    y: Floats,
    weights: Floats | None,
    watch: RoundWatch | None,
    random_state: int,
    n_jobs: int,
) -> tuple[Any, int, int]:
    """The estimator, cut to the rounds it uses, their number, and how many were fitted."""
    from xgboost import DMatrix
    from xgboost.callback import TrainingCallback

    estimator = get_model_class("xgboost", problem_type)(**params)
    estimator.set_params(random_state=random_state, n_jobs=n_jobs, verbosity=0)
    if watch is None:
        estimator.fit(rows, y, sample_weight=weights)
        fitted = int(estimator.get_booster().num_boosted_rounds())
        return estimator, fitted, fitted

    # Predictions of one matrix object are carried on from round to round.
    judged = DMatrix(watch.rows, nthread=n_jobs)
    saw = watch.saw

    class Judge(TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return saw(_shaped(model.predict(judged), problem_type))

    estimator.set_params(callbacks=[Judge()])
    estimator.fit(rows, y, sample_weight=weights)
    booster = estimator.get_booster()
    fitted = int(booster.num_boosted_rounds())
    estimator.set_params(callbacks=None, n_estimators=watch.used)
    if watch.used < fitted:
        estimator._Booster = booster[: watch.used]
    return estimator, watch.used, fitted


def fit_lightgbm(
    problem_type: ProblemType,
    params: Mapping[str, Any],
    rows: Floats,
    y: Floats,
    weights: Floats | None,
    watch: RoundWatch | None,
    random_state: int,
    n_jobs: int,
) -> tuple[Any, int, int]:
    """The estimator, cut to the rounds it uses, their number, and how many were fitted."""
    estimator = get_model_class("lightgbm", problem_type)(**_lightgbm_options(params))
    estimator.set_params(random_state=random_state, n_jobs=n_jobs, verbosity=-1)
    if watch is None:
        estimator.fit(rows, y, sample_weight=weights)
        fitted = int(estimator.booster_.current_iteration())
        return estimator, fitted, fitted
    from lightgbm import Booster
    from lightgbm.callback import CallbackEnv, EarlyStopException

    scores: list[Floats] = []

    def kept(truth: Any, predicted: Any) -> tuple[str, float, bool]:
        scores[:] = [_shaped(predicted, problem_type)]
        return "kept", 0.0, True

    def judge(env: CallbackEnv) -> None:
        if watch.saw(scores[0]):
            raise EarlyStopException(env.iteration, [])

    estimator.set_params(metric="None")
    estimator.fit(
        rows,
        y,
        sample_weight=weights,
        eval_X=watch.rows,
        eval_y=watch.validation.y.to_numpy(),
        eval_metric=kept,
        callbacks=[judge],
    )
    booster = estimator.booster_
    # LightGBM itself stops where no split is worth making; those rounds were judged too.
    fitted, used = watch.last + 1, min(watch.used, int(booster.current_iteration()))
    estimator._Booster = Booster(model_str=booster.model_to_string(num_iteration=used))
    estimator._best_iteration = -1
    return estimator.set_params(n_estimators=used), used, fitted


def _lightgbm_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """``subsample`` is without effect unless rows are drawn anew every so many rounds."""
    drawn = {"subsample_freq": 1} if float(params.get("subsample", 1.0)) < 1 else {}
    return {**drawn, **params, "deterministic": True, "force_row_wise": True}


def _shaped(raw: Any, problem_type: ProblemType) -> Floats:
    import numpy as np

    if problem_type is ProblemType.REGRESSION:
        return np.asarray(raw, dtype=np.float64).reshape(-1)
    return probabilities(raw)
