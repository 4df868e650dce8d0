"""A hidden cause drives treatment and outcome, but a rep-capacity lottery moves the treatment: 2SLS recovers .30."""

from __future__ import annotations

import numpy as np

from src.synthetic.model import Draw, Process, draw_academic, draw_severity, logistic
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECT = 0.30
LOTTERY = "rep_capacity_lottery"


def draw(streams: Streams, n: int) -> Draw:
    """P(t | z, u) = σ(−1.2 + 2.2·z + 1.2·u); y0 = −2 + .4·severity + .6·academic + .8·u + ε.

    One uniform decides the treatment under both values of the lottery, so nobody defies it
    (monotonicity) and ``compliers`` is known for each row. The effect is constant: LATE = ATE.
    """
    severity, academic = draw_severity(streams, n), draw_academic(streams, n)
    lottery = streams.bernoulli("lottery", 0.5, n)
    hidden = streams.normal("hidden", n)
    lost, won = logistic(-1.2 + 1.2 * hidden), logistic(1.0 + 1.2 * hidden)
    uniform = streams.uniform("treatment", n)
    propensity = np.where(lottery, won, lost)
    return Draw(
        columns={"severity": severity, "academic": academic, LOTTERY: lottery.astype(np.int64)},
        severity=severity,
        treated=uniform < propensity,
        propensity=propensity,
        baseline=-2.0 + 0.4 * severity + 0.6 * academic + 0.8 * hidden,
        effect=np.full(n, EFFECT),
        noise=streams.normal("noise", n),
        compliers=(uniform < won) & (uniform >= lost),
    )


PROCESS = Process(
    spec=ProcessSpec(
        name="instrument_available",
        graph=DeclaredGraph(
            (
                (LOTTERY, "treatment"),
                ("u", "treatment"),
                ("u", "outcome"),
                ("severity", "outcome"),
                ("academic", "outcome"),
                ("treatment", "outcome"),
            ),
            latent=("u",),
        ),
        instruments=(LOTTERY,),
    ),
    draw=draw,
    unobserved=("u",),
)
