"""Which measured columns differ between arms and go with the outcome, but are not adjusted for?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import exp, log

import numpy as np
import pandas as pd

from src.causal_engine.results import ConfoundingFinding
from src.causal_engine.sensitivity.partial import absorb_panel, residual
from src.causal_engine.study import MAX_LEVELS, FloatArray, IntArray, Study, encode
from src.errors import StudyInvalid

MAX_CANDIDATES = 60
SMALLEST_DIFFERENCE = 0.1
LEVEL = 0.01
_NO_VARIATION = 1e-6


def confounding_findings(
    frame: pd.DataFrame, study: Study, excluded: Collection[str]
) -> tuple[ConfoundingFinding, ...]:
    """Columns of ``frame`` that look like confounders left out, largest difference first.

    A column counts when its standardised mean difference between arms exceeds .1 (its correlation
    with a continuous treatment, or with any treatment within the units of a panel) and it is
    associated with the outcome at p < .01 (Wald test, robust or clustered) given treatment,
    covariates and the columns already found, the most strongly associated first: what merely moves
    the treatment is associated with the outcome only until the real confounders are held fixed.

    Not looked at: columns with a role in the study, ``excluded`` ones (data cannot tell what comes
    after the treatment), identifiers, dates, text with more than 50 values; at most the first 60
    others. Nothing is reported where confounding is no threat: a randomised treatment or an
    instrument. ``frame`` holds the study's rows in their order, before arms were selected.

    Raises StudyInvalid when the rows of ``frame`` are not those of the study.
    """
    if study.spec.randomized or study.spec.instruments:
        return ()
    rows = _matching_rows(frame, study)
    base = _Base(study)
    unequal = {column: found for column in _candidates(rows, study, excluded) if (found := base.unequal(rows, column))}
    return tuple(sorted(_associated(base, unequal), key=lambda one: (-abs(one.smd), one.column)))


def _associated(base: _Base, unequal: dict[str, tuple[FloatArray, float]]) -> Iterator[ConfoundingFinding]:
    """Forward selection: the column most strongly associated with the outcome, then the next given it."""
    remaining = dict(unequal)
    while remaining:
        # Logarithms, because on many rows several p-values are too small to tell apart otherwise.
        log_p = {column: base.log_p_value(values) for column, (values, _) in remaining.items()}
        column = min(log_p, key=lambda name: (log_p[name], -abs(remaining[name][1]), name))
        if log_p[column] >= log(LEVEL):
            return
        values, difference = remaining.pop(column)
        yield ConfoundingFinding(column, difference, exp(log_p[column]))
        base.hold_fixed(values)


def _matching_rows(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    spec = study.spec
    if spec.treated_value is not None and spec.control_value is not None and len(frame) != study.n:
        frame = frame.loc[frame[spec.treatment].astype(str).isin([spec.treated_value, spec.control_value])]
    if len(frame) != study.n:
        raise StudyInvalid(f"the frame has {len(frame)} rows and the study {study.n}; pass the frame the study is of")
    return frame.reset_index(drop=True)


def _candidates(frame: pd.DataFrame, study: Study, excluded: Collection[str]) -> Iterator[str]:
    taken = {*study.spec.columns, *study.spec.bad_controls, *excluded}
    found = 0
    for column in frame.columns:
        if str(column) in taken or not _can_confound(frame[column]):
            continue
        found += 1
        if found > MAX_CANDIDATES:
            return
        yield str(column)


def _can_confound(series: pd.Series) -> bool:
    """Whether a column is a property of a row rather than its name, its date, or a constant."""
    if pd.api.types.is_datetime64_any_dtype(series) or isinstance(series.dtype, pd.PeriodDtype):
        return False
    if (
        series.dtype == object
        and not series.dropna().map(lambda value: isinstance(value, str | bool | int | float)).all()
    ):
        return False  # lists, documents and dates are no covariates as they are
    distinct = series.nunique(dropna=False)
    if distinct < 2:
        return False
    if not pd.api.types.is_numeric_dtype(series):
        return int(distinct) <= MAX_LEVELS
    return not (pd.api.types.is_integer_dtype(series) and distinct == len(series))


class _Base:
    """What every candidate is compared with: treatment, outcome and covariates, panel effects removed."""

    def __init__(self, study: Study) -> None:
        self.study = study
        controls = np.column_stack([np.ones(study.n), study.x])
        if study.spec.is_panel:
            demeaned, periods, _ = absorb_panel(study, np.column_stack([study.t, study.y, study.x]))
            self.t, self.y, self.periods = demeaned[:, 0], demeaned[:, 1], periods
            controls = np.column_stack([periods, demeaned[:, 2:]])
        else:
            self.t, self.y, self.periods = study.t, study.y, np.empty((study.n, 0))
        self.given = np.column_stack([self.t, controls])
        self.y_left = residual(self.given, self.y)

    def unequal(self, frame: pd.DataFrame, column: str) -> tuple[FloatArray, float] | None:
        """Encoded values (n, k) of a column and its largest difference between arms, if that exceeds .1."""
        values, _, _ = encode(frame, (column,))
        if self.study.spec.is_panel:
            values = absorb_panel(self.study, values)[0]
        differences = [self._difference(column_values) for column_values in values.T]
        largest = max(differences, key=abs, default=0.0)
        return (values, largest) if abs(largest) > SMALLEST_DIFFERENCE else None

    def log_p_value(self, values: FloatArray) -> float:
        """Log p-value of ``values`` (n, k) jointly in the outcome, given what is held fixed."""
        left = residual(self.given, values)
        own = left.std(axis=0) > _NO_VARIATION * np.maximum(values.std(axis=0), _NO_VARIATION)
        return _wald_log_p_value(left[:, own], self.y_left, self.study.clusters) if own.any() else 0.0

    def hold_fixed(self, values: FloatArray) -> None:
        """Adjust for ``values`` (n, k) from now on."""
        self.given = np.column_stack([self.given, values])
        self.y_left = residual(self.given, self.y)

    def _difference(self, values: FloatArray) -> float:
        if not self.study.is_binary or self.study.spec.is_panel:
            return _correlation(residual(self.periods, self.t), residual(self.periods, values))
        treated, control = values[self.t == 1], values[self.t == 0]
        spread = np.sqrt((treated.var(ddof=1) + control.var(ddof=1)) / 2)
        return float((treated.mean() - control.mean()) / spread) if spread > 0 else 0.0


def _correlation(left: FloatArray, right: FloatArray) -> float:
    scale = float(left.std() * right.std())
    return float(((left - left.mean()) * (right - right.mean())).mean()) / scale if scale > 0 else 0.0


def _wald_log_p_value(values: FloatArray, outcome: FloatArray, clusters: IntArray | None) -> float:
    """Log p-value of the joint coefficient of ``values`` (n, k), both sides residualised; robust, or clustered."""
    from scipy.stats import chi2

    gram = values.T @ values
    if float(np.trace(gram)) <= 0:
        return 0.0
    bread = np.linalg.pinv(gram, hermitian=True)
    coefficients = bread @ (values.T @ outcome)
    scores = values * (outcome - values @ coefficients)[:, None]
    if clusters is not None:
        sums = np.zeros((int(clusters.max()) + 1, scores.shape[1]))
        np.add.at(sums, clusters, scores)
        scores = sums
    covariance = bread @ (scores.T @ scores) @ bread
    statistic = float(coefficients @ np.linalg.pinv(covariance, hermitian=True) @ coefficients)
    return float(chi2.logsf(statistic, np.linalg.matrix_rank(covariance, hermitian=True)))
