"""How are frames of contract rows written as the files an analyst would load?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tests.unit.test_contracts.frames import clean_frame


def cell(value: Any) -> Any:
    """A value as text in a CSV cell."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, pd.Timestamp):
        return value.isoformat() if value.tzinfo else value.strftime("%Y-%m-%d")
    return value


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cells as they are written to CSV, every column of object dtype."""
    return frame.astype(object).apply(lambda column: column.map(cell, na_action="ignore"))


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write ``frame`` with a header and no index."""
    as_text(frame).to_csv(path, index=False)
    return path


def metrics(rows: int) -> pd.DataFrame:
    """Legal business_metrics rows without created_at."""
    return clean_frame("business_metrics", rows).drop(columns="created_at")
