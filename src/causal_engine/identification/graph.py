"""Which causes of which does the analyst claim, and is that claim a directed acyclic graph?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from src.errors import GraphInvalid, nearest_names

if TYPE_CHECKING:
    import networkx as nx

    Digraph = nx.DiGraph[Any]

Edge = tuple[str, str]


@dataclass(frozen=True)
class CausalGraph:
    """A directed acyclic graph; ``latent`` nodes are causes that nobody measured.

    ``time_invariant`` names nodes that do not change within a unit of a panel, so that unit
    effects hold them fixed. Build one with :func:`make_graph`, which checks it.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    latent: tuple[str, ...] = ()
    time_invariant: tuple[str, ...] = ()

    @property
    def version_hash(self) -> str:
        """SHA-256 of the sorted content: the same claims in another order have the same hash."""
        content = {
            "nodes": sorted(self.nodes),
            "edges": sorted(self.edges),
            "latent": sorted(self.latent),
            "time_invariant": sorted(self.time_invariant),
        }
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8")).hexdigest()

    @cached_property
    def digraph(self) -> Digraph:
        """The same graph for networkx; do not modify it."""
        import networkx as nx

        graph: Digraph = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.edges)
        return graph

    def parents(self, node: str) -> tuple[str, ...]:
        """Direct causes of ``node``, sorted."""
        return tuple(sorted(self.digraph.predecessors(node)))

    def check_question(self, treatment: str, outcome: str) -> None:
        """Raise GraphInvalid when a node is missing or the outcome is drawn as a cause of the treatment."""
        import networkx as nx

        for role, name in (("treatment", treatment), ("outcome", outcome)):
            if name not in self.digraph:
                raise GraphInvalid(f"{role} '{name}' is not a node of the graph; {nearest_names(name, self.nodes)}")
            if name in self.latent:
                raise GraphInvalid(f"{role} '{name}' is marked latent in the graph; it must be a measured column")
        if nx.has_path(self.digraph, outcome, treatment):
            path = " → ".join(nx.shortest_path(self.digraph, outcome, treatment))
            raise GraphInvalid(
                f"the graph says the outcome causes the treatment ({path}), which contradicts the question; "
                "turn that arrow round or ask for the effect in the other direction"
            )


def make_graph(
    edges: Iterable[Edge],
    *,
    nodes: Iterable[str] = (),
    latent: Iterable[str] = (),
    time_invariant: Iterable[str] = (),
    bidirected: Iterable[Edge] = (),
) -> CausalGraph:
    """Check the claims and freeze them, sorted.

    A ``bidirected`` pair ``a <-> b`` becomes a latent common cause of ``a`` and ``b``.
    Raises GraphInvalid: no edge at all, a self loop, a cycle (named), an unknown flagged node.
    """
    arrows = list(edges)
    hidden = set(latent)
    for left, right in bidirected:
        name = f"hidden cause of {min(left, right)} and {max(left, right)}"
        hidden.add(name)
        arrows += [(name, left), (name, right)]
    for cause, effect in arrows:
        if cause == effect:
            raise GraphInvalid(f"the graph has an arrow from '{cause}' to itself; remove it")
    if not arrows:
        raise GraphInvalid("the graph has no arrows; write which column causes which")
    known = {*nodes, *(end for arrow in arrows for end in arrow)}
    fixed = set(time_invariant)
    for flagged in sorted((hidden | fixed) - known):
        raise GraphInvalid(
            f"'{flagged}' is flagged in the graph but no arrow names it; {nearest_names(flagged, known)}"
        )
    graph = CausalGraph(tuple(sorted(known)), tuple(sorted(set(arrows))), tuple(sorted(hidden)), tuple(sorted(fixed)))
    _refuse_cycle(graph)
    return graph


def _refuse_cycle(graph: CausalGraph) -> None:
    import networkx as nx

    try:
        cycle = nx.find_cycle(graph.digraph)
    except nx.NetworkXNoCycle:
        return
    path = " → ".join([str(edge[0]) for edge in cycle] + [str(cycle[0][0])])
    raise GraphInvalid(f"the graph has a cycle ({path}); a cause cannot be its own effect: remove one of these arrows")
