"""Which estimators are there, and which belong to a design?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from src.causal_engine.estimators.base import Estimator, FittedEffect
from src.causal_engine.estimators.contrast import fit_difference_in_means
from src.causal_engine.estimators.did import fit_did, fit_lagged_outcome
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.fixed_effects import fit_distributed_lag, fit_twfe
from src.causal_engine.estimators.front_door import fit_front_door
from src.causal_engine.estimators.instrument import fit_iv_2sls
from src.causal_engine.estimators.ordinary import fit_lin, fit_ols
from src.causal_engine.estimators.panel_data import adoption_of, panel_of
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.weighting import fit_ipw
from src.causal_engine.spec import Design, Estimand
from src.causal_engine.study import Study
from src.errors import EstimationError, nearest_names


@dataclass(frozen=True)
class NamedEstimator:
    """An estimation function under the name it reports."""

    name: str
    estimate: Callable[[Study], FittedEffect]

    def fit(self, study: Study) -> FittedEffect:
        """Estimate the effect the study asks for."""
        return self.estimate(study)


MIN_ROWS_PER_COLUMN = 10

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        name: NamedEstimator(name, estimate)
        for name, estimate in (
            ("difference_in_means", fit_difference_in_means),
            ("ols", fit_ols),
            ("lin", fit_lin),
            ("ipw", fit_ipw),
            ("aipw", fit_aipw),
            ("tmle", fit_tmle),
            ("linear_dml", fit_linear_dml),
            ("iv_2sls", fit_iv_2sls),
            ("twfe", fit_twfe),
            ("did", fit_did),
            ("lagged_outcome", fit_lagged_outcome),
            ("distributed_lag", fit_distributed_lag),
            ("front_door", fit_front_door),
        )
    }
)


def get_estimator(name: str) -> Estimator:
    """The estimator of that name; raises EstimationError with the nearest names."""
    if name not in ESTIMATORS:
        raise EstimationError(f"no estimator is called '{name}'; {nearest_names(name, list(ESTIMATORS))}")
    return ESTIMATORS[name]


def fit_estimator(name: str, study: Study) -> FittedEffect:
    """Fit the estimator of that name; its failure is raised as it is, no other answers in its place."""
    return get_estimator(name).fit(study)


def default_estimators(study: Study, design: Design) -> tuple[str, ...]:
    """Estimators for a design: first the one whose answer is given, then those shown beside it."""
    if design is Design.RANDOMIZED:
        return _for_randomised(study)
    if design is Design.INSTRUMENT:
        return ("iv_2sls", "ols")
    if design is Design.FRONT_DOOR:
        return ("front_door", "ols")
    if design is Design.PANEL:
        return _for_panel(study)
    if not study.is_binary:
        return ("linear_dml", "ols")
    return _for_observational(study)


def _for_observational(study: Study) -> tuple[str, ...]:
    match study.spec.estimand:
        case Estimand.SATT:
            return ("tmle", "aipw", "ipw", "lin")
        case Estimand.SATE:
            return ("tmle", "aipw", "ols", "lin", "ipw", "linear_dml")
        case Estimand.ATO:
            return ("aipw", "ipw")
        case Estimand.ATT:
            return ("aipw", "ipw", "lin")
    # Per column fewer rows than this, both nuisances must be shrunk so much that confounding is left in.
    if study.n < MIN_ROWS_PER_COLUMN * study.x.shape[1]:
        return ("ols", "aipw", "lin", "ipw", "linear_dml")
    return ("aipw", "ols", "lin", "ipw", "linear_dml")


def _for_randomised(study: Study) -> tuple[str, ...]:
    if not study.is_binary:
        return ("ols", "linear_dml")
    if study.x.shape[1] == 0:
        return ("difference_in_means",)
    names = ("difference_in_means", "lin", "ols", "aipw")
    return tuple(name for name in names if name != "ols") if study.spec.estimand.on_treated else names


def _for_panel(study: Study) -> tuple[str, ...]:
    if study.spec.lag > 0:
        return ("distributed_lag", "twfe")
    panel = panel_of(study)
    adoption = adoption_of(study, panel)
    if adoption is not None and adoption.absorbing:
        return ("did", "lagged_outcome", "twfe", "ols")
    return ("twfe", "distributed_lag", "ols") if panel.n_periods > 3 else ("twfe", "ols")
