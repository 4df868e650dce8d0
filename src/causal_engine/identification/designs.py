"""When no back-door set exists: does a full set of mediators, or an instrument, identify the effect?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import networkx as nx

from src.causal_engine.identification.bad_controls import is_instrument
from src.causal_engine.identification.separation import GraphQuestion, separated, without_outgoing

MAX_MEDIATORS = 3


@dataclass(frozen=True, slots=True)
class InstrumentSet:
    """Instruments that are valid together, given ``adjustment``."""

    instruments: tuple[str, ...]
    adjustment: tuple[str, ...]


def is_front_door(question: GraphQuestion, mediators: Sequence[str]) -> bool:
    """Whether ``mediators`` satisfy the front-door criterion (Pearl 2009, definition 3.3.3).

    They intercept every directed path from treatment to outcome, share no open back-door path with
    the treatment, and every back-door path from them to the outcome runs through the treatment.
    """
    treatment, outcome, held = question.treatment, question.outcome, set(question.held)
    through = question.digraph.copy()
    through.remove_nodes_from(mediators)
    if nx.has_path(through, treatment, outcome):
        return False
    if not all(separated(question.back_door_graph, treatment, mediator, held) for mediator in mediators):
        return False
    cut = without_outgoing(question.digraph, mediators)
    return all(separated(cut, mediator, outcome, {treatment, *held}) for mediator in mediators)


def front_door_set(question: GraphQuestion, named: Sequence[str]) -> tuple[str, ...]:
    """Return a smallest measured front-door set, the analyst's own first; empty when there is none."""
    candidates = sorted(question.on_causal_path & question.observed)
    own = tuple(name for name in named if name in candidates)
    if own and is_front_door(question, own):
        return own
    for size in range(1, min(MAX_MEDIATORS, len(candidates)) + 1):
        for mediators in combinations(candidates, size):
            if is_front_door(question, mediators):
                return mediators
    return ()


def valid_instruments(
    question: GraphQuestion, candidates: Sequence[str], *, preferred: tuple[str, ...] = ()
) -> InstrumentSet | None:
    """Return the candidates that are instruments under one common adjustment set, or None.

    Tries the ``preferred`` adjustment set, none, each single column, then all measured columns that
    treatment and outcome cannot change, and takes the first under which a candidate is valid.
    """
    usable = [name for name in candidates if name in question.usable]
    pool = sorted(question.usable)
    for given in (preferred, (), *((name,) for name in pool), tuple(pool)):
        valid = [name for name in usable if name not in given and is_instrument(question, name, given)]
        if valid:
            return InstrumentSet(tuple(valid), given)
    for name in usable:
        given = tuple(other for other in pool if other != name)
        if is_instrument(question, name, given):
            return InstrumentSet((name,), given)
    return None
