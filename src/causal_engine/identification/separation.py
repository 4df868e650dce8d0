"""Are treatment and outcome separated once some nodes are held fixed, and if not, along which path?"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import networkx as nx

from src.causal_engine.identification.graph import CausalGraph

if TYPE_CHECKING:
    from src.causal_engine.identification.graph import Digraph

UP, DOWN = "up", "down"


@dataclass(frozen=True)
class GraphQuestion:
    """A treatment and an outcome in a graph, with what can be measured or is held fixed by design.

    ``observed``: nodes that may be adjusted for. ``held``: nodes that the design conditions on
    anyway (unit effects of a panel hold everything time-invariant fixed).
    """

    graph: CausalGraph
    treatment: str
    outcome: str
    observed: frozenset[str]
    held: frozenset[str] = frozenset()

    @property
    def digraph(self) -> Digraph:
        """The whole graph."""
        return self.graph.digraph

    @cached_property
    def back_door_graph(self) -> Digraph:
        """The graph without the arrows that leave the treatment."""
        return without_outgoing(self.digraph, (self.treatment,))

    @cached_property
    def after_treatment(self) -> frozenset[str]:
        """Everything the treatment can change."""
        return frozenset(nx.descendants(self.digraph, self.treatment))

    @cached_property
    def after_outcome(self) -> frozenset[str]:
        """Everything the outcome can change."""
        return frozenset(nx.descendants(self.digraph, self.outcome))

    @cached_property
    def on_causal_path(self) -> frozenset[str]:
        """Nodes between treatment and outcome along the arrows (mediators)."""
        return self.after_treatment & frozenset(nx.ancestors(self.digraph, self.outcome))

    @cached_property
    def usable(self) -> frozenset[str]:
        """Observed nodes that neither treatment nor outcome can change."""
        return self.observed - self.after_treatment - self.after_outcome - {self.treatment, self.outcome} - self.held

    def blocks_back_doors(self, adjustment: Iterable[str]) -> bool:
        """Whether ``adjustment`` (with what is held fixed) closes every back-door path (Pearl 2009, def. 3.3.1)."""
        return separated(self.back_door_graph, self.treatment, self.outcome, {*adjustment, *self.held})


def separated(graph: Digraph, left: str, right: str, given: Collection[str]) -> bool:
    """d-separation of ``left`` and ``right`` given ``given`` (which may not contain either)."""
    return bool(nx.is_d_separator(graph, {left}, {right}, set(given)))


def without_outgoing(graph: Digraph, nodes: Collection[str]) -> Digraph:
    """A copy of ``graph`` without the arrows that leave ``nodes``."""
    cut = graph.copy()
    cut.remove_edges_from([edge for node in nodes for edge in graph.out_edges(node)])
    return cut


def open_path(graph: Digraph, left: str, right: str, given: Collection[str]) -> tuple[str, ...]:
    """Return a shortest path that d-connects ``left`` and ``right`` given ``given``; empty when there is none.

    Breadth-first search over (node, direction of arrival), the reachability procedure of
    Koller & Friedman 2009, algorithm 3.1.
    """
    fixed = set(given)
    colliders_open = fixed.union(*(nx.ancestors(graph, node) for node in fixed))
    start = (left, UP)
    came_from: dict[tuple[str, str], tuple[str, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if state[0] == right:
            return _trace(state, came_from)
        for step in _next_steps(graph, state, fixed, colliders_open):
            if step not in came_from:
                came_from[step] = state
                queue.append(step)
    return ()


def _next_steps(
    graph: Digraph, state: tuple[str, str], fixed: set[str], colliders_open: set[str]
) -> list[tuple[str, str]]:
    node, direction = state
    steps: list[tuple[str, str]] = []
    if node not in fixed:
        steps += [(child, DOWN) for child in sorted(graph.successors(node))]
        if direction == UP:
            steps += [(parent, UP) for parent in sorted(graph.predecessors(node))]
    if direction == DOWN and node in colliders_open:
        steps += [(parent, UP) for parent in sorted(graph.predecessors(node))]
    return steps


def _trace(state: tuple[str, str], came_from: dict[tuple[str, str], tuple[str, str] | None]) -> tuple[str, ...]:
    path: list[str] = []
    step: tuple[str, str] | None = state
    while step is not None:
        path.append(step[0])
        step = came_from[step]
    return tuple(reversed(path))


def path_in_words(graph: CausalGraph, path: tuple[str, ...], hidden: Collection[str]) -> str:
    """Write a path with its arrows, hidden nodes marked: ``calls ← potential (not measured) → scripts``."""
    if not path:
        return ""

    def shown(node: str) -> str:
        return f"{node} (not measured)" if node in hidden else node

    text = shown(path[0])
    for before, node in zip(path, path[1:], strict=False):
        arrow = "→" if graph.digraph.has_edge(before, node) else "←"
        text += f" {arrow} {shown(node)}"
    return text
