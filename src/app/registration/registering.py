"""How is a plan locked without a single row being read?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from src.app.provenance import code_version
from src.app.questions import EffectQuestion, check_columns
from src.app.registration.choices import Graph, choices_of, graph_document
from src.app.registration.plan_file import PlanFile, read_plan_file
from src.causal_engine.declaration import graph_for, spec_of
from src.causal_engine.estimators.registry import get_estimator
from src.causal_engine.identification import graph_from_declared, identify, load_graph
from src.causal_engine.results import Identification
from src.causal_engine.serialise import to_json
from src.causal_engine.spec import CausalSpec
from src.contracts.tables import TABLES
from src.domain.guards import Guards
from src.domain.registration import RegisteredPlan
from src.errors import ContractViolation, DatasetNotFound, nearest_names
from src.mlops.tracing.ids import uuid7
from src.storage.catalogue import TABLE_PREFIX, Catalogue
from src.storage.database import Database
from src.storage.registrations import PlanRepository


@dataclass(frozen=True, slots=True)
class KnownData:
    """What the catalogue says about the data of a plan. ``columns`` is empty for a dataset it does not have yet."""

    key: str
    columns: tuple[str, ...] = ()
    content_sha256: str | None = None
    declared: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A plan that was locked, and what to know about it."""

    plan: RegisteredPlan
    notes: tuple[str, ...]


async def register_plan(
    database: Database, file: Path, *, by: str, at: datetime, guards: Guards, role: str = "analyst"
) -> Registered:
    """Lock the plan in ``file`` and keep it with time, author and hash. The catalogue is asked, the data are not read.

    An outcome that was analysed on these data before is registered all the same, and the plan says for ever that it
    came after. Raises ConfigError, ContractViolation, GraphInvalid, StudyInvalid, UnknownColumn or
    GuardrailViolation for a plan that could not be carried out; nothing is written then.
    """
    said = read_plan_file(file)
    asked = said.question(said.treatment, said.outcome)
    check_columns(asked, guards, role)
    known = await _known(database, asked)
    spec = spec_of(asked, known.declared or {})
    check_columns(replace(asked, spec=spec), guards, role)
    graph = _graph(said, file, spec, known)
    identification = _checked(said, spec, graph, known)
    plans = PlanRepository(database)
    plan = RegisteredPlan(
        plan_id=str(uuid7()),
        title=said.title or f"effect of {spec.treatment} on {spec.outcome}",
        question=choices_of(
            spec, asked.filters, graph, dataset=asked.dataset, data=None if asked.data is None else str(asked.data)
        ),
        spec=to_json(spec),
        graph=graph,
        design=said.design,
        data_sha256=known.content_sha256,
        code_version=code_version(),
        seen_runs=await plans.seen(known.key, spec.outcome),
        registered_by=by,
        registered_at=at,
    )
    await plans.add(plan)
    return Registered(plan, tuple(_notes(spec, known, identification)))


async def _known(database: Database, asked: EffectQuestion) -> KnownData:
    key = asked.dataset or str(asked.data)
    if key.startswith(TABLE_PREFIX):
        # Asked for its record, a table would be read from end to end for its hash.
        name = key.removeprefix(TABLE_PREFIX)
        if name not in TABLES:
            raise DatasetNotFound(f"there is no table '{name}'; {nearest_names(name, TABLES)}")
        return KnownData(key, TABLES[name].column_names)
    try:
        record = await Catalogue(database).get(key)
    except DatasetNotFound:
        return KnownData(key)
    declared = record.declared if asked.data is None else {}
    return KnownData(record.dataset_id, tuple(record.columns), record.content_sha256, declared)


def _graph(said: PlanFile, file: Path, spec: CausalSpec, known: KnownData) -> Graph | None:
    if said.graph is not None:
        return graph_document(load_graph(file.parent / said.graph))
    declared = graph_for(spec, known.declared or {})
    return None if declared is None else graph_document(declared)


def _checked(said: PlanFile, spec: CausalSpec, graph: Graph | None, known: KnownData) -> Identification | None:
    """What can be refused by names alone; None where the columns are not known."""
    if spec.estimator is not None:
        get_estimator(spec.estimator)
    claims = None if graph is None else graph_from_declared(graph)
    if claims is not None:
        claims.check_question(spec.treatment, spec.outcome)
    if not known.columns:
        return None
    found = identify(spec, list(known.columns), claims)
    if said.design is not None and found.design is not said.design:
        raise ContractViolation(
            f"the plan expects the design '{said.design}', what it declares makes it '{found.design}'; "
            "change the design or the columns it rests on"
        )
    return found


def _notes(spec: CausalSpec, known: KnownData, found: Identification | None) -> list[str]:
    notes = []
    if found is None:
        notes.append("The data are not known here yet: columns are checked when the plan is carried out.")
    elif not found.identified:
        notes.append("As declared, no effect is identified: " + "; ".join(found.reasons))
    if spec.estimator is None:
        notes.append("No estimator is named: it will be the default of the design.")
    if spec.minimum_effect is None:
        notes.append("No minimum effect is named: it will be 0.2 standard deviations of the outcome.")
    return notes
