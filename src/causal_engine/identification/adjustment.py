"""Which sets of measured columns close every back-door path between treatment and outcome?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import comb

import networkx as nx

from src.causal_engine.identification.separation import GraphQuestion

MAX_SUBSETS = 600
MAX_ALTERNATIVES = 5


def canonical_set(question: GraphQuestion) -> tuple[str, ...] | None:
    """Return the measured pre-treatment ancestors of treatment and outcome if they close every back door.

    If any measured set does, this one does (van der Zander, Liśkiewicz & Textor 2014, theorem 4.6
    applied to back-door sets), so None means that there is no valid set at all.
    """
    ends = {question.treatment, question.outcome, *question.held}
    ancestors = ends.union(*(nx.ancestors(question.digraph, end) for end in ends))
    candidate = tuple(sorted(ancestors & question.usable))
    return candidate if question.blocks_back_doors(candidate) else None


def minimal_sets(question: GraphQuestion) -> tuple[tuple[str, ...], ...]:
    """Return up to five valid sets from which nothing can be dropped, the preferred one first.

    Empty when there is none. Preferred: few columns, then direct causes of the outcome (they
    sharpen the estimate, Henckel, Perković & Maathuis 2022), then alphabetical. Small sets are
    searched exhaustively up to ``MAX_SUBSETS`` tests, larger ones by dropping greedily.
    """
    canonical = canonical_set(question)
    if canonical is None:
        return ()
    found: list[frozenset[str]] = []
    for candidate in _small_subsets(canonical):
        if not any(smaller <= candidate for smaller in found) and question.blocks_back_doors(candidate):
            found.append(candidate)
            if not candidate:
                break
    if frozenset() not in found:
        for order in _orders(question, canonical):
            reduced = frozenset(drop_needless(question, order))
            if not any(smaller <= reduced for smaller in found):
                found.append(reduced)
    ranked = sorted((tuple(sorted(candidate)) for candidate in found), key=lambda names: _rank(question, names))
    return tuple(ranked[:MAX_ALTERNATIVES])


def drop_needless(question: GraphQuestion, names: Sequence[str]) -> tuple[str, ...]:
    """Drop names one by one, first to last, as long as the rest still closes every back door."""
    kept = list(names)
    for name in names:
        rest = [other for other in kept if other != name]
        if question.blocks_back_doors(rest):
            kept = rest
    return tuple(kept)


def _small_subsets(pool: Sequence[str]) -> Iterator[frozenset[str]]:
    tested = 0
    for size in range(len(pool) + 1):
        tested += comb(len(pool), size)
        if size > 1 and tested > MAX_SUBSETS:
            return
        yield from (frozenset(names) for names in combinations(pool, size))


def _orders(question: GraphQuestion, names: Sequence[str]) -> Iterable[list[str]]:
    """Orders in which to try dropping; what is tried last tends to stay."""
    treatment_side = set(question.graph.parents(question.treatment))
    outcome_side = set(question.graph.parents(question.outcome))
    yield sorted(names, key=lambda name: (name in outcome_side, name))
    yield sorted(names, key=lambda name: (name in treatment_side, name))
    yield sorted(names)
    yield sorted(names, reverse=True)


def _rank(question: GraphQuestion, names: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
    direct_causes = set(question.graph.parents(question.outcome))
    return len(names), -len(direct_causes.intersection(names)), names
