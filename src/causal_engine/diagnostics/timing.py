"""Was anything that is adjusted for measured only after the treatment?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from src.causal_engine.study import Study

STAMPS = ("_date", "_at", "_time", "_timestamp", "_on", "_measured_at", "_recorded_at", "_measured_on")
MOST_LATE = 0.01


def measured_afterwards(frame: pd.DataFrame, study: Study) -> tuple[tuple[str, float], ...]:
    """Controls with a time stamp later than the treatment's in more than 1 % of the rows with both, and that share.

    The stamp of a column ``volume`` is a column of dates called ``volume_date``, ``volume_at``,
    ``volume_measured_at`` and so on. Nothing is reported where there are no stamps.
    """
    started = _stamp(frame, study.spec.treatment)
    if started is None:
        return ()
    named = dict.fromkeys((*study.spec.confounders, *study.spec.effect_modifiers))
    return tuple(_late(frame, started, list(named)))


def _late(frame: pd.DataFrame, started: pd.Series, columns: list[str]) -> Iterator[tuple[str, float]]:
    for column in columns:
        measured = _stamp(frame, column)
        if measured is None:
            continue
        both = started.notna() & measured.notna()
        share = float((measured[both] > started[both]).mean()) if both.any() else 0.0
        if share > MOST_LATE:
            yield column, share


def _stamp(frame: pd.DataFrame, column: str) -> pd.Series | None:
    for ending in STAMPS:
        name = f"{column}{ending}"
        if name not in frame.columns:
            continue
        series = frame[name]
        if pd.api.types.is_datetime64_any_dtype(series):
            return series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
        if pd.api.types.is_numeric_dtype(series):
            continue  # "volume_time" may be a duration as well as a moment
        parsed = pd.to_datetime(series, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
        if parsed.notna().sum() >= 0.5 * series.notna().sum() > 0:
            return parsed
    return None
