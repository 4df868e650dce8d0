"""A connector between a PostgreSQL database and a scripted Opik, either of which may be away."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from src.mlops.opik_connector import OpikConnector
from src.scripted_servers.opik import ScriptedOpik
from tests.unit.test_mlops.recorded import settings

NOWHERE = "postgresql://e2i@127.0.0.1:1/e2i"


@dataclass
class Observed:
    """A connector on PostgreSQL and Opik; the database's address can be changed under it."""

    url: str
    opik: ScriptedOpik
    spool: Path
    opened: list[OpikConnector] = field(default_factory=list)
    address: str = ""

    def connect(self, **changes: Any) -> OpikConnector:
        """A connector on both; ``changes`` are sections of the configuration."""
        chosen = {"enabled": True, "local_endpoint": self.opik.url} | changes.pop("opik", {})
        connector = OpikConnector(settings(opik=chosen, **changes), spool=self.spool)
        self.address = self.address or self.url
        connector.use_database(lambda: self.address)
        self.opened.append(connector)
        return connector

    def lose_the_database(self) -> None:
        """No connection is left and no new one can be opened."""
        self.address = NOWHERE
        ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'e2i-spans' AND datname = current_database()"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({ours}) AS ours")

    def rows(self, table: str = "ml_observability_spans") -> list[dict[str, Any]]:
        """The rows of a table."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(f"SELECT * FROM {table}").fetchall()

    def spans(self, trace: str | None = None) -> dict[str, dict[str, Any]]:
        """Rows by operation, of one trace or of all."""
        return {row["operation_type"]: row for row in self.rows() if trace in (None, row["trace_id"])}

    def mirrored(self, trace: str | None = None) -> dict[str, dict[str, Any]]:
        """Opik's spans by name, of one trace or of all."""
        return {one["name"]: one for one in self.opik.spans.values() if trace in (None, one["trace_id"])}

    def everything(self) -> tuple[Any, ...]:
        """Both stores, without the time at which Opik first saw a row."""
        theirs = [{**one, "created_at": None} for rows in (self.opik.traces, self.opik.spans) for one in rows.values()]
        return self.rows(), self.rows("ml_observability_metrics"), sorted(theirs, key=lambda one: str(one["id"]))
