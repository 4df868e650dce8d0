"""Which promotion does each HCP receive each month, and on what does it depend?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.synthetic.panel.hcps import Hcps
from src.synthetic.panel.world import BRANDS, DEMAND_MEMORY, EMAIL_LAG, MARKET, MONTHS, TRIGGER_SHARE, season
from src.synthetic.streams import BoolArray, FloatArray, IntArray, Streams

BURN_IN = 24


@dataclass(frozen=True)
class Promotion:
    """Promotion of a chunk, arrays of shape (HCPs, 36).

    ``past_email_opens`` are the opens two months before each month (those before 2022 simulated
    too). ``would_accept`` says whether a trigger would be accepted if delivered. ``demand`` is the
    hidden monthly demand shock, in scripts.
    """

    rep_calls: IntArray
    email_opens: IntArray
    past_email_opens: IntArray
    samples: IntArray
    speaker_programs: IntArray
    lottery_rank: IntArray
    trigger_capacity: IntArray
    trigger_delivered: BoolArray
    would_accept: BoolArray
    demand: FloatArray

    @property
    def trigger_accepted(self) -> BoolArray:
        """Delivered and accepted."""
        return self.trigger_delivered & self.would_accept


def draw_promotion(streams: Streams, hcps: Hcps) -> Promotion:
    """Promotion of all kinds.

    Calls, e-mails and speaker programmes are Poisson with a mean that adds an HCP part (decile,
    volume, digital affinity) and a calendar part: given HCP and month they are pure chance.
    Samples are the same for Remibrutinib and Kisqali; for Fabhalta they follow the demand expected
    next month, ρ·d_t, which nobody else sees. Triggers go to the lowest lottery ranks of a
    territory each month, as far as capacity (30 %) reaches; acceptance depends on volume and demand.
    """
    shape = (len(hcps), MONTHS)
    demand = draw_demand(streams, hcps)
    opens = _counts(streams, "email_opens", (0.4 + 1.0 * hcps.digital)[:, None] + _email_calendar()[None, :])
    rank, capacity = _lottery(streams, hcps)
    accepts = np.clip(0.5 + 0.08 * hcps.volume[:, None] + 0.1 * demand, 0.05, 0.95)
    return Promotion(
        rep_calls=_counts(
            streams, "rep_calls", (0.5 + 0.18 * hcps.decile + 0.1 * np.clip(hcps.volume, -2, 2))[:, None] + season()
        ),
        email_opens=opens[:, EMAIL_LAG:],
        past_email_opens=opens[:, :MONTHS],
        samples=_counts(streams, "samples", _sample_means(hcps, demand)),
        speaker_programs=_counts(streams, "speaker_programs", (0.15 + 0.03 * hcps.decile)[:, None] + 0.2 * season()),
        lottery_rank=rank,
        trigger_capacity=capacity,
        trigger_delivered=rank <= capacity,
        would_accept=np.asarray(streams.uniform("acceptance", shape[0] * MONTHS).reshape(shape) < accepts),
        demand=demand,
    )


def draw_demand(streams: Streams, hcps: Hcps) -> FloatArray:
    """Stationary AR(1) demand shock, d_t = .8·d_{t−1} + innovation, sd as in ``MARKET``, shape (n, 36)."""
    innovations = streams.normal("demand", len(hcps) * (MONTHS + BURN_IN)).reshape(len(hcps), -1)
    demand, path = np.zeros(len(hcps)), []
    for month in range(MONTHS + BURN_IN):
        demand = DEMAND_MEMORY * demand + np.sqrt(1.0 - DEMAND_MEMORY**2) * innovations[:, month]
        path.append(demand)
    spread = np.array([MARKET[brand].demand_sd for brand in BRANDS])[hcps.brand]
    return np.asarray(np.stack(path[BURN_IN:], axis=1) * spread[:, None], dtype=np.float64)


def _sample_means(hcps: Hcps, demand: FloatArray) -> FloatArray:
    usual = (0.8 + 0.08 * hcps.decile)[:, None] + 0.3 * season()[None, :]
    follows = (hcps.brand == BRANDS.index("Fabhalta"))[:, None]
    expected_next_month = DEMAND_MEMORY * demand
    return np.asarray(np.maximum(usual + np.where(follows, 1.2 * expected_next_month, 0.0), 0.05), dtype=np.float64)


def _email_calendar() -> FloatArray:
    return np.asarray(0.2 * np.sin(2.0 * np.pi * np.arange(-EMAIL_LAG, MONTHS) / 12.0), dtype=np.float64)


def _counts(streams: Streams, variable: str, mean: FloatArray) -> IntArray:
    return streams.rng(variable).poisson(np.maximum(mean, 0.02)).astype(np.int64)


def _lottery(streams: Streams, hcps: Hcps) -> tuple[IntArray, IntArray]:
    """Rank of each HCP in its territory's monthly draw (from 1) and the territory's capacity."""
    tickets = streams.uniform("lottery", len(hcps) * MONTHS).reshape(len(hcps), MONTHS)
    order = np.argsort(hcps.territory[:, None] + tickets, axis=0)
    codes, sizes = np.unique(hcps.territory, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    place = np.repeat(starts, sizes)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, (np.arange(len(hcps)) - place + 1)[:, None].repeat(MONTHS, axis=1), axis=0)
    capacity = np.maximum((TRIGGER_SHARE * sizes).astype(np.int64), 1)[np.searchsorted(codes, hcps.territory)]
    return rank, np.broadcast_to(capacity[:, None], rank.shape)
