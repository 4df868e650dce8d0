"""Which questions does a grid consist of?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.agents.runtime import Filter
from src.app.grid.grid_file import ALL, GridFile, value_text
from src.app.provenance import code_version, stable_sha256
from src.app.questions import EffectQuestion, check_columns
from src.app.registration.choices import choices_of, declared_with, graph_document
from src.causal_engine.declaration import declared_for, graph_for, spec_of
from src.causal_engine.estimators.registry import get_estimator
from src.causal_engine.wording import plain
from src.domain.guards import Guards
from src.domain.registration import Deviation, RegisteredPlan, departures, mark
from src.errors import ContractViolation, UnknownColumn
from src.storage.catalogue import Catalogue
from src.storage.gateway import Op
from src.storage.records import DatasetRecord

MOST_CELLS = 20_000
MOST_VALUES = 500
BY_THE_GRID = "set by the grid"
BRAND = "brand"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of a grid. ``part`` says of which rows: column and value, in the order of the grid.

    ``understood`` is what its run keeps: the grid, and how it stands to the plan it is held against.
    """

    number: int
    part: tuple[tuple[str, str], ...]
    treatment: str
    outcome: str
    question: EffectQuestion
    declared: Mapping[str, Any]
    understood: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> dict[str, str]:
        """What tells the cell from the others."""
        return {**dict(self.part), "treatment": self.treatment, "outcome": self.outcome}


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """A plan that the cells are held against, with what else is not as it was."""

    plan: RegisteredPlan
    notes: tuple[str, ...] = ()


async def values_of(
    asked: GridFile, catalogue: Catalogue, record: DatasetRecord, *, guards: Guards, role: str
) -> dict[str, tuple[str, ...]]:
    """The values of each column in ``by``, as texts; ``all`` are those of the rows that the grid is about, sorted.

    Raises GuardrailViolation for a column that ``role`` is not shown, UnknownColumn, ContractViolation for a column of
    too many values or none; no value is read then.
    """
    rows_of = tuple(Filter(column, Op.EQ, "") for column in asked.by)
    check_columns(EffectQuestion(filters=(*rows_of, *asked.filters)), guards, role)
    for column in asked.by:
        if column not in record.columns:
            raise UnknownColumn(column, list(record.columns), role="'by' column")
    return {
        column: await _all_values(asked, catalogue, record, column) if values == ALL else tuple(map(value_text, values))
        for column, values in asked.by.items()
    }


async def _all_values(asked: GridFile, catalogue: Catalogue, record: DatasetRecord, column: str) -> tuple[str, ...]:
    filters = [(one.column, one.op, one.value) for one in asked.filters]
    loaded = await catalogue.load(record, columns=[column], filters=filters)
    found = sorted(loaded.frame[column].dropna().unique().tolist())
    if not 0 < len(found) <= MOST_VALUES:
        raise ContractViolation(
            f"'{column}' has {len(found):,} values in these rows; a grid goes by 1 to {MOST_VALUES:,}: name some"
        )
    return tuple(value_text(value) for value in found)


def cells_of(
    asked: GridFile,
    record: DatasetRecord,
    values: Mapping[str, Sequence[str]],
    *,
    guards: Guards,
    role: str,
    held: HeldPlan | None = None,
) -> tuple[Cell, ...]:
    """The cells of a grid, those of one value of the first ``by`` column together.

    Raises GuardrailViolation, UnknownColumn, StudyInvalid or ContractViolation where the file asks for what no cell
    could answer: columns that are not there or not shown, an unknown estimator, too many cells.
    """
    number = math.prod(map(len, values.values())) * len(asked.treatments) * len(asked.outcomes)
    if number > MOST_CELLS:
        raise ContractViolation(f"the grid has {number:,} cells and may have {MOST_CELLS:,}; name fewer values")
    if asked.estimator is not None:
        get_estimator(asked.estimator)
    parts = itertools.product(*([(column, value) for value in several] for column, several in values.items()))
    combined = itertools.product(parts, asked.treatments, asked.outcomes)
    cells = [_cell(asked, record, index, *one, held) for index, one in enumerate(combined)]
    for cell in cells:
        check_columns(cell.question, guards, role)
        _check_known(cell, record)
    return tuple(cells)


def _cell(
    asked: GridFile,
    record: DatasetRecord,
    number: int,
    part: tuple[tuple[str, str], ...],
    treatment: str,
    outcome: str,
    held: HeldPlan | None,
) -> Cell:
    own = asked.question(treatment, outcome)
    brand = dict(part).get(BRAND)
    declared = declared_for(record.declared, treatment, outcome, brand) if asked.data is None else {}
    spec = spec_of(own, declared)
    claims = graph_for(spec, declared)
    graph = None if claims is None else graph_document(claims)
    rows = tuple(Filter(column, Op.EQ, value) for column, value in part)
    filters = (*rows[:1], *asked.filters, *rows[1:])
    where = ", ".join(f"{plain(column)} {value}" for column, value in part)
    text = f"effect of {treatment} on {outcome}" + (f" ({where})" if where else "")
    question = EffectQuestion(dataset=record.dataset_id, filters=filters, text=text, spec=spec)
    understood = {}
    if held is not None:
        source = {"dataset": asked.dataset, "data": None if own.data is None else str(own.data)}
        changed = departures(held.plan.question, choices_of(spec, filters, graph, **source))
        deviations = [Deviation(name, *said, BY_THE_GRID) for name, said in changed.items()]
        understood["plan"] = mark(held.plan, deviations, held.notes)
    return Cell(number, part, treatment, outcome, question, declared_with(spec, graph), understood)


def _check_known(cell: Cell, record: DatasetRecord) -> None:
    spec = cell.question.spec
    assert spec is not None
    for column in (*spec.columns, *(one.column for one in cell.question.filters)):
        if column not in record.columns:
            raise UnknownColumn(column, list(record.columns))


def grid_digest(cells: Sequence[Cell], record: DatasetRecord, level: float) -> str:
    """SHA-256 over all questions, the level, the data and the code: what has it in common has the same answers."""
    from src.causal_engine.serialise import to_json

    questions = [
        {
            "spec": to_json(cell.question.spec),
            "graph": cell.declared["graph"],
            "filters": [[one.column, str(one.op), one.value] for one in cell.question.filters],
            "plan": cell.understood.get("plan", {}).get("sha256"),
        }
        for cell in cells
    ]
    return stable_sha256({"cells": questions, "level": level, "data": record.content_sha256, "code": code_version()})
