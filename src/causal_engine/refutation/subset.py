"""Does the estimate hold on most of the data?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.causal_engine.refutation.linear_form import DRAWN
from src.causal_engine.refutation.subject import Refits, Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import Study

NAME = "data_subset"
WEIGHT = 0.15
SHARE, LEAST_INSIDE = 0.8, 0.8
DRAWS_CLOSED, DRAWS_REFITTED = 50, 10

BoolArray = NDArray[np.bool_]


def data_subset(subject: Subject, rng: np.random.Generator) -> RefutationTest:
    """Estimate on random 80 % of the rows (of the clusters, where rows repeat).

    Passes when at least 80 % of the estimates lie inside the original interval. Cross-fitted
    estimators keep their out-of-fold predictions and average their scores over the subset.
    """
    refits, how = _effects(subject, rng)
    if not refits.usable:
        detail = f"the effect could not be estimated on subsets{refits.note}"
        return RefutationTest(NAME, False, WEIGHT, True, False, None, LEAST_INSIDE, detail)
    ci = subject.estimate.ci
    inside = float(((refits.effects >= ci.lower) & (refits.effects <= ci.upper)).mean())
    detail = f"{inside:.0%} of the estimates on 80 % of the data lie inside the original interval{how}{refits.note}"
    return RefutationTest(
        NAME, False, WEIGHT, True, inside >= LEAST_INSIDE, inside, LEAST_INSIDE, detail, len(refits.effects)
    )


def _effects(subject: Subject, rng: np.random.Generator) -> tuple[Refits, str]:
    if subject.form is not None:
        form, size = subject.form, max(1, DRAWN // subject.n_units)
        blocks = [min(size, DRAWS_CLOSED - start) for start in range(0, DRAWS_CLOSED, size)]
        chosen = (np.stack([_chosen_units(subject, rng) for _ in range(b)]) for b in blocks)
        return Refits(np.concatenate([form.resampled(units.astype(np.float64)) for units in chosen])), ""
    if subject.cross_fitted and subject.fitted.influence is not None:
        scores = subject.estimate.value + subject.fitted.influence
        effects = [scores[_chosen_rows(subject, rng)].mean() for _ in range(DRAWS_CLOSED)]
        return Refits(np.array(effects)), " (cross-fitted predictions kept, scores averaged over the subset)"
    studies = (_part(subject.study, _chosen_rows(subject, rng)) for _ in range(DRAWS_REFITTED))
    return subject.refit_all(studies, at_least=DRAWS_REFITTED), ""


def _chosen_units(subject: Subject, rng: np.random.Generator) -> BoolArray:
    units = subject.n_units
    chosen = np.ones(units, dtype=np.bool_)
    chosen[rng.choice(units, units - max(1, round(SHARE * units)), replace=False, shuffle=False)] = False
    return chosen


def _chosen_rows(subject: Subject, rng: np.random.Generator) -> BoolArray:
    chosen, clusters = _chosen_units(subject, rng), subject.study.clusters
    return chosen if clusters is None else chosen[clusters]


def _part(study: Study, rows: BoolArray) -> Study:
    return study.with_frame(study.frame.loc[rows].reset_index(drop=True))
