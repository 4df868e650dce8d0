"""Where do the nodes of a layered graph go, and which way do its edges run, so that none crosses a node?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Layout:
    """Position (layer, row) of every node and the points each edge runs through, ends included."""

    positions: dict[str, Point]
    routes: dict[tuple[str, str], tuple[Point, ...]]
    n_layers: int
    n_rows: int


def layered_layout(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place nodes in layers by topological generation and order each layer by barycentre.

    Edges over several layers get a waypoint in each layer between (Sugiyama, Tagawa & Toda 1981).
    Raises networkx.NetworkXUnfeasible when the graph has a cycle.
    """
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    layer_of = _layers(graph)
    chains = {edge: _chain(edge, layer_of) for edge in graph.edges}
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values(), default=0) + 1)]
    for node in graph.nodes:
        layers[layer_of[node]].append(node)
    links: list[tuple[str, str]] = []
    for chain in chains.values():
        first = layer_of[chain[0]]
        for offset, waypoint in enumerate(chain[1:-1], start=1):
            layers[first + offset].append(waypoint)
        links.extend(zip(chain, chain[1:], strict=False))
    _order(layers, links)
    places = _places(layers)
    routes = {edge: tuple(places[name] for name in chain) for edge, chain in chains.items()}
    rows = max(len(layer) for layer in layers)
    return Layout({node: places[node] for node in graph.nodes}, routes, len(layers), rows)


def _layers(graph) -> dict[str, int]:  # type: ignore[no-untyped-def]
    import networkx as nx

    layer_of = {node: i for i, generation in enumerate(nx.topological_generations(graph)) for node in generation}
    # A source is drawn beside what it points to, not in the far left column.
    for node in reversed(list(nx.topological_sort(graph))):
        children = [layer_of[child] for child in graph.successors(node)]
        if children and graph.in_degree(node) == 0:
            layer_of[node] = min(children) - 1
    return layer_of


def _chain(edge: tuple[str, str], layer_of: dict[str, int]) -> tuple[str, ...]:
    start, end = edge
    between = range(layer_of[start] + 1, layer_of[end])
    return (start, *(f"\0{start}\0{end}\0{layer}" for layer in between), end)


def _order(layers: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    neighbours: dict[str, list[str]] = {}
    for start, end in links:
        neighbours.setdefault(start, []).append(end)
        neighbours.setdefault(end, []).append(start)
    for sweep in range(_SWEEPS):
        indices = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for index in indices:
            fixed = layers[index - 1 if sweep % 2 == 0 else index + 1]
            rank = {name: place - (len(fixed) - 1) / 2 for place, name in enumerate(fixed)}
            layer = layers[index]
            own = {name: place - (len(layer) - 1) / 2 for place, name in enumerate(layer)}
            layer.sort(key=lambda name: _mean([rank[n] for n in neighbours.get(name, ()) if n in rank], own[name]))  # noqa: B023


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _places(layers: Sequence[Sequence[str]]) -> dict[str, Point]:
    return {
        name: (float(column), (len(layer) - 1) / 2 - float(row))
        for column, layer in enumerate(layers)
        for row, name in enumerate(layer)
    }
