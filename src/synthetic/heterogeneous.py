"""Measured confounding with an effect of .15 / .30 / .50 at low / mid / high severity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from src.synthetic.confounded import CONFOUNDERS, EDGES
from src.synthetic.model import Draw, Process, draw_confounded, segment_codes
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams

EFFECTS = np.array([0.15, 0.30, 0.50])


def draw(streams: Streams, n: int) -> Draw:
    """As confounded; the effect depends on the severity segment, which is emitted as a column."""
    drawn = draw_confounded(streams, n)
    codes = segment_codes(drawn.severity)
    return replace(drawn, columns={**drawn.columns, "severity_segment": codes}, effect=EFFECTS[codes])


PROCESS = Process(
    spec=ProcessSpec(
        name="heterogeneous",
        graph=DeclaredGraph((*EDGES, ("severity", "severity_segment"), ("severity_segment", "outcome"))),
        confounders=CONFOUNDERS,
        effect_modifiers=("severity_segment",),
    ),
    draw=draw,
    adjustment_set=CONFOUNDERS,
    segment_column="severity_segment",
)
