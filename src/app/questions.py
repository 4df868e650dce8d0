"""What exactly is asked? The caller's words, what the dataset declares, and the request they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.agents.causal_impact.state import DeclaredGraph, ImpactRequest
from src.agents.runtime import Filter
from src.causal_engine.declaration import Asked, is_declared, spec_of
from src.causal_engine.spec import CausalSpec
from src.domain.guards import Guards
from src.errors import GuardrailViolation
from src.storage.records import DatasetRecord


@dataclass(frozen=True)
class EffectQuestion(Asked):
    """A causal question as the caller put it, and the data to ask it of; None or empty means "not said".

    Exactly one of ``data`` (a CSV or Parquet file) and ``dataset`` (an id or name of the
    catalogue) is given. ``spec`` is the whole question in the engine's terms: nothing else said about
    columns, estimand and estimator counts beside it, neither here nor in what the dataset declares.
    """

    data: Path | None = None
    dataset: str | None = None
    graph: Path | None = None
    filters: tuple[Filter, ...] = ()
    text: str = ""
    spec: CausalSpec | None = None


def check_columns(question: EffectQuestion, guards: Guards, role: str) -> None:
    """Raises GuardrailViolation where the question names a column that ``role`` is not shown, or filters by one.

    Ids of single persons may be the unit of a panel or a cluster, nothing else. Raises ConfigError for an unknown role.
    """
    named = (
        *(question.treatment, question.outcome, *question.confounders, *question.effect_modifiers),
        *(*question.instruments, *question.mediators, *question.negative_controls, *question.post_treatment),
        *((question.running_variable,) if question.running_variable else ()),
        *(one.column for one in question.filters),
    )
    keys = (*(question.panel or ()), question.cluster, question.second_cluster)
    if (spec := question.spec) is not None:
        keys = (*keys, spec.unit_key, spec.time_key, spec.cluster_key, spec.second_cluster_key)
        named = (*named, *(one for one in (*spec.columns, *spec.bad_controls) if one not in keys))
    hidden = [one for one in named if one in guards.hidden_columns(role)]
    hidden += [one for one in keys if one in guards.withheld_columns(role)]
    if hidden:
        raise GuardrailViolation(f"'{hidden[0]}' may not be shown to your role; name another column")


def impact_request(
    question: EffectQuestion, dataset: DatasetRecord, declared: Mapping[str, Any], graph: DeclaredGraph | None
) -> ImpactRequest:
    """The request for the agent. What the caller said wins; a role not said comes from ``declared``.

    The declared graph judges also the confounders that the caller names; only a graph of the
    caller's own, or another question than the declared one, sets it aside.
    """
    spec = question.spec or spec_of(question, declared)
    if graph is None and is_declared(spec.treatment, spec.outcome, declared):
        graph = _declared_graph(declared)
    return ImpactRequest(
        query=question.text or f"effect of {spec.treatment} on {spec.outcome}",
        dataset_id=dataset.dataset_id,
        spec=spec,
        graph=graph,
        filters=question.filters,
    )


def _declared_graph(declared: Mapping[str, Any]) -> DeclaredGraph | None:
    graph = declared.get("graph")
    if not graph:
        return None
    return DeclaredGraph(
        edges=tuple((str(cause), str(effect)) for cause, effect in graph["edges"]),
        latent=tuple(graph.get("latent", ())),
        time_invariant=tuple(graph.get("time_invariant", ())),
    )
