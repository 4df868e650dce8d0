"""Which effects were asked for together, and how did each of them end?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import RunNotFound
from src.storage.database import Database, Row, json_value

FEWEST_CHARACTERS = 4
_SELECTED = (
    "SELECT grid_id::text AS grid_id, digest, document, dataset_id, n_cells, status, started_at, ended_at"
    " FROM effect_grids"
)
_BEGIN = """
INSERT INTO effect_grids (grid_id, digest, document, dataset_id, n_cells, status, started_at)
VALUES (%(grid_id)s, %(digest)s, %(document)s, %(dataset_id)s, %(n_cells)s, 'running', %(started_at)s)
"""
_CELL = """
INSERT INTO effect_grid_cells (grid_id, cell, status, run_id, reason_type, reason)
VALUES (%(grid_id)s, %(cell)s, %(status)s, %(run_id)s, %(reason_type)s, %(reason)s)
ON CONFLICT (grid_id, cell) DO UPDATE SET
    status = excluded.status, run_id = excluded.run_id, reason_type = excluded.reason_type, reason = excluded.reason
"""


@dataclass(frozen=True, slots=True)
class GridRecord:
    """A row of ``effect_grids``; ``document`` says what was asked, and ``digest`` is over that, the data and the code.

    ``status`` is running, partial (some cells failed) or completed.
    """

    grid_id: str
    digest: str
    document: Mapping[str, Any]
    dataset_id: str
    n_cells: int
    status: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CellRecord:
    """How one cell ended: answered by a run, refused for a reason, or failed unexpectedly."""

    cell: int
    status: str
    run_id: str | None = None
    reason_type: str | None = None
    reason: str | None = None


class GridRepository:
    """Writes and reads ``effect_grids`` and ``effect_grid_cells``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, grid: GridRecord) -> None:
        """Record a grid that begins."""
        values = {name: getattr(grid, name) for name in ("grid_id", "digest", "dataset_id", "n_cells", "started_at")}
        await self._database.execute(_BEGIN, values | {"document": json_value(dict(grid.document))})

    async def of_digest(self, digest: str) -> GridRecord | None:
        """The newest grid of that digest, complete or not; None where there is none."""
        query = f"{_SELECTED} WHERE digest = %s ORDER BY started_at DESC LIMIT 1"
        row = await self._database.fetchrow(query, (digest,))
        return None if row is None else GridRecord(**row)

    async def add_cell(self, grid_id: str, cell: CellRecord) -> None:
        """Record how a cell ended; a failed one may end otherwise later."""
        values = {name: getattr(cell, name) for name in CellRecord.__slots__}
        await self._database.execute(_CELL, values | {"grid_id": grid_id})

    async def cells(self, grid_id: str) -> dict[int, CellRecord]:
        """Cells that have ended, by their number."""
        rows = await self._database.fetch(
            "SELECT cell, status, run_id::text AS run_id, reason_type, reason FROM effect_grid_cells"
            " WHERE grid_id = %s ORDER BY cell",
            (grid_id,),
        )
        return {row["cell"]: CellRecord(**row) for row in rows}

    async def analyses(self, grid_id: str) -> dict[int, Row]:
        """run_id, verdict, understood and analysis of the answered cells, by their number."""
        rows = await self._database.fetch(
            "SELECT c.cell, r.run_id::text AS run_id, r.verdict, r.understood, r.analysis FROM effect_grid_cells AS c"
            " JOIN analysis_runs AS r ON r.run_id = c.run_id WHERE c.grid_id = %s AND c.status = 'answered'",
            (grid_id,),
        )
        return {row["cell"]: row for row in rows}

    async def end(self, grid_id: str, status: str, at: datetime) -> None:
        """Record how a grid ended."""
        query = "UPDATE effect_grids SET status = %s, ended_at = %s WHERE grid_id = %s"
        await self._database.execute(query, (status, at, grid_id))

    async def get(self, key: str) -> GridRecord:
        """The grid of that id or of the only one that begins so. Raises RunNotFound."""
        rows, wanted = [], key.strip().lower()
        if len(wanted) >= FEWEST_CHARACTERS:
            rows = await self._database.fetch(f"{_SELECTED} WHERE starts_with(grid_id::text, %s) LIMIT 2", (wanted,))
        if len(rows) != 1:
            problem = "several grids begin with" if rows else "there is no grid"
            raise RunNotFound(f"{problem} '{key[:60]}'; 'e2i grids list' lists them")
        return GridRecord(**rows[0])

    async def recent(self, limit: int) -> Sequence[GridRecord]:
        """Grids, newest first."""
        rows = await self._database.fetch(f"{_SELECTED} ORDER BY started_at DESC, grid_id LIMIT %s", (limit,))
        return [GridRecord(**row) for row in rows]
