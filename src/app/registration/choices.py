"""Which choices does a question make, by the names that a plan file has for them, and what changes one?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from src.agents.runtime import Filter
from src.app.conditions import in_text
from src.app.questions import EffectQuestion
from src.causal_engine.identification.graph import CausalGraph
from src.causal_engine.serialise import to_json
from src.causal_engine.spec import CausalSpec
from src.errors import ContractViolation

Graph = dict[str, Any]

# Name of a choice in a plan file → field of the engine's question.
FIELDS = {
    "treatment": "treatment",
    "outcome": "outcome",
    "confounders": "confounders",
    "effect_modifiers": "effect_modifiers",
    "instruments": "instruments",
    "mediators": "mediators",
    "negative_controls": "negative_controls",
    "post_treatment": "bad_controls",
    "cluster": "cluster_key",
    "second_cluster": "second_cluster_key",
    "lag": "lag",
    "estimand": "estimand",
    "estimator": "estimator",
    "randomized": "randomized",
    "treated": "treated_value",
    "control": "control_value",
    "trim": "trim",
    "minimum_effect": "minimum_effect",
    "seed": "random_state",
    "running_variable": "running_variable",
    "cutoff": "cutoff",
    "heterogeneity": "heterogeneity",
    "mediation": "mediation",
    "cost_per_unit": "cost_per_unit",
    "value_per_outcome": "value_per_outcome",
}
# Choices that are no part of the engine's question.
BESIDE = ("where", "graph", "dataset", "data")
_ASKED_AS = {"seed": "random_state"}


def choices_of(
    spec: CausalSpec, filters: Sequence[Filter], graph: Graph | None, *, dataset: str | None, data: str | None
) -> dict[str, Any]:
    """Every choice as JSON, by its name in a plan file."""
    stored = to_json(spec)
    made = {name: stored[field] for name, field in FIELDS.items()}
    covered = {*FIELDS.values(), "unit_key", "time_key"}
    rest = {name: value for name, value in stored.items() if name not in covered}
    panel = [spec.unit_key, spec.time_key] if spec.unit_key or spec.time_key else None
    where = sorted(in_text(one) for one in filters)
    return {"dataset": dataset, "data": data, **made, **rest, "panel": panel, "where": where, "graph": graph}


def changed_spec(spec: CausalSpec, asked: EffectQuestion, said: Collection[str]) -> CausalSpec:
    """``spec`` with the choices ``said``, by their names in a plan file, as ``asked`` makes them.

    Raises ContractViolation for a choice that a plan does not have.
    """
    changes: dict[str, Any] = {}
    for name in said:
        if name == "panel":
            changes["unit_key"], changes["time_key"] = asked.panel or (None, None)
        elif name in FIELDS:
            changes[FIELDS[name]] = getattr(asked, _ASKED_AS.get(name, name))
            if name == "cluster":
                changes["second_cluster_key"] = asked.second_cluster
        elif name in CausalSpec.__dataclass_fields__ and hasattr(asked, name):
            changes[name] = getattr(asked, name)
        elif name not in BESIDE:
            raise ContractViolation(f"'{name}' cannot be changed beside a registered plan; leave it out")
    return replace(spec, **changes)


def graph_document(graph: CausalGraph) -> Graph:
    """A causal graph as a dataset declares one."""
    return {
        "edges": sorted([cause, effect] for cause, effect in graph.edges),
        "latent": sorted(graph.latent),
        "time_invariant": sorted(graph.time_invariant),
    }


def declared_with(spec: CausalSpec, graph: Graph | None) -> dict[str, Any]:
    """A declaration that says the graph of this question and nothing else."""
    return {"treatment": spec.treatment, "outcome": spec.outcome, "graph": graph}


def reasons_from(texts: Sequence[str]) -> dict[str, str]:
    """Choice → reason of ``NAME=REASON`` texts. Raises ContractViolation."""
    fields = (name for name in CausalSpec.__dataclass_fields__ if name not in FIELDS.values())
    known = (*FIELDS, "panel", *BESIDE, *(name for name in fields if name not in ("unit_key", "time_key")))
    found: dict[str, str] = {}
    for text in texts:
        name, _, reason = (part.strip() for part in text.partition("="))
        if name not in known or not reason:
            raise ContractViolation(
                f"cannot read the deviation '{text[:80]}'; write NAME=REASON, NAME being one of {', '.join(known)}"
            )
        found[name] = reason
    return found
