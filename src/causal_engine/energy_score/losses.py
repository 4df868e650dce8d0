"""How large is the squared error of an effect function against targets whose mean given x is the effect?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.study import FloatArray
from src.errors import EstimationError


@dataclass(frozen=True)
class Loss:
    """Squared errors (target − factor·effect)², shape (n,), with what the best constant effect follows from."""

    errors: FloatArray
    target: FloatArray
    factor: FloatArray

    def relative(self, counts: FloatArray | None = None) -> FloatArray:
        """Loss over that of the best constant effect, rows counted as in each column of ``counts`` (n, B); shape (B,).

        Without ``counts`` every row counts once and the shape is (1,). Raises EstimationError when
        nothing is left to explain.
        """
        c = np.ones((len(self.errors), 1)) if counts is None else counts
        constant = c.T @ self.target**2 - (c.T @ (self.target * self.factor)) ** 2 / (c.T @ self.factor**2)
        if not float(constant.min()) > 0.0:
            raise EstimationError("outcome and treatment leave nothing for an effect to explain")
        return np.asarray(c.T @ self.errors / constant, dtype=np.float64)

    @property
    def shares(self) -> FloatArray:
        """Each row's part of the relative loss, shape (n,), summing to it."""
        constant = self.target @ self.target - (self.target @ self.factor) ** 2 / (self.factor @ self.factor)
        return np.asarray(self.errors / constant, dtype=np.float64)


def r_loss(data: EffectData, effect: FloatArray) -> Loss:
    """Squared residual of the residual-on-residual regression (Nie & Wager 2021, eq. 4)."""
    residual_t, residual_y = data.t - data.propensity, data.y - data.outcome
    return Loss((residual_y - effect * residual_t) ** 2, residual_y, residual_t)


def dr_loss(data: EffectData, effect: FloatArray) -> Loss:
    """Squared distance from the doubly robust pseudo-outcome (Saito & Yasui 2020; two arms only)."""
    return Loss((data.pseudo_outcome - effect) ** 2, data.pseudo_outcome, np.ones_like(data.t))


def main_loss(data: EffectData, effect: FloatArray) -> Loss:
    """The loss that enters the energy score: DR for two arms, R for a continuous treatment."""
    return dr_loss(data, effect) if data.binary_treatment else r_loss(data, effect)
