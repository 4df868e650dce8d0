"""Which files of assignments were made here?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from src.storage.database import Database, json_value

_ADD = """
INSERT INTO experiment_assignments
    (assignment_id, sha256, dataset, unit_key, strata, units_per_arm, random_state, draws, acceptance, assigned_by,
     assigned_at)
VALUES
    (%(assignment_id)s, %(sha256)s, %(dataset)s, %(unit_key)s, %(strata)s, %(units_per_arm)s, %(random_state)s,
     %(draws)s, %(acceptance)s, %(assigned_by)s, %(assigned_at)s)
"""


@dataclass(frozen=True, slots=True)
class AssignmentRecord:
    """A row of ``experiment_assignments``: ``sha256`` is that of the file's bytes; nobody's arm is stored."""

    assignment_id: str
    sha256: str
    dataset: str
    unit_key: str
    strata: tuple[str, ...]
    units_per_arm: Mapping[str, int]
    random_state: int
    draws: int
    acceptance: float | None
    assigned_by: str
    assigned_at: datetime


class AssignmentRepository:
    """Writes and reads ``experiment_assignments``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: AssignmentRecord) -> None:
        """Record a file that was made."""
        arms = json_value(dict(record.units_per_arm))
        await self._database.execute(_ADD, asdict(record) | {"strata": list(record.strata), "units_per_arm": arms})

    async def of_file(self, sha256: str) -> AssignmentRecord | None:
        """The first record of a file with these bytes; None for a file that was not made here, or changed since."""
        row = await self._database.fetchrow(
            "SELECT assignment_id::text AS assignment_id, sha256, dataset, unit_key, strata, units_per_arm,"
            " random_state, draws, acceptance, assigned_by, assigned_at FROM experiment_assignments"
            " WHERE sha256 = %s ORDER BY assigned_at LIMIT 1",
            (sha256,),
        )
        return None if row is None else AssignmentRecord(**{**row, "strata": tuple(row["strata"])})
