"""Monthly engagement that acts two months later: the lag is found, a model without it is wrong."""

from __future__ import annotations

import numpy as np

from src.synthetic.model import Draw, Process, draw_academic, draw_severity, logistic
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import CHUNK_ROWS, BoolArray, FloatArray, Streams

MONTHS = 40
LAG = 2
EFFECT = 0.30
DECAY = 0.85
ACTIVE_MONTHS = 3
BURN_IN = 12
UNITS_PER_CHUNK = CHUNK_ROWS // MONTHS


def draw(streams: Streams, n: int) -> Draw:
    """Unit-months in order of unit and month; 40 months per unit, 2,500 units per chunk.

    Engagement: P(e_t) = σ(−1 + .2·(severity − 5) + .8·academic + .4·season_t + 1.2·e_{t−1}).
    Outcome: unit level + season_t + .30·e_{t−2} + .30·.85·e_{t−3} + .30·.85²·e_{t−4} + ε; an
    engagement is spent after three months. Potential outcomes of row (unit, t) compare e_{t−2} = 1
    with e_{t−2} = 0, all other engagements as they were, so the average effect is that of one
    month's engagement on the outcome exactly two months later. Given the unit, engagement depends
    on nothing that moves the outcome over time except the calendar, so unit and month effects with
    the lags of engagement recover it. The months before the first row are simulated, not emitted.
    """
    units = -(-n // MONTHS)
    severity, academic = draw_severity(streams, units), draw_academic(streams, units)
    calendar = np.arange(-BURN_IN, MONTHS)
    season = np.sin(2.0 * np.pi * calendar / 12.0)
    index = -1.0 + 0.2 * (severity - 5.0) + 0.8 * academic
    engaged, probability = _engagement(streams, index, season, units)
    level = -2.0 + 0.4 * severity + 0.6 * academic + 0.5 * streams.normal("unit", units)
    later = sum(
        EFFECT * DECAY**step * _lagged(engaged, LAG + step).astype(np.float64) for step in range(1, ACTIVE_MONTHS)
    )
    baseline = level[:, None] + 0.5 * season[None, BURN_IN:] + later
    rows = units * MONTHS
    drawn = Draw(
        columns={"severity": np.repeat(severity, MONTHS), "academic": np.repeat(academic, MONTHS)},
        severity=np.repeat(severity, MONTHS),
        treated=_lagged(engaged, LAG).ravel(),
        propensity=_lagged(probability, LAG).ravel(),
        baseline=baseline.ravel(),
        effect=np.full(rows, EFFECT),
        noise=streams.normal("noise", rows),
        emitted_treatment=_lagged(engaged, 0).ravel(),
        units=np.repeat(np.arange(units) + streams.chunk * UNITS_PER_CHUNK, MONTHS),
        months=np.tile(np.arange(MONTHS), units),
    )
    return drawn.head(n)


def _engagement(streams: Streams, index: FloatArray, season: FloatArray, units: int) -> tuple[BoolArray, FloatArray]:
    months = BURN_IN + MONTHS
    uniform = streams.uniform("treatment", units * months).reshape(units, months)
    engaged = np.zeros((units, months), dtype=np.bool_)
    probability = np.empty((units, months))
    previous = np.zeros(units, dtype=np.bool_)
    for month in range(months):
        probability[:, month] = logistic(index + 0.4 * season[month] + 1.2 * previous)
        engaged[:, month] = previous = uniform[:, month] < probability[:, month]
    return engaged, probability


def _lagged(values: np.ndarray, lag: int) -> np.ndarray:
    return values[:, BURN_IN - lag : BURN_IN - lag + MONTHS]


PROCESS = Process(
    spec=ProcessSpec(
        name="time_series",
        graph=DeclaredGraph(
            (
                ("unit_traits", "severity"),
                ("unit_traits", "academic"),
                ("unit_traits", "treatment"),
                ("unit_traits", "outcome"),
                ("treatment", "outcome"),
            ),
            latent=("unit_traits",),
            time_invariant=("unit_traits",),
        ),
        unit_key="unit_id",
        time_key="month",
        lag=LAG,
    ),
    draw=draw,
    adjustment_set=("unit_id", "month"),
)
