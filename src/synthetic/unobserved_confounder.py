"""A cause of treatment and outcome is not in the data: the effect of .20 cannot be identified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from src.synthetic.confounded import EDGES
from src.synthetic.model import Draw, Process, draw_confounded, logistic
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECT = 0.20


def draw(streams: Streams, n: int) -> Draw:
    """P(t) = σ(.9·(severity − 5) + .5·academic − .15 + .6·u); y0 = −4 + .8·severity + .6·academic + .4·u + ε.

    Severity, which is emitted, is a stronger cause of both than u, which is not: a sensitivity
    analysis benchmarked on severity sees that a confounder as strong as u explains the estimate.
    """
    drawn = draw_confounded(streams, n, EFFECT)
    academic = np.asarray(drawn.columns["academic"], dtype=np.float64)
    hidden = streams.normal("hidden", n)
    propensity = logistic(0.9 * (drawn.severity - 5.0) + 0.5 * academic - 0.15 + 0.6 * hidden)
    return replace(
        drawn,
        treated=streams.bernoulli("treatment", propensity, n),
        propensity=propensity,
        baseline=-4.0 + 0.8 * drawn.severity + 0.6 * academic + 0.4 * hidden,
    )


PROCESS = Process(
    spec=ProcessSpec(
        name="unobserved_confounder",
        graph=DeclaredGraph((*EDGES, ("u", "treatment"), ("u", "outcome")), latent=("u",)),
        confounders=("severity", "academic"),
    ),
    draw=draw,
    identifiable=False,
    unobserved=("u",),
)
