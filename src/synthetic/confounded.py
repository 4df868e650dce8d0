"""Measured confounding, constant effect .25: the naive contrast is too high, adjustment recovers the effect."""

from __future__ import annotations

from src.synthetic.model import Process, draw_confounded
from src.synthetic.spec import DeclaredGraph, ProcessSpec

CONFOUNDERS = ("severity", "academic")
EDGES = (
    ("severity", "treatment"),
    ("academic", "treatment"),
    ("severity", "outcome"),
    ("academic", "outcome"),
    ("treatment", "outcome"),
)

PROCESS = Process(
    spec=ProcessSpec(name="confounded", graph=DeclaredGraph(EDGES), confounders=CONFOUNDERS),
    draw=draw_confounded,
    adjustment_set=CONFOUNDERS,
)
