"""What was asked, on which data, and what was answered? One row per analysis run."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from src.errors import RunNotFound
from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import RunRecord

TABLE = "analysis_runs"


class RunRepository:
    """Writes and reads ``analysis_runs``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def start(self, run: RunRecord) -> None:
        """Record a run that begins."""
        await self._gateway.insert(TABLE, [{name.name: getattr(run, name.name) for name in dataclasses.fields(run)}])

    async def finish(
        self,
        run_id: str,
        *,
        status: str,
        ended_at: datetime,
        verdict: str | None = None,
        analysis: dict[str, Any] | None = None,
        queries: list[dict[str, Any]] | None = None,
        error: tuple[str, str] | None = None,
    ) -> None:
        """Record how a run ended; ``error`` is (type, message)."""
        values: dict[str, Any] = {"status": status, "ended_at": ended_at, "verdict": verdict, "analysis": analysis}
        if queries is not None:
            values["queries"] = queries
        values["error_type"], values["error_message"] = error if error else (None, None)
        await self._gateway.update(TABLE, values, where=[Where("run_id", run_id)])

    async def get(self, run_id: str) -> RunRecord:
        """The run of that id, or of the only id that begins so; raises RunNotFound."""
        rows = await self._gateway.select(TABLE, where=[Where("run_id", run_id)]) if len(run_id) == 36 else []
        if not rows:
            recent = await self._gateway.select(TABLE, columns=["run_id"], order_by=[OrderBy("started_at", True)])
            matches = [row["run_id"] for row in recent if str(row["run_id"]).startswith(run_id) and run_id]
            if len(matches) != 1:
                problem = f"{len(matches)} runs begin with" if matches else "no run has the id"
                raise RunNotFound(f"{problem} '{run_id[:60]}'; 'e2i runs' lists them")
            rows = await self._gateway.select(TABLE, where=[Where("run_id", matches[0])])
        return _record(rows[0])

    async def recent(self, limit: int = 20) -> list[RunRecord]:
        """The latest runs, newest first."""
        return [
            _record(row)
            for row in await self._gateway.select(TABLE, order_by=[OrderBy("started_at", True)], limit=limit)
        ]

    async def completed(self, request_sha256: str, trace_id: str) -> RunRecord | None:
        """The finished run of one request in a trace; None where there is none."""
        where = [Where("request_sha256", request_sha256), Where("trace_id", trace_id), Where("status", "completed")]
        rows = await self._gateway.select(TABLE, where=where, order_by=[OrderBy("started_at", True)], limit=1)
        return _record(rows[0]) if rows else None

    async def unfinished(self, request_sha256: str | None = None) -> list[RunRecord]:
        """Runs that were interrupted, newest first; of one request, or all."""
        where = [Where("status", "running")]
        if request_sha256 is not None:
            where.append(Where("request_sha256", request_sha256))
        return [
            _record(row)
            for row in await self._gateway.select(TABLE, where=where, order_by=[OrderBy("started_at", True)])
        ]


def _record(row: Row) -> RunRecord:
    return RunRecord(**{field.name: row[field.name] for field in dataclasses.fields(RunRecord)})
