"""How is a registered plan carried out, exactly or with deviations that are named?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.agents.runtime import Filter
from src.app.conditions import condition
from src.app.effects import Answer, answer_effect
from src.app.provenance import code_version
from src.app.questions import EffectQuestion, check_columns
from src.app.registration.choices import Graph, changed_spec, choices_of, declared_with, graph_document
from src.app.session import Session
from src.causal_engine.identification import load_graph
from src.causal_engine.serialise import from_json
from src.causal_engine.spec import CausalSpec
from src.domain.guards import Guards
from src.domain.registration import RegisteredPlan, departures, mark, named_deviations
from src.errors import DatasetNotFound
from src.storage.database import Database
from src.storage.registrations import PlanRepository


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done otherwise: ``asked`` makes the choices ``said`` (names of a plan file), for ``reasons``."""

    asked: EffectQuestion = field(default_factory=EffectQuestion)
    said: Collection[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question that stands under a plan: what to ask, what is declared with it, and what its run keeps of the plan.

    ``marked`` has deviations and notes; see ``domain.registration.statement``.
    """

    question: EffectQuestion
    declared: Mapping[str, Any]
    marked: Mapping[str, Any]


async def answer_plan(
    session: Session, plan_id: str, change: Change, *, guards: Guards, role: str = "analyst"
) -> Answer:
    """Carry out the plan of that id or hash; the run keeps what became of the plan.

    Raises RunNotFound, PlanChanged for a plan that is not as registered, ContractViolation for a deviation that is
    not named; and what ``answer_effect`` raises.
    """
    plan = await PlanRepository(session.database).get(plan_id)
    prepared = prepare(plan, change, await data_notes(session, plan, change))
    check_columns(prepared.question, guards, role)
    return await answer_effect(
        session, prepared.question, declared=prepared.declared, understood={"plan": dict(prepared.marked)}
    )


def prepare(plan: RegisteredPlan, change: Change, notes: Collection[str] = ()) -> Prepared:
    """The plan with its changes as a question. Raises ContractViolation for a change that is not named."""
    spec = changed_spec(from_json(CausalSpec, dict(plan.spec)), change.asked, change.said)
    graph = _graph(plan, change)
    filters = _filters(plan, change)
    dataset, data = _source(plan, change)
    asked = choices_of(spec, filters, graph, dataset=dataset, data=data)
    deviations = named_deviations(departures(plan.question, asked), change.reasons, plan_id=plan.plan_id)
    question = EffectQuestion(
        dataset=dataset, data=None if data is None else Path(data), filters=filters, text=plan.title, spec=spec
    )
    return Prepared(question, declared_with(spec, graph), mark(plan, deviations, tuple(notes)))


def renamed(prepared: Prepared, text: str) -> Prepared:
    """The same under another title."""
    return replace(prepared, question=replace(prepared.question, text=text))


def _graph(plan: RegisteredPlan, change: Change) -> Graph | None:
    if "graph" in change.said and change.asked.graph is not None:
        return graph_document(load_graph(change.asked.graph))
    return dict(plan.graph) if plan.graph is not None else None


def _filters(plan: RegisteredPlan, change: Change) -> tuple[Filter, ...]:
    if "where" in change.said:
        return change.asked.filters
    return tuple(condition(text) for text in plan.question["where"])


def _source(plan: RegisteredPlan, change: Change) -> tuple[str | None, str | None]:
    if {"dataset", "data"} & set(change.said):
        data = change.asked.data
        return change.asked.dataset, None if data is None else str(data.expanduser().resolve())
    return plan.question["dataset"], plan.question["data"]


async def data_notes(session: Session, plan: RegisteredPlan, change: Change | None = None) -> tuple[str, ...]:
    """What else is not as it was: data, code, and analyses that came between registration and now."""
    notes = []
    dataset, data = _source(plan, change or Change())
    if (now := await _content(session, dataset or data or "")) is not None and plan.data_sha256 not in (None, now):
        notes.append(
            f"The data are not those that were there at registration (hash {str(plan.data_sha256)[:12]} then, "
            f"{now[:12]} now)."
        )
    if plan.code_version != code_version():
        notes.append(f"Registered with other code ({plan.code_version}).")
    if (between := await _between(session.database, plan)) > 0:
        analyses = "1 analysis" if between == 1 else f"{between:,} analyses"
        notes.append(
            f"Between registration and this run, {analyses} of this outcome on these data were made outside the plan."
        )
    return tuple(notes)


async def _content(session: Session, key: str) -> str | None:
    try:
        return (await session.catalogue.get(key)).content_sha256
    except DatasetNotFound:
        return None


async def _between(database: Database, plan: RegisteredPlan) -> int:
    plans = PlanRepository(database)
    own = {run["run_id"] for run in await plans.runs(plan.plan_id)}
    seen = await plans.seen(plan.dataset, str(plan.spec["outcome"]))
    return len(set(seen) - set(plan.seen_runs) - own)
