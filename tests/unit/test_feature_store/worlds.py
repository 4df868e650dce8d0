"""Small feature stores whose every row a test can name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.contracts.feature_views import FEATURE_VIEWS, get_feature_view
from src.feature_store.configuration import FeastConfig
from src.feature_store.repository import parquet_path
from src.feature_store.sources import source_schema

Row = dict[str, Any]


def at(day: str) -> datetime:
    """A day or time in UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def row(key: str, event: str, created: str | None = None, **features: Any) -> Row:
    """A row of a view's source; ``created`` is when it became known, the event itself when left out."""
    return {"key": key, "event_timestamp": at(event), "created_timestamp": at(created or event), **features}


# The first professional moved to decile 5 in February, which was learnt in March.
ROWS: dict[str, list[Row]] = {
    "hcp_profile": [
        row("hcp_000001", "2024-01-01", decile=3, practice_type="clinic", affiliations=["A", "B"]),
        row("hcp_000001", "2024-02-01", decile=4, practice_type="clinic"),
        row("hcp_000001", "2024-02-01", "2024-03-10", decile=5, practice_type="hospital", affiliations=[]),
        row("hcp_000002", "2024-01-15", decile=9),
    ],
    "hcp_engagement": [row("hcp_000001", "2024-01-01", digital_engagement_score=0.25, coverage_status=True)],
    "hcp_prescribing": [
        row("hcp_000001_Kisqali", "2024-01-05", dosage="600 mg", cost=120.5),
        row("hcp_000001_Fabhalta", "2024-01-06", dosage="200 mg", cost=80.0),
    ],
    "market_dynamics": [row("Kisqali", "2024-01-01", value=1000.0), row("Kisqali", "2024-02-01", value=1100.0)],
}


def write_rows(folder: Path, view: str, rows: list[Row]) -> Path:
    """Make ``rows`` the source of a view; features that a row does not name are empty."""
    declared = get_feature_view(view)
    schema = source_schema(declared)
    key = declared.join_key.join_key
    full = [dict.fromkeys(schema.names) | item | {key: item["key"]} for item in rows]
    folder.mkdir(parents=True, exist_ok=True)
    path = parquet_path(folder, view)
    pq.write_table(pa.Table.from_pylist([{n: r[n] for n in schema.names} for r in full], schema), path)
    return path


def write_world(folder: Path, rows: dict[str, list[Row]] | None = None) -> FeastConfig:
    """Sources of every view below ``folder``, and a configuration of the embedded stores there."""
    for view in FEATURE_VIEWS:
        write_rows(folder, view.name, (ROWS if rows is None else rows).get(view.name, []))
    return configuration(folder)


def configuration(folder: Path, **changes: Any) -> FeastConfig:
    """The embedded stores in ``folder``, with whole sections replaced by ``changes``."""
    return FeastConfig.model_validate({"offline_store": {"path": str(folder)}, **changes})


def write_repository(folder: Path, views: dict[str, dict[str, Any]]) -> Path:
    """A feature repository of these views alone, each declared as usual but for the changes given."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "from dataclasses import replace\n"
        "from feature_repo.entities import make_entity\n"
        "from feature_repo.views import make_view\n"
        "from src.contracts.feature_views import get_feature_view\n"
        f"VIEWS = {views!r}\n"
        "def define(make_source):\n"
        "    views = [replace(get_feature_view(name), **changes) for name, changes in VIEWS.items()]\n"
        "    entities = {view.entity: make_entity(view.join_key) for view in views}\n"
        "    made = [make_view(view, entities[view.entity], make_source(view)) for view in views]\n"
        "    return [*entities.values(), *made]\n"
    )
    return folder


def materialize(client: Any, *views: str, end: str = "2024-12-31") -> None:
    """Let Feast carry everything up to ``end`` into the online store."""
    store = client.store()
    for name in views or ROWS:
        view = store.get_feature_view(name)
        window = {"start_date": at("2020-01-01"), "end_date": at(end)}
        store._get_provider().materialize_single_feature_view(
            config=store.config,
            feature_view=view,
            registry=store.registry,
            project=store.project,
            tqdm_builder=None,
            **window,
        )
        store.registry.apply_materialization(view, store.project, *window.values())
