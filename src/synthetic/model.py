"""How does one simulated unit get its treatment and both its potential outcomes?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from src.synthetic.spec import ProcessSpec
from src.synthetic.streams import BoolArray, FloatArray, IntArray, Streams

SEGMENTS = ("low", "mid", "high")
SEGMENT_CUTS = (4.0, 7.0)


@dataclass(frozen=True)
class Draw:
    """Rows of one chunk before the outcome is emitted; arrays of shape (n,).

    ``baseline`` is the systematic part of the untreated outcome (hidden causes included),
    ``effect`` what treatment adds to it, ``noise`` N(0, 1) shared by both worlds. ``treated`` is
    the treatment that the potential outcomes refer to; on a panel with a lag it is the earlier
    one, and the treatment of the row itself is ``emitted_treatment``. ``compliers`` marks rows
    whose treatment follows the instrument; ``units``/``months`` are the keys of a panel row.
    """

    columns: Mapping[str, FloatArray | IntArray]
    severity: FloatArray
    treated: BoolArray
    propensity: FloatArray
    baseline: FloatArray
    effect: FloatArray
    noise: FloatArray
    emitted_treatment: BoolArray | None = None
    compliers: BoolArray | None = None
    units: IntArray | None = None
    months: IntArray | None = None

    def head(self, n: int) -> Draw:
        """The first ``n`` rows."""
        cut = {name: value[:n] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        columns = {name: value[:n] for name, value in self.columns.items()}
        return Draw(**{**vars(self), **cut, "columns": columns})


@dataclass(frozen=True)
class Outcomes:
    """Potential and observed outcomes on the emitted scale, shape (n,); ``cate`` is E[y1 − y0 | row]."""

    y0: FloatArray
    y1: FloatArray
    observed: FloatArray
    cate: FloatArray


@dataclass(frozen=True)
class Process:
    """A data-generating process.

    ``draw(streams, n)`` returns n rows of a chunk. A binary outcome is 1 where the continuous one
    exceeds ``threshold`` (a constant, so that rows never depend on how many there are).
    ``aftermath(streams, treated, outcome)`` adds columns that treatment and emitted outcome cause.
    """

    spec: ProcessSpec
    draw: Callable[[Streams, int], Draw]
    threshold: float = 0.2
    adjustment_set: tuple[str, ...] = ()
    identifiable: bool = True
    unobserved: tuple[str, ...] = ()
    colliders: tuple[str, ...] = ()
    segment_column: str = "severity"
    aftermath: Callable[[Streams, BoolArray, FloatArray], Mapping[str, FloatArray]] | None = field(default=None)

    @property
    def name(self) -> str:
        """Name by which the process is asked for."""
        return self.spec.name


def logistic(index: FloatArray) -> FloatArray:
    """σ(z) = 1/(1+e^−z)."""
    return np.asarray(1.0 / (1.0 + np.exp(-index)), dtype=np.float64)


def draw_severity(streams: Streams, n: int) -> FloatArray:
    """Disease severity ~ N(5, 2) clipped to 0–10."""
    return np.clip(5.0 + 2.0 * streams.normal("severity", n), 0.0, 10.0)


def draw_academic(streams: Streams, n: int) -> IntArray:
    """1 for an academic centre, probability .3."""
    return streams.bernoulli("academic", 0.3, n).astype(np.int64)


def segment_codes(severity: FloatArray) -> IntArray:
    """Index into SEGMENTS: low < 4, mid 4–7, high > 7."""
    return (severity >= SEGMENT_CUTS[0]).astype(np.int64) + (severity > SEGMENT_CUTS[1])


def draw_confounded(streams: Streams, n: int, effect: float | FloatArray = 0.25) -> Draw:
    """Severity and academic status drive treatment and outcome; the base of several processes.

    P(t) = σ((3 + .3·severity + 2·academic − 5.1)/1.5); y0 = −2 + .4·severity + .6·academic + ε.
    """
    severity, academic = draw_severity(streams, n), draw_academic(streams, n)
    propensity = logistic((3.0 + 0.3 * severity + 2.0 * academic - 5.1) / 1.5)
    return Draw(
        columns={"severity": severity, "academic": academic},
        severity=severity,
        treated=streams.bernoulli("treatment", propensity, n),
        propensity=propensity,
        baseline=-2.0 + 0.4 * severity + 0.6 * academic,
        effect=np.broadcast_to(np.asarray(effect, dtype=np.float64), (n,)),
        noise=streams.normal("noise", n),
    )


def emit_outcomes(draw: Draw, outcome: str, threshold: float) -> Outcomes:
    """Both worlds with the same noise; observed = t·y1 + (1−t)·y0.

    For ``outcome="binary"`` each world is 1 where it exceeds ``threshold`` and ``cate`` is a risk
    difference, Φ(baseline + effect − threshold) − Φ(baseline − threshold).
    """
    y0 = draw.baseline + draw.noise
    y1 = y0 + draw.effect
    cate = np.asarray(draw.effect, dtype=np.float64)
    if outcome == "binary":
        from scipy.special import ndtr

        y0, y1 = (y0 > threshold).astype(np.float64), (y1 > threshold).astype(np.float64)
        cate = np.asarray(
            ndtr(draw.baseline + draw.effect - threshold) - ndtr(draw.baseline - threshold), dtype=np.float64
        )
    return Outcomes(y0, y1, np.where(draw.treated, y1, y0), cate)
