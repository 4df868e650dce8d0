"""How do assignments become a file whose bytes are known again?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from src.app.report.pages import write_whole
from src.causal_engine.experiment.assignment import Assignment, Rerandomisation, assign
from src.domain.guards import Guards
from src.domain.small_cells import SUPPRESSED, is_small
from src.errors import ContractViolation, GuardrailViolation
from src.mlops.tracing.ids import uuid7
from src.storage.assignments import AssignmentRecord, AssignmentRepository
from src.storage.database import Database
from src.storage.datasets import file_sha256


@dataclass(frozen=True, slots=True)
class AssignmentOrder:
    """Which units get what, and the file to write. ``shares`` are those of the treated arms."""

    out: Path
    unit: str
    shares: tuple[float, ...] = (0.5,)
    strata: tuple[str, ...] = ()
    balance: tuple[str, ...] = ()
    acceptance: float | None = None
    random_state: int = 20_260_101


@dataclass(frozen=True, slots=True)
class Assigned:
    """What was written, and how alike the arms are."""

    path: Path
    record: AssignmentRecord
    assignment: Assignment


def check_shown(columns: Sequence[str], keys: Sequence[str], guards: Guards, role: str) -> None:
    """Raises GuardrailViolation for columns that ``role`` is not shown; ids may be keys (unit, cluster) only."""
    hidden = [one for one in columns if one in guards.hidden_columns(role)]
    hidden += [one for one in keys if one in guards.withheld_columns(role)]
    if hidden:
        raise GuardrailViolation(f"'{hidden[0]}' may not be shown to your role; name another column")


async def write_assignment(
    database: Database, frame: pd.DataFrame, order: AssignmentOrder, *, dataset: str, by: str, at: datetime
) -> Assigned:
    """Draw, write the CSV (unit, arm, stratum) whole, and keep its hash.

    Raises what ``assign`` raises, and ContractViolation where another file stands in that place or none can.
    """
    again = None if order.acceptance is None else Rerandomisation(order.balance, order.acceptance)
    drawn = assign(
        frame,
        order.unit,
        strata=order.strata,
        shares=order.shares,
        balance=order.balance,
        again=again,
        random_state=order.random_state,
    )
    text = drawn.frame(order.unit).to_csv(index=False, lineterminator="\n")
    path = _written(text, order.out)
    record = AssignmentRecord(
        assignment_id=str(uuid7()),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        dataset=dataset,
        unit_key=order.unit,
        strata=order.strata,
        units_per_arm=drawn.units_per_arm,
        random_state=order.random_state,
        draws=drawn.draws,
        acceptance=order.acceptance,
        assigned_by=by,
        assigned_at=at,
    )
    await AssignmentRepository(database).add(record)
    return Assigned(path, record, drawn)


def _written(text: str, path: Path) -> Path:
    """An assignment that units may have been told of already is never written over."""
    try:
        if path.exists() and path.read_bytes() != text.encode():
            raise ContractViolation(f"'{path}' is there already and says something else; name another file")
        return write_whole(text, path)
    except OSError as error:
        raise ContractViolation(f"cannot write '{path}': {error.strerror}") from error


async def recorded_file(database: Database, file: Path) -> AssignmentRecord | None:
    """The record of a file of assignments; None where no file with these bytes was made here."""
    return await AssignmentRepository(database).of_file(file_sha256(file))


def assigned_document(assigned: Assigned) -> dict[str, Any]:
    """JSON form: sizes of arms and strata (small ones hidden) and balance, nobody's arm."""
    drawn, record = assigned.assignment, assigned.record
    sizes = pd.Series(drawn.strata).value_counts(sort=False).sort_index()
    shown = {str(name): (SUPPRESSED if is_small(int(n)) else int(n)) for name, n in sizes.items()}
    return {
        "path": str(assigned.path),
        "assignment_id": record.assignment_id,
        "sha256": record.sha256,
        "random_state": record.random_state,
        "units_per_arm": dict(record.units_per_arm),
        "strata": shown,
        "draws": record.draws,
        "acceptance": record.acceptance,
        "distance": drawn.distance,
        "balance": [{"arm": arm, "covariate": row.covariate, "smd": row.smd_raw} for arm, row in drawn.balance],
    }
