"""What is the true effect on the rows that were emitted? Sums over chunks of simulated potential outcomes."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from src.synthetic.model import SEGMENTS, Draw, Outcomes, Process, segment_codes


@dataclass(frozen=True, slots=True)
class SegmentTruth:
    """Mean of y1 − y0 over the rows of one severity segment, their number and share."""

    effect: float
    n: int
    share: float


@dataclass(frozen=True, slots=True)
class InstrumentTruth:
    """``first_stage_effect``: share of rows whose treatment follows the instrument; ``late``: their mean effect."""

    name: str
    first_stage_effect: float
    late: float | None


@dataclass(frozen=True, slots=True)
class OverlapTruth:
    """Range of the true propensity and the share of rows outside [.05, .95]."""

    min_propensity: float
    max_propensity: float
    share_outside_05_95: float


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Realised truth of one generated dataset, on the scale of the emitted outcome.

    ``ate`` = mean(y1 − y0) over all rows, ``att``/``atc`` over treated/untreated rows (None when
    there are none). With a lag the treatment meant is the one ``true_lag_periods`` periods earlier.
    ``naive_estimate`` is the difference in mean outcome between treated and untreated rows of the
    frame as it is, without lag. ``cate`` has the severity segments low < 4, mid 4–7, high > 7 that
    occur; ``cate_column`` is the emitted column they are made from.
    """

    process: str
    n_rows: int
    random_state: int
    outcome_kind: str
    ate: float
    att: float | None
    atc: float | None
    cate: dict[str, SegmentTruth]
    cate_column: str
    true_lag_periods: int
    instrument: InstrumentTruth | None
    overlap: OverlapTruth
    unobserved: tuple[str, ...]
    colliders: tuple[str, ...]
    adjustment_set: tuple[str, ...]
    identifiable: bool
    naive_estimate: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass
class TruthSums:
    """Streaming sums from which GroundTruth is made; one ``add`` per chunk."""

    process: Process
    _parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _smallest: float = math.inf
    _largest: float = -math.inf

    def add(self, draw: Draw, outcomes: Outcomes) -> None:
        """Take in the rows of one chunk."""
        difference = outcomes.y1 - outcomes.y0
        emitted = draw.treated if draw.emitted_treatment is None else draw.emitted_treatment
        codes = segment_codes(draw.severity)
        self._count("all", np.ones(len(difference), dtype=np.bool_), difference)
        self._count("treated", draw.treated, difference)
        self._count("untreated", ~draw.treated, difference)
        self._count("emitted treated", emitted, outcomes.observed)
        self._count("emitted untreated", ~emitted, outcomes.observed)
        for code, segment in enumerate(SEGMENTS):
            self._count(segment, codes == code, difference)
        if draw.compliers is not None:
            self._count("compliers", draw.compliers, difference)
        outside = (draw.propensity < 0.05) | (draw.propensity > 0.95)
        self._count("outside", outside, draw.propensity)
        self._smallest = min(self._smallest, float(draw.propensity.min()))
        self._largest = max(self._largest, float(draw.propensity.max()))

    def finish(self, n_rows: int, random_state: int, outcome: str) -> GroundTruth:
        """The truth over everything added."""
        process, treated, untreated = self.process, self._mean("emitted treated"), self._mean("emitted untreated")
        ate = self._mean("all")
        assert ate is not None
        return GroundTruth(
            process=process.name,
            n_rows=n_rows,
            random_state=random_state,
            outcome_kind=outcome,
            ate=ate,
            att=self._mean("treated"),
            atc=self._mean("untreated"),
            cate=self._segments(n_rows),
            cate_column=process.segment_column,
            true_lag_periods=process.spec.lag,
            instrument=self._instrument(n_rows),
            overlap=OverlapTruth(self._smallest, self._largest, self._n("outside") / n_rows),
            unobserved=process.unobserved,
            colliders=process.colliders,
            adjustment_set=process.adjustment_set,
            identifiable=process.identifiable,
            naive_estimate=None if treated is None or untreated is None else treated - untreated,
        )

    def _count(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        self._parts[f"n {name}"].append(float(np.count_nonzero(rows)))
        self._parts[name].append(float(values[rows].sum()))

    def _n(self, name: str) -> int:
        return int(math.fsum(self._parts[f"n {name}"]))

    def _mean(self, name: str) -> float | None:
        n = self._n(name)
        return math.fsum(self._parts[name]) / n if n else None

    def _segments(self, n_rows: int) -> dict[str, SegmentTruth]:
        found = {segment: (self._mean(segment), self._n(segment)) for segment in SEGMENTS}
        return {name: SegmentTruth(mean, n, n / n_rows) for name, (mean, n) in found.items() if mean is not None}

    def _instrument(self, n_rows: int) -> InstrumentTruth | None:
        if not self.process.spec.instruments:
            return None
        share = self._n("compliers") / n_rows
        return InstrumentTruth(self.process.spec.instruments[0], share, self._mean("compliers"))
