"""How much does the answer depend on estimator and choice of controls?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.clusters import two_way_clustered
from src.causal_engine.estimators.contrast import difference
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.inference import fit_linear, make_estimate
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.results import EffectEstimate, FailedEstimate
from src.causal_engine.spec import Design, Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

MAX_LEFT_OUT = 10
ALL, NONE = "all confounders", "no confounders"

_SHARING = {"aipw": fit_aipw, "tmle": fit_tmle, "linear_dml": fit_linear_dml}

ControlSet = tuple[str, tuple[str, ...]]
Progress = Callable[[int, int], None]


def specification_curve(
    study: Study,
    design: Design,
    *,
    control_sets: Sequence[ControlSet] | None = None,
    on_progress: Progress | None = None,
) -> tuple[tuple[EffectEstimate, ...], tuple[FailedEstimate, ...]]:
    """Every default estimator of the design under every control definition (Simonsohn et al. 2020).

    ``control_sets`` are (label, columns) pairs; by default all confounders, each left out in turn
    (the ten most confounding), none. Nuisance learners are chosen once, on the first set, and
    shared by the estimators of a set. ``on_progress(done, total)`` is called after each set.
    Estimators that refuse are returned under their own name.
    """
    sets = list(control_sets) if control_sets is not None else default_control_sets(study)
    names = default_estimators(study, design)
    estimates: list[EffectEstimate] = []
    failures: list[FailedEstimate] = []
    learners: dict[str, str] = {}
    for position, (label, columns) in enumerate(sets):
        fitter = _Fitter(_with_controls(study, columns), learners)
        # Without any control all estimators repeat the unadjusted contrast: one shows it.
        for name in names if columns or not study.spec.confounders else names[:1]:
            try:
                estimates.append(replace(fitter.fit(name).estimate, label=label))
            except EstimationError as error:
                failures.append(FailedEstimate(name, label, type(error).__name__, str(error)))
        if on_progress is not None:
            on_progress(position + 1, len(sets))
        learners = learners or fitter.learners
    return tuple(estimates), tuple(failures)


def naive_contrast(study: Study) -> EffectEstimate:
    """The unadjusted contrast beside which every estimate is shown: difference in means, or simple slope."""
    if study.is_binary:
        value, uncertainty, _ = difference(study)
    else:
        fit = fit_linear(study.y, np.column_stack([np.ones(study.n), study.t]), study.clusters)
        value, uncertainty = float(fit.coefficients[1]), fit.uncertainty(1)
    return make_estimate(
        study,
        estimator="naive",
        estimand=Estimand.ATE,
        value=value,
        uncertainty=uncertainty,
        adjusted_for=(),
    )


def default_control_sets(study: Study) -> list[ControlSet]:
    """All confounders, each of the ten most confounding left out in turn, none."""
    confounders = study.spec.confounders
    if not confounders:
        return [(ALL, ())]
    ranked = sorted(confounders, key=lambda column: (-confounding_strength(study, column), column))
    left_out = [(f"without {name}", tuple(c for c in confounders if c != name)) for name in ranked[:MAX_LEFT_OUT]]
    if len(confounders) == 1:
        left_out = []
    return [(ALL, confounders), *left_out, (NONE, ())]


def confounding_strength(study: Study, column: str) -> float:
    """Largest |corr(x, t)|·|corr(x, y)| over the encoded columns of one confounder."""
    matrix, _, sources = study.design
    positions = [j for j, source in enumerate(sources) if source == column]
    products = [abs(_correlation(matrix[:, j], study.t)) * abs(_correlation(matrix[:, j], study.y)) for j in positions]
    return max(products, default=0.0)


class _Fitter:
    """Fits estimators on one study, computing the nuisances they share at most once."""

    def __init__(self, study: Study, learners: dict[str, str]) -> None:
        self._study = study
        self._fixed = learners
        self._nuisances: Nuisances | None = None

    @property
    def learners(self) -> dict[str, str]:
        """Learners chosen, empty before any nuisance was needed."""
        return {} if self._nuisances is None else dict(self._nuisances.learners)

    def fit(self, name: str) -> FittedEffect:
        fit = _SHARING.get(name)
        if fit is None:
            return fit_estimator(name, self._study)
        return two_way_clustered(fit(self._study, self._shared()), self._study)

    def _shared(self) -> Nuisances:
        if self._nuisances is None:
            constant = self._study.x.shape[1] == 0
            self._nuisances = cross_fit(self._study, learners=None if constant else self._fixed)
        return self._nuisances


def _with_controls(study: Study, columns: tuple[str, ...]) -> Study:
    modifiers = tuple(
        name for name in study.spec.effect_modifiers if name in columns or name not in study.spec.confounders
    )
    return study.with_spec(confounders=columns, effect_modifiers=modifiers if columns else ())


def _correlation(left: FloatArray, right: FloatArray) -> float:
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])
