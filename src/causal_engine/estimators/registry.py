"""Which estimators are there, and which belong to a design?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from src.causal_engine.choice.choose import estimators_for
from src.causal_engine.estimators.base import Estimator, FittedEffect
from src.causal_engine.estimators.clusters import require_clusters_of_both_arms, two_way_clustered
from src.causal_engine.estimators.contrast import fit_difference_in_means
from src.causal_engine.estimators.did import fit_did, fit_lagged_outcome
from src.causal_engine.estimators.discontinuity import fit_fuzzy_rdd, fit_rdd
from src.causal_engine.estimators.dose_response import fit_dose_response
from src.causal_engine.estimators.doubly_robust import fit_aipw, fit_tmle
from src.causal_engine.estimators.exact import fit_exact
from src.causal_engine.estimators.fixed_effects import fit_distributed_lag, fit_twfe
from src.causal_engine.estimators.front_door import fit_front_door
from src.causal_engine.estimators.imputation import fit_imputation
from src.causal_engine.estimators.instrument import fit_anderson_rubin, fit_iv_2sls
from src.causal_engine.estimators.ordinary import fit_lin, fit_ols
from src.causal_engine.estimators.partial_linear import fit_linear_dml
from src.causal_engine.estimators.synthetic_did import fit_synthetic_did
from src.causal_engine.estimators.weighting import fit_ipw
from src.causal_engine.spec import Design
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
            ("anderson_rubin", fit_anderson_rubin),
            ("rdd", fit_rdd),
            ("fuzzy_rdd", fit_fuzzy_rdd),
            ("twfe", fit_twfe),
            ("did", fit_did),
            ("lagged_outcome", fit_lagged_outcome),
            ("distributed_lag", fit_distributed_lag),
            ("front_door", fit_front_door),
            ("imputation", fit_imputation),
            ("synthetic_did", fit_synthetic_did),
            ("exact", fit_exact),
            ("dose_response", fit_dose_response),
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
    estimator = get_estimator(name)
    require_clusters_of_both_arms(study, name)
    return two_way_clustered(estimator.fit(study), study)


def default_estimators(study: Study, design: Design) -> tuple[str, ...]:
    """Estimators for a design: first the one whose answer is given, then those shown beside it (see ``choice``)."""
    return estimators_for(study, design)
