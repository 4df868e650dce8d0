"""Treatment and outcome both raise an engagement score: adjusting for the score turns the effect of .25 around."""

from __future__ import annotations

from collections.abc import Mapping

from src.synthetic.confounded import CONFOUNDERS, EDGES
from src.synthetic.model import Process, draw_confounded
from src.synthetic.spec import DeclaredGraph, ProcessSpec
from src.synthetic.streams import BoolArray, FloatArray, Streams

COLLIDER = "engagement_score"


def engagement(streams: Streams, treated: BoolArray, outcome: FloatArray) -> Mapping[str, FloatArray]:
    """Score = t + y + N(0, 1), with y as emitted."""
    return {COLLIDER: treated + outcome + streams.normal("engagement", len(outcome))}


PROCESS = Process(
    spec=ProcessSpec(
        name="collider_trap",
        graph=DeclaredGraph((*EDGES, ("treatment", COLLIDER), ("outcome", COLLIDER))),
        confounders=CONFOUNDERS,
        bad_controls=(COLLIDER,),
    ),
    draw=draw_confounded,
    adjustment_set=CONFOUNDERS,
    colliders=(COLLIDER,),
    aftermath=engagement,
)
