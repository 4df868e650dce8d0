"""Did adopters move like the others before they adopted?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.fixed_effects import within_regression
from src.causal_engine.estimators.inference import LinearFit, Uncertainty, interval
from src.causal_engine.estimators.panel_data import Adoption, Panel, demean
from src.causal_engine.results import Interval, ProfilePoint
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError

MAX_LEADS_BEFORE_ADOPTION = 5
LEAST_PERIODS_BEFORE = 2
PERMUTATIONS = 199
_EQUAL = 1e-9
NOTE = (
    "From adoption on: outcome less what is imputed from the rows not yet treated. Before adoption: difference from "
    "the period just before it, among rows not yet treated only; these two have different references, so only the "
    "leads' own pattern tells about trends."
)


@dataclass(frozen=True)
class LeadRegression:
    """The regression of the pre-trend test; ``leads[k]`` is the lead of coefficient k, ``n_units`` behind each."""

    fit: LinearFit
    leads: tuple[int, ...]
    n_units: tuple[int, ...]


def lead_regression(study: Study, panel: Panel, adoption: Adoption) -> LeadRegression | None:
    """Event-time leads −2, −3, … (relative to −1) in the rows not yet treated, two-way effects, by unit.

    Borusyak, Jaravel & Spiess 2024, sec. 4.3: rows that are treated have no say. At most five leads, the
    last open-ended. None when no unit is seen two periods before adoption; raises EstimationError when
    the leads cannot be told apart from unit and period effects.
    """
    rows = study.t == 0
    first = adoption.first_period[panel.unit[rows]]
    before = np.where(first >= 0, first - panel.period[rows], 0)
    furthest = min(int(before.max(initial=0)), MAX_LEADS_BEFORE_ADOPTION)
    seen = [k for k in range(2, furthest + 1) if (before == k).any()]
    if not seen:
        return None
    columns = _columns(before, seen)
    part = study.with_frame(study.frame.loc[rows].reset_index(drop=True))
    inner = panel.take(np.flatnonzero(rows))
    fit, _, _ = within_regression(part, inner, columns)
    units = tuple(len(np.unique(inner.unit[column > 0])) for column in columns.T)
    return LeadRegression(fit, tuple(seen), units)


def permuted_pre_trend(study: Study, panel: Panel, adoption: Adoption) -> tuple[float | None, str]:
    """p-value that few adopters moved like others before anybody adopted, and how it was made; None and why not.

    What the leads explain of the outcome, two-way effects and controls removed, against what they explain
    when the adoption dates are dealt to other units (199 times). Exact where units are exchangeable (Fisher
    1935), which errors clustered in so few adopters are not fit to replace.
    """
    dates = adoption.first_period
    rows = np.flatnonzero(panel.period < dates[dates > 0].min())
    if len(rows) == 0 or len(np.unique(panel.period[rows])) < LEAST_PERIODS_BEFORE:
        return None, "no pre-trend test: it takes at least two periods before anybody adopts"
    part = panel.take(rows)
    dates = dates[np.unique(panel.unit[rows])]
    outcome = _without_controls(demean(np.column_stack([study.y, study.x])[rows], part))
    rng = np.random.default_rng([study.spec.random_state, len(rows)])
    found = _explained(outcome, part, dates)
    if found is None:
        return None, "no pre-trend test: adopters cannot be told from others before anybody adopts"
    others = [_explained(outcome, part, rng.permutation(dates)) for _ in range(PERMUTATIONS)]
    as_large = sum(one is not None and one >= found * (1 - _EQUAL) for one in others)
    return (1 + as_large) / (
        1 + len(others)
    ), f"tested by dealing the adoption dates to other units {len(others)} times"


def _without_controls(within: FloatArray) -> FloatArray:
    y, controls = within[:, 0], within[:, 1:]
    return np.asarray(y - controls @ np.linalg.lstsq(controls, y, rcond=1e-9)[0] if controls.shape[1] else y)


def _explained(outcome: FloatArray, panel: Panel, dates: IntArray) -> float | None:
    """Sum of squares of ``outcome`` (n,), two-way effects removed, that the leads of ``dates`` (n_units,) explain."""
    first = dates[panel.unit]
    before = np.where(first > 0, np.minimum(first - panel.period, MAX_LEADS_BEFORE_ADOPTION), 0)
    seen = [k for k in range(2, MAX_LEADS_BEFORE_ADOPTION + 1) if (before == k).any()]
    if not seen:
        return None
    leads = demean(np.column_stack([before == k for k in seen]).astype(np.float64), panel)
    slopes, _, rank, _ = np.linalg.lstsq(leads, outcome, rcond=1e-9)
    return float(outcome @ (leads @ slopes)) if rank else None


def lead_points(study: Study, panel: Panel, adoption: Adoption) -> tuple[ProfilePoint, ...]:
    """The leads as points at negative times with −1 as the reference (0 by construction), earliest first.

    Empty when the panel cannot carry them.
    """
    if not adoption.absorbing:
        return ()
    try:
        found = lead_regression(study, panel, adoption)
    except EstimationError:
        return ()
    if found is None:
        return ()
    points = [
        point(float(-lead), float(found.fit.coefficients[k]), found.fit.uncertainty(k), found.n_units[k])
        for k, lead in enumerate(found.leads)
    ]
    adopters = int((adoption.first_period > 0).sum())
    return (*reversed(points), ProfilePoint(-1.0, 0.0, 0.0, Interval(0.0, 0.0), adopters))


def point(at: float, value: float, uncertainty: Uncertainty, n: int) -> ProfilePoint:
    """A point with its 95 % interval."""
    return ProfilePoint(at, value, uncertainty.std_error, interval(value, uncertainty), n)


def _columns(before: IntArray, seen: list[int]) -> FloatArray:
    columns = [before == k for k in seen[:-1]] + [before >= seen[-1]]
    return np.column_stack(columns).astype(np.float64)
