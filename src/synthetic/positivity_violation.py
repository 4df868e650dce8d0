"""Almost everyone mild and almost no one severe is treated: a fifth of the rows has no comparison, effect .30."""

from __future__ import annotations

from dataclasses import replace

from src.synthetic.model import Draw, Process, draw_confounded, logistic
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECT = 0.30


def draw(streams: Streams, n: int) -> Draw:
    """P(t) = σ(1.6·(5 − severity)): below .02 above severity 7.5, above .98 below 2.5; y0 as confounded."""
    drawn = draw_confounded(streams, n, EFFECT)
    propensity = logistic(1.6 * (5.0 - drawn.severity))
    return replace(drawn, treated=streams.bernoulli("treatment", propensity, n), propensity=propensity)


PROCESS = Process(
    spec=ProcessSpec(
        name="positivity_violation",
        graph=DeclaredGraph(
            (("severity", "treatment"), ("severity", "outcome"), ("academic", "outcome"), ("treatment", "outcome"))
        ),
        confounders=("severity", "academic"),
    ),
    draw=draw,
    adjustment_set=("severity",),
)
