"""Sicker patients are treated far more often, constant effect .35: the naive contrast is far too high."""

from __future__ import annotations

from dataclasses import replace

from src.synthetic.model import Draw, Process, draw_confounded, logistic
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECT = 0.35


def draw(streams: Streams, n: int) -> Draw:
    """P(t) = σ((2 + .8·severity − 6)/1.5); y0 = −2 + .5·severity + .6·academic + ε."""
    drawn = draw_confounded(streams, n, EFFECT)
    propensity = logistic((2.0 + 0.8 * drawn.severity - 6.0) / 1.5)
    return replace(
        drawn,
        treated=streams.bernoulli("treatment", propensity, n),
        propensity=propensity,
        baseline=-2.0 + 0.5 * drawn.severity + 0.6 * drawn.columns["academic"],
    )


PROCESS = Process(
    spec=ProcessSpec(
        name="selection_bias",
        graph=DeclaredGraph(
            (
                ("severity", "treatment"),
                ("severity", "outcome"),
                ("academic", "outcome"),
                ("treatment", "outcome"),
            )
        ),
        confounders=("severity", "academic"),
    ),
    draw=draw,
    threshold=0.7,
    adjustment_set=("severity",),
)
