"""What exactly is asked? The caller's words, what the dataset declares, and the request they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src.agents.causal_impact.state import DeclaredGraph, ImpactRequest
from src.agents.runtime import Filter
from src.causal_engine.spec import CausalSpec, Estimand
from src.errors import StudyInvalid
from src.storage.records import DatasetRecord


@dataclass(frozen=True, slots=True)
class EffectQuestion:
    """A causal question as the caller put it; None or empty means "not said".

    Exactly one of ``data`` (a CSV or Parquet file) and ``dataset`` (an id or name of the
    catalogue) is given.
    """

    data: Path | None = None
    dataset: str | None = None
    treatment: str | None = None
    outcome: str | None = None
    confounders: tuple[str, ...] = ()
    effect_modifiers: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    negative_controls: tuple[str, ...] = ()
    post_treatment: tuple[str, ...] = ()
    graph: Path | None = None
    panel: tuple[str, str] | None = None
    cluster: str | None = None
    lag: int | None = None
    estimand: Estimand | None = None
    estimator: str | None = None
    randomized: bool = False
    treated: str | None = None
    control: str | None = None
    trim: bool = False
    minimum_effect: float | None = None
    filters: tuple[Filter, ...] = ()
    random_state: int | None = None
    text: str = ""


def impact_request(
    question: EffectQuestion, dataset: DatasetRecord, declared: Mapping[str, Any], graph: DeclaredGraph | None
) -> ImpactRequest:
    """The request for the agent. What the caller said wins; a role not said comes from ``declared``.

    The declared graph judges also the confounders that the caller names; only a graph of the
    caller's own, or another question than the declared one, sets it aside.
    """
    spec = _spec(question, declared)
    if graph is None and _is_declared(spec.treatment, spec.outcome, declared):
        graph = _declared_graph(declared)
    return ImpactRequest(
        query=question.text or f"effect of {spec.treatment} on {spec.outcome}",
        dataset_id=dataset.dataset_id,
        spec=spec,
        graph=graph,
        filters=question.filters,
    )


def _spec(question: EffectQuestion, declared: Mapping[str, Any]) -> CausalSpec:
    treatment = question.treatment or declared.get("treatment")
    outcome = question.outcome or declared.get("outcome")
    if not treatment or not outcome:
        missing = "treatment" if not treatment else "outcome"
        raise StudyInvalid(f"name the {missing} column (--{missing} COLUMN)")
    if not _is_declared(treatment, outcome, declared):
        declared = {key: declared[key] for key in ("unit_key", "time_key", "cluster_key") if key in declared}
    unit_key, time_key = question.panel or (declared.get("unit_key"), declared.get("time_key"))
    spec = CausalSpec(
        treatment=str(treatment),
        outcome=str(outcome),
        confounders=question.confounders or tuple(declared.get("confounders", ())),
        effect_modifiers=question.effect_modifiers or tuple(declared.get("effect_modifiers", ())),
        instruments=question.instruments or tuple(declared.get("instruments", ())),
        mediators=question.mediators or tuple(declared.get("mediators", ())),
        negative_controls=question.negative_controls or tuple(declared.get("negative_controls", ())),
        unit_key=unit_key,
        time_key=time_key,
        cluster_key=question.cluster or declared.get("cluster_key"),
        lag=question.lag if question.lag is not None else int(declared.get("lag", 0)),
        estimand=question.estimand or Estimand.ATE,
        randomized=question.randomized or bool(declared.get("randomized", False)),
        treated_value=question.treated,
        control_value=question.control,
        trim=question.trim,
        minimum_effect=question.minimum_effect,
        estimator=question.estimator,
        bad_controls=question.post_treatment or tuple(declared.get("post_treatment", ())),
    )
    return spec if question.random_state is None else replace(spec, random_state=question.random_state)


def _is_declared(treatment: str, outcome: str, declared: Mapping[str, Any]) -> bool:
    return (treatment, outcome) == (declared.get("treatment"), declared.get("outcome"))


def _declared_graph(declared: Mapping[str, Any]) -> DeclaredGraph | None:
    graph = declared.get("graph")
    if not graph:
        return None
    return DeclaredGraph(
        edges=tuple((str(cause), str(effect)) for cause, effect in graph["edges"]),
        latent=tuple(graph.get("latent", ())),
        time_invariant=tuple(graph.get("time_invariant", ())),
    )
