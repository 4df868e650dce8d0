"""Is the effect identified, by which strategy, and what must be adjusted for?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from src.causal_engine.identification import wording
from src.causal_engine.identification.declared import identify_declared
from src.causal_engine.identification.graph import CausalGraph
from src.causal_engine.results import ExcludedNode, Identification
from src.causal_engine.spec import CausalSpec, Design
from src.errors import GraphInvalid, UnknownColumn

if TYPE_CHECKING:
    from src.causal_engine.identification.separation import GraphQuestion


def identify(spec: CausalSpec, columns: Sequence[str], graph: CausalGraph | None) -> Identification:
    """Decide whether the effect of ``spec.treatment`` on ``spec.outcome`` is identified, and how.

    With a graph: a cutoff the analyst named, an instrument the analyst named, back-door adjustment (the
    analyst's own set when it is valid, else a minimal one), the front door, any instrument, in that
    order. Without one: the declared design (see ``declared``). Only ``columns`` count as measured. A
    refusal is a result (``identified=False`` with reasons), not an error.

    Raises UnknownColumn for a named column that is not in ``columns``; GraphInvalid when the graph
    contradicts the question.
    """
    _check_columns(spec, columns)
    if graph is None:
        return identify_declared(spec)
    graph.check_question(spec.treatment, spec.outcome)
    if spec.randomized and graph.parents(spec.treatment):
        raise GraphInvalid(
            f"'{spec.treatment}' is said to be randomised, but the graph gives it causes "
            f"({wording.listed(graph.parents(spec.treatment))}); drop one of the two claims"
        )
    return _from_graph(spec, graph, columns)


def _check_columns(spec: CausalSpec, columns: Sequence[str]) -> None:
    for name in spec.columns:
        if name not in columns:
            raise UnknownColumn(name, list(columns))


@dataclass(frozen=True)
class _Answer:
    """The part of the identification that the strategy decides."""

    strategy: str
    design: Design
    assumptions: tuple[str, ...]
    adjustment: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    instruments: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def _from_graph(spec: CausalSpec, graph: CausalGraph, columns: Sequence[str]) -> Identification:
    # networkx is imported with these modules, so only once there is a graph.
    from src.causal_engine.identification import bad_controls
    from src.causal_engine.identification.separation import GraphQuestion

    question = GraphQuestion(
        graph, spec.treatment, spec.outcome, _observed(spec, graph, columns), _held_fixed(spec, graph)
    )
    question = replace(question, held=question.held - question.after_treatment - question.after_outcome)
    answer, complaints = _strategy(spec, question)
    excluded = list(bad_controls.changed_by_treatment(question))
    if answer.strategy in ("back_door", "fixed_effects", "randomization"):
        excluded += bad_controls.path_openers(question, answer.adjustment)
        excluded += bad_controls.treatment_movers(question, answer.adjustment)
    excluded += _declared_exclusions(spec, graph, {node.name for node in excluded})
    return Identification(
        identified=answer.strategy != "none",
        strategy=answer.strategy,
        design=answer.design,
        adjustment_set=answer.adjustment,
        alternatives=answer.alternatives,
        instruments=answer.instruments,
        mediators=answer.mediators,
        excluded=tuple(excluded),
        assumptions=(*answer.assumptions, wording.GRAPH_IS_RIGHT) if answer.assumptions else (),
        reasons=(*_removed(spec, question.held, excluded), *complaints, *answer.reasons),
        nodes=graph.nodes,
        edges=graph.edges,
        latent=graph.latent,
        version_hash=graph.version_hash,
    )


def _observed(spec: CausalSpec, graph: CausalGraph, columns: Sequence[str]) -> frozenset[str]:
    barred = {*graph.latent, *spec.negative_controls, *spec.bad_controls, spec.treatment, spec.outcome}
    keys = {key for key in (spec.unit_key, spec.time_key, spec.cluster_key, spec.second_cluster_key) if key}
    return frozenset(set(graph.nodes) & set(columns) - barred - keys)


def _held_fixed(spec: CausalSpec, graph: CausalGraph) -> frozenset[str]:
    if not spec.is_panel:
        return frozenset()
    keys = {str(spec.unit_key), str(spec.time_key)} & set(graph.nodes)
    return frozenset({*graph.time_invariant, *keys} - {spec.treatment, spec.outcome})


def _declared_exclusions(spec: CausalSpec, graph: CausalGraph, named: Collection[str]) -> list[ExcludedNode]:
    found = [
        ExcludedNode(name, "post-treatment", f"'{name}' was named as a bad control")
        for name in spec.bad_controls
        if name not in named
    ]
    found += [
        ExcludedNode(name, "not in the graph", f"'{name}' is not in the graph, which therefore says nothing about it")
        for name in spec.confounders
        if name not in graph.nodes and name not in spec.bad_controls
    ]
    return found


def _removed(spec: CausalSpec, held: Collection[str], excluded: Sequence[ExcludedNode]) -> list[str]:
    """Say what happened to columns the analyst listed but that may not be adjusted for."""
    why = {node.name: node.reason for node in excluded}
    lines = [f"{why[name]}; it is not adjusted for" for name in spec.confounders if name in why]
    lines += [f"{why[name]}; it cannot be an effect modifier" for name in spec.effect_modifiers if name in why]
    lines += [
        f"'{name}' stays the same within each {spec.unit_key}, so the unit effects already hold it fixed"
        for name in spec.confounders
        if name in held
    ]
    return lines


def _strategy(spec: CausalSpec, question: GraphQuestion) -> tuple[_Answer, list[str]]:
    complaints: list[str] = []
    if spec.running_variable is not None and spec.cutoff is not None and not spec.randomized:
        if (cut := _by_discontinuity(spec, question)) is not None:
            return cut, complaints
        complaints.append(
            f"by the graph {spec.running_variable} can be changed by what it is to decide: no cutoff design"
        )
    if spec.instruments:
        named = _by_instrument(spec, question, spec.instruments)
        if named is not None:
            return named, complaints
        complaints.append(
            f"by the graph {wording.listed(spec.instruments)} is no valid instrument for the effect of "
            f"{spec.treatment} on {spec.outcome}"
        )
    answer = _by_back_door(spec, question) or _by_front_door(spec, question)
    answer = answer or _by_instrument(spec, question, sorted(question.usable))
    return answer or _not_identified(spec, question), complaints


def _by_discontinuity(spec: CausalSpec, question: GraphQuestion) -> _Answer | None:
    """A cutoff identifies the effect at it, whatever else is hidden, unless treatment or outcome moves what is cut."""
    running = str(spec.running_variable)
    if running in question.after_treatment | question.after_outcome:
        return None
    words = wording.discontinuity(spec.treatment, spec.outcome, running, float(spec.cutoff or 0.0))
    own = tuple(name for name in dict.fromkeys(spec.confounders) if name in question.usable and name != running)
    return _Answer("discontinuity", Design.DISCONTINUITY, words, own)


def _by_back_door(spec: CausalSpec, question: GraphQuestion) -> _Answer | None:
    from src.causal_engine.identification.adjustment import minimal_sets

    sets = minimal_sets(question)
    if not sets:
        return None
    chosen, reasons = _choose(spec, question, sets[0])
    if spec.randomized:
        strategy, design = "randomization", Design.RANDOMIZED
        words = wording.randomization(spec.treatment, spec.outcome)
    elif spec.is_panel:
        absorbed = not minimal_sets(replace(question, held=frozenset()))
        strategy, design = "fixed_effects" if absorbed else "back_door", Design.PANEL
        words = wording.unit_effects(spec.treatment, spec.outcome, str(spec.unit_key), chosen)
    else:
        strategy, design = "back_door", Design.OBSERVATIONAL
        words = wording.no_hidden_confounding(spec.treatment, spec.outcome, chosen)
    if spec.outcome not in question.after_treatment:
        reasons.append(f"the graph has no path from {spec.treatment} to {spec.outcome}: it claims there is no effect")
    alternatives = tuple(names for names in sets if set(names) != set(chosen))
    return _Answer(strategy, design, words, chosen, alternatives, reasons=tuple(reasons))


def _choose(spec: CausalSpec, question: GraphQuestion, minimal: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Take the analyst's confounders when what is left of them is valid, else the minimal set."""
    from src.causal_engine.identification.bad_controls import treatment_movers

    movers = {node.name for node in treatment_movers(question, minimal)}
    own = tuple(name for name in dict.fromkeys(spec.confounders) if name in question.usable - movers)
    if not own:
        return minimal, []
    if question.blocks_back_doors(own):
        return own, []
    for name in own:
        rest = tuple(other for other in own if other != name)
        if rest and question.blocks_back_doors(rest):
            return rest, []
    return minimal, [
        f"{wording.listed(own)} leaves open: {_path_left_open(question, own)}; "
        + (f"{wording.listed(minimal)} is adjusted for instead" if minimal else "nothing needs to be adjusted for")
    ]


def _by_front_door(spec: CausalSpec, question: GraphQuestion) -> _Answer | None:
    from src.causal_engine.identification.designs import front_door_set

    mediators = front_door_set(question, spec.mediators)
    if not mediators:
        return None
    words = wording.front_door(spec.treatment, spec.outcome, mediators)
    reason = f"no measured columns close the back door, but all of the effect runs through {wording.listed(mediators)}"
    return _Answer("front_door", Design.FRONT_DOOR, words, mediators=mediators, reasons=(reason,))


def _by_instrument(spec: CausalSpec, question: GraphQuestion, candidates: Sequence[str]) -> _Answer | None:
    from src.causal_engine.identification.designs import valid_instruments

    own = tuple(name for name in spec.confounders if name in question.usable)
    found = valid_instruments(question, candidates, preferred=own)
    if found is None:
        return None
    words = wording.instrument(spec.treatment, spec.outcome, found.instruments)
    return _Answer("instrument", Design.INSTRUMENT, words, adjustment=found.adjustment, instruments=found.instruments)


def _not_identified(spec: CausalSpec, question: GraphQuestion) -> _Answer:
    import networkx as nx

    ends = {spec.treatment, spec.outcome}
    causes = ends.union(*(nx.ancestors(question.digraph, end) for end in ends)) & question.usable
    reasons = [
        f"nothing measured closes the path {_path_left_open(question, causes)}",
        "no set of mediators carries the whole effect (front door) and no column is a valid instrument",
    ]
    absent = sorted(set(question.graph.nodes) - question.observed - set(question.graph.latent) - ends - question.held)
    if absent:
        reasons.append(f"in the graph but not available as a column to adjust for: {wording.listed(absent)}")
    design = Design.PANEL if spec.is_panel else Design.OBSERVATIONAL
    return _Answer("none", design, (), reasons=tuple(reasons))


def _path_left_open(question: GraphQuestion, adjustment: Collection[str]) -> str:
    from src.causal_engine.identification.separation import open_path, path_in_words

    path = open_path(question.back_door_graph, question.treatment, question.outcome, {*adjustment, *question.held})
    hidden = set(question.graph.nodes) - question.observed - {question.treatment, question.outcome}
    return path_in_words(question.graph, path, hidden)
