"""Confounded samples with a known effect of each unit, and wrong effect functions to tell it from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import FloatArray, Study, prepare_study

COVARIATES = tuple(f"x{i}" for i in range(5))
QUESTION = CausalSpec("t", "y", COVARIATES)


@dataclass(frozen=True)
class Sample:
    """A drawn study and the true effect of each of its rows, (n,)."""

    study: Study
    truth: FloatArray


def draw_sample(n: int, state: int, *, binary: bool) -> Sample:
    """Five covariates, propensity within [.1, .9]; effects by segment (1, .6, .2), or on the log-odds (.8, 1.8)."""
    rng = np.random.default_rng(state)
    x = rng.normal(size=(n, 5))
    e = np.clip(_sigmoid(0.8 * x[:, 0] - 0.6 * x[:, 1] + 0.3 * x[:, 2]), 0.1, 0.9)
    t = (rng.random(n) < e).astype(np.float64)
    base = 0.8 * x[:, 0] + 0.5 * x[:, 1] - 0.4 * x[:, 3]
    if binary:
        log_odds = 0.7 * base - 0.3
        untreated, treated = _sigmoid(log_odds), _sigmoid(log_odds + 0.8 + 1.0 * (x[:, 2] > 0))
        truth = treated - untreated
        y = (rng.random(n) < np.where(t == 1, treated, untreated)).astype(np.float64)
    else:
        truth = np.array([1.0, 0.6, 0.2])[np.digitize(x[:, 2], [-0.43, 0.43])]
        y = base + t * truth + rng.normal(size=n)
    frame = pd.DataFrame(x, columns=list(COVARIATES)).assign(t=t, y=y)
    return Sample(prepare_study(frame, QUESTION), truth)


def draw_curved(n: int, state: int, estimand: Estimand) -> Sample:
    """Confounding by cos 2.5x₀ over [-2, 2] and by the product x₁x₂; effects 1 + .3x₀, 1 on average."""
    rng = np.random.default_rng([state, 77])
    x = rng.uniform(-2, 2, (n, 5))
    shape = np.cos(2.5 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2]
    t = (rng.random(n) < _sigmoid(shape)).astype(np.float64)
    truth = 1 + 0.3 * x[:, 0]
    y = 1.5 * shape + np.maximum(x[:, 3], 0) + t * truth + rng.normal(size=n)
    frame = pd.DataFrame(x, columns=list(COVARIATES)).assign(t=t, y=y)
    question = CausalSpec("t", "y", COVARIATES, estimand=estimand, random_state=state)
    return Sample(prepare_study(frame, question), truth)


WrongEffect = Callable[[Sample, np.random.Generator], FloatArray]
WRONG_EFFECTS: Mapping[str, WrongEffect] = {
    "zero": lambda s, _: np.zeros_like(s.truth),
    "wrong sign": lambda s, _: -s.truth,
    "half": lambda s, _: 0.5 * s.truth,
    "one and a half": lambda s, _: 1.5 * s.truth,
    "constant average": lambda s, _: np.full_like(s.truth, s.truth.mean()),
    "naive difference": lambda s, _: np.full_like(s.truth, _naive(s)),
    "shuffled truth": lambda s, rng: rng.permutation(s.truth),
    "mirrored heterogeneity": lambda s, _: 2 * s.truth.mean() - s.truth,
    "noisy truth": lambda s, rng: s.truth + 0.4 * s.study.y.std() * rng.normal(size=len(s.truth)),
    "constant 5": lambda s, _: np.full_like(s.truth, 5.0),
    "noise": lambda s, rng: 10 * rng.normal(size=len(s.truth)),
}


def _naive(sample: Sample) -> float:
    treated = sample.study.t == 1
    return float(sample.study.y[treated].mean() - sample.study.y[~treated].mean())


def _sigmoid(score: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-score)), dtype=np.float64)
