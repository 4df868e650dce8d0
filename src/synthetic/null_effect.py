"""Confounded like the others, but the treatment does nothing: no driver may be claimed."""

from __future__ import annotations

from src.synthetic.confounded import CONFOUNDERS, EDGES
from src.synthetic.model import Draw, Process, draw_confounded
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import Streams


def draw(streams: Streams, n: int) -> Draw:
    """As confounded with y1 = y0."""
    return draw_confounded(streams, n, 0.0)


PROCESS = Process(
    spec=ProcessSpec(name="null_effect", graph=DeclaredGraph(EDGES), confounders=CONFOUNDERS),
    draw=draw,
    adjustment_set=CONFOUNDERS,
)
