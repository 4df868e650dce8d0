"""What does a dataset declare about a cause, and which causal question does that make of the caller's words?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from src.causal_engine.identification.graph import CausalGraph
from src.causal_engine.identification.readers import graph_from_declared
from src.causal_engine.spec import CausalSpec, Estimand
from src.errors import StudyInvalid

PANEL_KEYS = ("unit_key", "time_key")
KEYS = (*PANEL_KEYS, "cluster_key")


@dataclass(frozen=True)
class Asked:
    """A causal question as the caller put it; None or empty means "not said". ``panel`` is (unit key, time key)."""

    treatment: str | None = None
    outcome: str | None = None
    confounders: tuple[str, ...] = ()
    effect_modifiers: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    negative_controls: tuple[str, ...] = ()
    post_treatment: tuple[str, ...] = ()
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
    random_state: int | None = None
    running_variable: str | None = None
    cutoff: float | None = None
    second_cluster: str | None = None
    heterogeneity: bool = False
    mediation: bool = False
    cost_per_unit: float | None = None
    value_per_outcome: float | None = None


def declared_for(declared: Mapping[str, Any], treatment: str, outcome: str, brand: str | None) -> dict[str, Any]:
    """What ``declared`` says about this treatment and outcome, for the brand where brands differ.

    ``declared["questions"]`` holds an entry per treatment, or per ``treatment@brand``. What is told for one of
    ``declared["outcomes"]`` holds for the others of them: only the name changes. For any other outcome of a treatment
    with an entry nothing is declared: that units are measured repeatedly (``PANEL_KEYS``) then identifies nothing
    either, unless the caller says it does. Without an entry the rest of the declaration remains.
    """
    questions = declared.get("questions", {})
    base = {key: value for key, value in declared.items() if key not in ("questions", "outcomes")}
    entry = questions.get(f"{treatment}@{brand}") or questions.get(treatment)
    if entry is None:
        return base
    if not _covers(entry, outcome, declared.get("outcomes", ())):
        return {key: value for key, value in base.items() if key not in PANEL_KEYS}
    return {**base, **_for_outcome(entry, outcome)}


def spec_of(asked: Asked, declared: Mapping[str, Any]) -> CausalSpec:
    """The question as the engine's. What the caller said wins; a role not said comes from ``declared``.

    Of a declaration of another question only the keys hold. Raises StudyInvalid without treatment or outcome.
    """
    treatment = asked.treatment or declared.get("treatment")
    outcome = asked.outcome or declared.get("outcome")
    if not treatment or not outcome:
        missing = "treatment" if not treatment else "outcome"
        raise StudyInvalid(f"name the {missing} column (--{missing} COLUMN)")
    if not is_declared(treatment, outcome, declared):
        declared = {key: declared[key] for key in KEYS if key in declared}
    unit_key, time_key = asked.panel or (declared.get("unit_key"), declared.get("time_key"))
    spec = CausalSpec(
        treatment=str(treatment),
        outcome=str(outcome),
        confounders=asked.confounders or tuple(declared.get("confounders", ())),
        effect_modifiers=asked.effect_modifiers or tuple(declared.get("effect_modifiers", ())),
        instruments=asked.instruments or tuple(declared.get("instruments", ())),
        mediators=asked.mediators or tuple(declared.get("mediators", ())),
        negative_controls=asked.negative_controls or tuple(declared.get("negative_controls", ())),
        unit_key=unit_key,
        time_key=time_key,
        cluster_key=asked.cluster or declared.get("cluster_key"),
        lag=asked.lag if asked.lag is not None else int(declared.get("lag", 0)),
        estimand=asked.estimand or Estimand.ATE,
        randomized=asked.randomized or bool(declared.get("randomized", False)),
        treated_value=asked.treated,
        control_value=asked.control,
        trim=asked.trim,
        minimum_effect=asked.minimum_effect,
        estimator=asked.estimator,
        bad_controls=asked.post_treatment or tuple(declared.get("post_treatment", ())),
        running_variable=asked.running_variable or declared.get("running_variable"),
        cutoff=asked.cutoff if asked.cutoff is not None else declared.get("cutoff"),
        second_cluster_key=asked.second_cluster,
        heterogeneity=asked.heterogeneity,
        mediation=asked.mediation,
        cost_per_unit=asked.cost_per_unit,
        value_per_outcome=asked.value_per_outcome,
    )
    return spec if asked.random_state is None else replace(spec, random_state=asked.random_state)


def is_declared(treatment: str, outcome: str, declared: Mapping[str, Any]) -> bool:
    """Whether the declaration is about this treatment and outcome."""
    return (treatment, outcome) == (declared.get("treatment"), declared.get("outcome"))


def graph_for(spec: CausalSpec, declared: Mapping[str, Any]) -> CausalGraph | None:
    """The declared graph when it is about this question, else None. Raises GraphInvalid for a malformed one."""
    graph = declared.get("graph")
    return graph_from_declared(graph) if graph and is_declared(spec.treatment, spec.outcome, declared) else None


def _covers(entry: Mapping[str, Any], outcome: str, alike: Collection[str]) -> bool:
    """Whether an entry is told for this outcome, or for one that the declaration calls like it."""
    told = entry.get("outcome")
    return told == outcome or (told in alike and outcome in alike)


def _for_outcome(entry: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    """The entry told for another outcome: the two change places, in the graph and among what comes afterwards."""
    told = entry["outcome"]
    swapped = {told: outcome, outcome: told}
    edges = [[swapped.get(node, node) for node in edge] for edge in entry["graph"]["edges"]]
    afterwards = [swapped.get(name, name) for name in entry.get("post_treatment", ())]
    return {**entry, "outcome": outcome, "post_treatment": afterwards, "graph": {**entry["graph"], "edges": edges}}
