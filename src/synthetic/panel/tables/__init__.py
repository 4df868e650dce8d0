"""The eight tables of the data contract, recorded in one simulated world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.synthetic.panel.simulation import World
from src.synthetic.panel.tables.agent_activities import agent_activities
from src.synthetic.panel.tables.business_metrics import business_metrics
from src.synthetic.panel.tables.causal_paths import causal_paths
from src.synthetic.panel.tables.claims import Claims, draw_claims
from src.synthetic.panel.tables.hcp_profiles import hcp_profiles
from src.synthetic.panel.tables.ml_predictions import ml_predictions
from src.synthetic.panel.tables.patient_journeys import patient_journeys
from src.synthetic.panel.tables.treatment_events import treatment_events
from src.synthetic.panel.tables.triggers import triggers
from src.synthetic.panel.truth import TREATMENTS, PanelTruth
from src.synthetic.panel.world import BRANDS

if TYPE_CHECKING:
    import pandas as pd


class TableSet:
    """Collects what the tables need while chunks go by; the first chunk holds the claims sample."""

    def __init__(self) -> None:
        self._profiles: list[pd.DataFrame] = []
        self._claims: Claims | None = None
        self._spreads: dict[tuple[str, str | None], float] = {}

    def add(self, world: World) -> None:
        """Take in one chunk."""
        self._profiles.append(hcp_profiles(world))
        if self._claims is None:
            self._claims = draw_claims(world)
            self._spreads = _spreads(world)

    def finish(self, truth: PanelTruth) -> dict[str, pd.DataFrame]:
        """All eight tables by name, parents before children."""
        import pandas as pd

        claims = self._claims
        assert claims is not None
        return {
            "hcp_profiles": pd.concat(self._profiles, ignore_index=True),
            "patient_journeys": patient_journeys(claims),
            "treatment_events": treatment_events(claims),
            "triggers": triggers(claims),
            "ml_predictions": ml_predictions(claims),
            "business_metrics": business_metrics(claims, truth),
            "agent_activities": agent_activities(claims.world.streams),
            "causal_paths": causal_paths(truth, self._spreads),
        }


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write ``NAME.parquet`` per table; JSON cells as JSON text, lists of texts as lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for name, frame in tables.items():
        present = [column for column in _json_columns(name) if column in frame]
        stored = frame.assign(**{column: _as_json_text(frame[column]) for column in present})
        pq.write_table(
            pa.Table.from_pandas(stored, preserve_index=False), folder / f"{name}.parquet", compression="zstd"
        )


def _spreads(world: World) -> dict[tuple[str, str | None], float]:
    """Standard deviations of treatments and NRx in the first chunk, by brand and over all of them."""
    columns = {name: getattr(world.promotion, name) for name in TREATMENTS} | {"nrx": world.scripts["nrx"]}
    found: dict[tuple[str, str | None], float] = {}
    for name, values in columns.items():
        found[name, None] = float(np.std(values))
        for code, brand in enumerate(BRANDS):
            found[name, brand] = float(np.std(values[world.hcps.brand == code]))
    return found


def _json_columns(table: str) -> list[str]:
    from src.contracts.model import Dtype
    from src.contracts.tables import get_table

    return [column.name for column in get_table(table).columns if column.dtype is Dtype.JSON]


def _as_json_text(column: pd.Series[Any]) -> pd.Series[Any]:
    from src.contracts.values import json_text

    return column.map(lambda value: json_text(value) if isinstance(value, dict | list) else None)
