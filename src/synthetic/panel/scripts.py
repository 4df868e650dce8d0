"""How many prescriptions does each HCP write, in this world and in any other one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.synthetic.panel.hcps import Hcps
from src.synthetic.panel.promotion import Promotion
from src.synthetic.panel.world import BRANDS, MARKET, MONTHS, market_level, unit_effects
from src.synthetic.streams import BoolArray, FloatArray, IntArray, Streams

OUTCOMES = ("nrx", "nbrx", "trx")
SMALLEST_MEAN = 0.05


@dataclass(frozen=True)
class ScriptModel:
    """Everything that decides scripts except promotion, arrays of shape (HCPs, 36).

    ``untouched`` is the mean NRx without any promotion. The uniforms are the same in every world,
    so scripts under another promotion are well defined: NRx is the Poisson quantile of ``luck`` at
    the mean of that world, NBRx thins NRx with ``new_luck``, refills do not react to promotion.
    """

    untouched: FloatArray
    luck: FloatArray
    new_luck: FloatArray
    new_share: FloatArray
    refills: IntArray
    rival_scripts: IntArray

    def nrx(self, lift: FloatArray) -> IntArray:
        """New prescriptions when promotion adds ``lift`` to the mean."""
        return poisson_quantile(self.luck, np.maximum(self.untouched + lift, SMALLEST_MEAN))

    def outcomes(self, lift: FloatArray) -> dict[str, IntArray]:
        """NRx, NBRx ≤ NRx and TRx ≥ NRx when promotion adds ``lift`` to the mean NRx."""
        nrx = self.nrx(lift)
        nbrx = np.floor(self.new_share * nrx + self.new_luck).astype(np.int64)
        return {"nrx": nrx, "nbrx": np.minimum(nbrx, nrx), "trx": nrx + self.refills}


def poisson_quantile(uniform: FloatArray, mean: FloatArray) -> IntArray:
    """Smallest k with P(Poisson(mean) ≤ k) ≥ uniform, elementwise."""
    quantile = np.zeros(uniform.shape, dtype=np.int64)
    probability = np.exp(-mean)
    below = probability.copy()
    k = 0
    while (short := below < uniform).any() and k < 1_000:
        k += 1
        quantile += short
        probability = probability * mean / k
        below = below + probability
    return quantile


def draw_script_model(streams: Streams, hcps: Hcps, demand: FloatArray) -> ScriptModel:
    """Draw the luck of every HCP-month and its mean without promotion: HCP level + market level + demand."""
    shape = (len(hcps), MONTHS)

    def uniform(name: str) -> FloatArray:
        return streams.uniform(name, shape[0] * MONTHS).reshape(shape)

    markets = [MARKET[brand] for brand in BRANDS]
    untouched = hcps.level[:, None] + np.stack([market_level(brand) for brand in BRANDS])[hcps.brand] + demand
    ratio = np.array([market.refill_ratio for market in markets])[hcps.brand]
    rival = np.array([market.rival_mean for market in markets])[hcps.brand]
    share = np.array([market.new_to_brand_share for market in markets])[hcps.brand]
    return ScriptModel(
        untouched=untouched,
        luck=uniform("nrx"),
        new_luck=uniform("nbrx"),
        new_share=np.broadcast_to(share[:, None], shape),
        refills=poisson_quantile(uniform("refills"), np.maximum(ratio[:, None] * untouched, SMALLEST_MEAN)),
        rival_scripts=poisson_quantile(uniform("rival"), np.broadcast_to(rival[:, None], shape)),
    )


def promotion_lift(hcps: Hcps, promotion: Promotion, accepted: BoolArray | None = None) -> FloatArray:
    """What promotion adds to the mean NRx, shape (HCPs, 36); ``accepted`` replaces the triggers accepted."""
    received: dict[str, IntArray | BoolArray] = {
        "rep_calls": promotion.rep_calls,
        "email_opens": promotion.past_email_opens,
        "samples": promotion.samples,
        "speaker_programs": promotion.speaker_programs,
        "trigger_accepted": promotion.trigger_accepted if accepted is None else accepted,
    }
    lift = np.zeros((len(hcps), MONTHS))
    for treatment, amount in received.items():
        lift += unit_effects(treatment, hcps.brand, hcps.region)[:, None] * amount.astype(np.float64)
    return lift
