"""Treatment by coin flip, constant effect .40: every sound estimator covers the truth."""

from __future__ import annotations

import numpy as np

from src.synthetic.model import Draw, Process, draw_academic, draw_severity
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECT = 0.40


def draw(streams: Streams, n: int) -> Draw:
    """P(t) = .5; y0 = −2 + .4·severity + .6·academic + ε."""
    severity, academic = draw_severity(streams, n), draw_academic(streams, n)
    return Draw(
        columns={"severity": severity, "academic": academic},
        severity=severity,
        treated=streams.bernoulli("treatment", 0.5, n),
        propensity=np.full(n, 0.5),
        baseline=-2.0 + 0.4 * severity + 0.6 * academic,
        effect=np.full(n, EFFECT),
        noise=streams.normal("noise", n),
    )


PROCESS = Process(
    spec=ProcessSpec(
        name="simple_linear",
        graph=DeclaredGraph((("treatment", "outcome"), ("severity", "outcome"), ("academic", "outcome"))),
        randomized=True,
    ),
    draw=draw,
)
