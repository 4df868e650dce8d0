"""How strong a hidden common cause of mediator and outcome would leave no indirect effect?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.inference import independent_columns
from src.causal_engine.study import FloatArray

RHOS = tuple(round(0.1 * k, 1) for k in range(-9, 10))
_NOTHING = 1e-9


def rho_curve(
    t: FloatArray, y: FloatArray, x: FloatArray, mediators: FloatArray
) -> tuple[float, tuple[tuple[float, float], ...]] | None:
    """The correlation ρ that leaves no indirect effect, and (ρ, indirect effect) pairs.

    None where the mediators move nothing, or repeat the outcome.

    ρ correlates the errors of mediator and outcome given treatment and covariates. In the linear model
    the indirect effect is β₂·σ₁/σ₂·(ρ̃ − ρ·√((1−ρ̃²)/(1−ρ²))), with β₂ the effect of treatment on the
    mediator, σ₁, σ₂ the error spreads of outcome and mediator given treatment and covariates, and ρ̃
    their correlation (Imai, Keele & Yamamoto 2010, theorem 4), so it vanishes at ρ = ρ̃. Several
    mediators (n, m) enter as the combination with which they predict the outcome.
    """
    controls = np.column_stack([np.ones(len(t)), t, x[:, independent_columns(x)]])
    columns = np.column_stack([y, mediators])
    coefficients, *_ = np.linalg.lstsq(controls, columns, rcond=1e-10)
    errors = columns - controls @ coefficients
    slopes, *_ = np.linalg.lstsq(errors[:, 1:], errors[:, 0], rcond=1e-10)
    error, on_mediator = errors[:, 1:] @ slopes, float(coefficients[1, 1:] @ slopes)
    spread, outcome_spread = float(error.std()), float(errors[:, 0].std())
    if spread <= _NOTHING * outcome_spread or outcome_spread == 0:
        return None
    own = float(np.mean(error * errors[:, 0]) / (spread * outcome_spread))
    if own**2 >= 1 - _NOTHING:
        return None
    pairs = tuple(
        (rho, on_mediator * outcome_spread / spread * (own - rho * float(np.sqrt((1 - own**2) / (1 - rho**2)))))
        for rho in RHOS
    )
    return own, pairs
