"""Which measured columns would spoil the estimate if they were adjusted for, and why?"""

from __future__ import annotations

from collections.abc import Collection

import networkx as nx

from src.causal_engine.identification.separation import GraphQuestion, separated
from src.causal_engine.results import ExcludedNode

MEDIATOR = "mediator"
COLLIDER = "collider"
DESCENDANT_OF_OUTCOME = "descendant of the outcome"
POST_TREATMENT = "post-treatment"
M_BIAS = "collider (M-bias)"
INSTRUMENT = "instrument"


def changed_by_treatment(question: GraphQuestion) -> tuple[ExcludedNode, ...]:
    """Name every measured node that treatment or outcome can change."""
    spoiled = (question.after_treatment | question.after_outcome) & question.observed - {question.outcome}
    return tuple(_post_treatment(question, name) for name in sorted(spoiled))


def path_openers(question: GraphQuestion, adjustment: Collection[str]) -> tuple[ExcludedNode, ...]:
    """Name pre-treatment nodes that open a closed path when added to a valid ``adjustment`` (M-bias)."""
    base = set(adjustment)
    return tuple(
        ExcludedNode(
            name,
            M_BIAS,
            f"'{name}' is a common effect of causes of {question.treatment} and of {question.outcome}; "
            "adjusting for it links the two where nothing did before",
        )
        for name in sorted(question.usable - base)
        if not question.blocks_back_doors(base | {name})
    )


def treatment_movers(question: GraphQuestion, adjustment: Collection[str]) -> tuple[ExcludedNode, ...]:
    """Name nodes that reach the outcome only through the treatment; adjusting for them amplifies hidden bias."""
    return tuple(
        ExcludedNode(
            name,
            INSTRUMENT,
            f"'{name}' moves {question.treatment} and reaches {question.outcome} only through it; adjusting for it "
            "adds noise and amplifies any hidden bias",
        )
        for name in sorted(question.usable)
        if is_instrument(question, name, set(adjustment) - {name})
    )


def is_instrument(question: GraphQuestion, name: str, given: Collection[str]) -> bool:
    """Whether ``name`` moves the treatment and is otherwise unrelated to the outcome, given ``given``.

    Relevance: d-connected to the treatment; exclusion: d-separated from the outcome once the arrows
    that leave the treatment are cut (Pearl 2009, section 7.4.5; conditional form of Brito & Pearl 2002).
    """
    fixed = {*given, *question.held} - {name}
    return not separated(question.digraph, name, question.treatment, fixed) and separated(
        question.back_door_graph, name, question.outcome, fixed
    )


def _post_treatment(question: GraphQuestion, name: str) -> ExcludedNode:
    treatment, outcome = question.treatment, question.outcome
    if name in question.on_causal_path:
        reason = f"'{name}' carries part of the effect of {treatment} to {outcome}; adjusting for it hides that part"
        return ExcludedNode(name, MEDIATOR, reason)
    if name in question.after_outcome:
        if _reached_without_outcome(question, name):
            reason = f"'{name}' is an effect of both {treatment} and {outcome}; adjusting for it invents a link"
            return ExcludedNode(name, COLLIDER, reason)
        reason = f"'{name}' is a consequence of {outcome}; adjusting for it removes part of what is to be explained"
        return ExcludedNode(name, DESCENDANT_OF_OUTCOME, reason)
    reason = f"'{name}' is a consequence of {treatment}; adjusting for it distorts the effect"
    return ExcludedNode(name, POST_TREATMENT, reason)


def _reached_without_outcome(question: GraphQuestion, name: str) -> bool:
    without = question.digraph.copy()
    without.remove_node(question.outcome)
    return nx.has_path(without, question.treatment, name)
