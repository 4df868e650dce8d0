"""Is the interval as wide as the data make it?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from src.causal_engine.refutation.linear_form import DRAWN
from src.causal_engine.refutation.subject import Refits, Subject
from src.causal_engine.results import RefutationTest
from src.causal_engine.study import FloatArray, IntArray, Study

NAME = "bootstrap"
WEIGHT = 0.15
DRAWS, LEAST_DRAWS = 500, 100
LARGEST_DEVIATION = 0.5


def bootstrap(subject: Subject, rng: np.random.Generator) -> RefutationTest:
    """Compare the width of the 95 % interval with that of bootstrap estimates, clusters resampled whole.

    Passes when |width ratio − 1| ≤ .5 and the estimate lies within the bootstrap interval. Closed
    forms are resampled exactly; estimators with an influence function by its multiplier bootstrap
    (exponential weights; Belloni et al. 2017); others are refitted on each resample.
    """
    if subject.estimate.estimator == "anderson_rubin":
        detail = "the interval inverts a test, because estimates with a weak instrument have no normal spread"
        return RefutationTest(NAME, False, WEIGHT, False, None, None, LARGEST_DEVIATION, detail)
    refits, how = _effects(subject, rng)
    if not refits.usable or len(refits.effects) < 2:
        detail = f"the effect could not be estimated on resamples{refits.note}"
        return RefutationTest(NAME, False, WEIGHT, True, False, None, LARGEST_DEVIATION, detail)
    lower, upper = (float(end) for end in np.quantile(refits.effects, [0.025, 0.975]))
    ci = subject.estimate.ci
    ratio = (upper - lower) / (ci.upper - ci.lower)
    deviation = abs(ratio - 1.0)
    inside = lower <= subject.estimate.value <= upper
    detail = (
        f"{how} 95 % interval [{lower:.3g}, {upper:.3g}], {ratio:.2f} times as wide as "
        f"the reported one{'' if inside else ', and the estimate lies outside it'}{refits.note}"
    )
    passed = deviation <= LARGEST_DEVIATION and inside
    return RefutationTest(NAME, False, WEIGHT, True, passed, deviation, LARGEST_DEVIATION, detail, len(refits.effects))


def _effects(subject: Subject, rng: np.random.Generator) -> tuple[Refits, str]:
    if subject.form is not None:
        blocks = _within_budget(subject, (subject.form.resampled(_counts(subject, rng, b)) for b in _blocks(subject)))
        return Refits(blocks), "bootstrap"
    if subject.fitted.influence is not None:
        blocks = _within_budget(subject, (_multiplied(subject, rng, b) for b in _blocks(subject)))
        return Refits(blocks), "multiplier bootstrap"
    studies = (_resample(subject.study, rng) for _ in range(LEAST_DRAWS))
    return subject.refit_all(studies, at_least=LEAST_DRAWS), "bootstrap"


def _blocks(subject: Subject) -> list[int]:
    size = max(1, min(LEAST_DRAWS, DRAWN // subject.n_units))
    return [min(size, DRAWS - start) for start in range(0, DRAWS, size)]


def _within_budget(subject: Subject, blocks: Iterator[FloatArray]) -> FloatArray:
    found: list[FloatArray] = []
    done = 0
    for block in blocks:
        found.append(block)
        done += len(block)
        if done >= LEAST_DRAWS and subject.out_of_time:
            break
    return np.concatenate(found)


def _counts(subject: Subject, rng: np.random.Generator, draws: int) -> FloatArray:
    """How often each unit occurs in each of ``draws`` resamples, (draws, n_units)."""
    units = subject.n_units
    counts = np.empty((draws, units))
    for row in counts:
        row[:] = np.bincount(rng.integers(0, units, units), minlength=units)
    return counts


def _multiplied(subject: Subject, rng: np.random.Generator, draws: int) -> FloatArray:
    influence, clusters = subject.fitted.influence, subject.study.clusters
    assert influence is not None
    sums = influence if clusters is None else np.bincount(clusters, weights=influence)
    weights = rng.standard_exponential((draws, len(sums))) - 1.0
    return np.asarray(subject.estimate.value + weights @ sums / len(influence), dtype=np.float64)


def _resample(study: Study, rng: np.random.Generator) -> Study:
    """Rows drawn with replacement, or whole clusters, whose copies count as clusters (and units) of their own."""
    clusters = study.clusters
    if clusters is None:
        return study.with_frame(study.frame.iloc[rng.integers(0, study.n, study.n)].reset_index(drop=True))
    groups = int(clusters.max()) + 1
    drawn = rng.integers(0, groups, groups)
    members = np.split(np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters))[:-1])
    rows = np.concatenate([members[group] for group in drawn])
    copies = np.repeat(np.arange(groups), [len(members[group]) for group in drawn])
    frame = study.frame.iloc[rows].reset_index(drop=True)
    renamed = {key: _relabelled(frame[key].to_numpy(), copies) for key in _copied_keys(study)}
    return study.with_frame(frame.assign(**renamed))


def _copied_keys(study: Study) -> tuple[str, ...]:
    return tuple(key for key in (study.spec.cluster_key, study.spec.unit_key) if key)


def _relabelled(keys: np.ndarray, copies: IntArray) -> IntArray:
    import pandas as pd

    return np.asarray(pd.MultiIndex.from_arrays([copies, keys]).factorize()[0], dtype=np.int64)
