"""What part of the effect runs through the named mediators, treatment and outcome being confounded?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import fit_linear, independent_columns, make_estimate, of_influence
from src.causal_engine.estimators.ordinary import design_with_treatment
from src.causal_engine.spec import Estimand
from src.causal_engine.study import Study, encode
from src.errors import EstimationError, StudyInvalid


def fit_front_door(study: Study) -> FittedEffect:
    """Linear front-door estimate Σⱼ aⱼ·bⱼ (Pearl 1995; product of coefficients).

    aⱼ: effect of treatment on mediator j given X; bⱼ: of mediator j on the outcome given treatment,
    the other mediators and X. Error by the delta method on the stacked influence functions. Valid
    if the mediators carry the whole effect and share no unmeasured cause with treatment or outcome.
    Raises StudyInvalid without mediators, EstimationError when they repeat one another.
    """
    if not study.spec.mediators:
        raise StudyInvalid("front_door needs the mediators that carry the effect; name them")
    mediators, names, _ = encode(study.frame, study.spec.mediators)
    base = design_with_treatment(study)
    stages = np.column_stack([base, mediators])
    if len(independent_columns(stages[:, 1:])) < stages.shape[1] - 1:
        raise EstimationError(f"mediators ({', '.join(names)}) repeat one another, the treatment or the controls")
    last = fit_linear(study.y, stages, study.clusters)
    value = 0.0
    influence = np.zeros(study.n)
    for j in range(mediators.shape[1]):
        first = fit_linear(mediators[:, j], base, study.clusters)
        a, b = float(first.coefficients[1]), float(last.coefficients[base.shape[1] + j])
        value += a * b
        influence += b * first.influence[:, 1] + a * last.influence[:, base.shape[1] + j]
    estimate = make_estimate(
        study,
        estimator="front_door",
        estimand=Estimand.ATE,
        value=value,
        uncertainty=of_influence(influence, study.clusters, "delta method"),
    )
    return FittedEffect(estimate, influence)
