"""What does a causal graph file (.json, .dot, .gml) or a dataset's declaration say?"""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.causal_engine.identification.graph import CausalGraph, Edge, make_graph
from src.errors import GraphInvalid

MAX_BYTES = 1_000_000
_BIDIRECTED = re.compile(r'("[^"]*"|[\w.]+)\s*<->\s*("[^"]*"|[\w.]+)')
_KNOWN_KEYS = frozenset({"nodes", "edges", "latent", "time_invariant", "name", "description", "treatment", "outcome"})
_TRUE = frozenset({"true", "1", "yes"})


def load_graph(path: Path | str) -> CausalGraph:
    """Read a graph; the ending of the name says the format: .json, .dot (or .gv), .gml.

    JSON is ``{"edges": [["a", "b"], …], "latent": ["u"], "time_invariant": ["u"]}``, or with
    ``"nodes": [{"name": "u", "latent": true}, …]``. DOT and GML mark hidden causes with the node
    attribute ``latent`` (and ``time_invariant``); ``a <-> b`` or ``a -> b [dir=both]`` in DOT is a
    hidden common cause. Raises GraphInvalid, one line, naming the file.
    """
    file = Path(path)
    readers: dict[str, Callable[[str], CausalGraph]] = {
        ".json": _from_json,
        ".dot": _from_dot,
        ".gv": _from_dot,
        ".gml": _from_gml,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise GraphInvalid(f"{file.name}: a graph file ends in .json, .dot or .gml")
    try:
        return reader(_text_of(file))
    except GraphInvalid as error:
        raise GraphInvalid(f"{file.name}: {error}") from error


def graph_from_declared(declared: Mapping[str, Any]) -> CausalGraph:
    """Build the graph of a JSON object in the form ``load_graph`` documents.

    Raises GraphInvalid for an unknown key or a value of the wrong shape.
    """
    unknown = sorted(set(declared) - _KNOWN_KEYS)
    if unknown:
        raise GraphInvalid(f"unknown key '{unknown[0]}' in the graph; known: {', '.join(sorted(_KNOWN_KEYS))}")
    flagged: dict[str, list[str]] = {
        "latent": _names(declared.get("latent", ()), "latent"),
        "time_invariant": _names(declared.get("time_invariant", ()), "time_invariant"),
    }
    nodes: list[str] = []
    for node in _list(declared.get("nodes", ()), "nodes"):
        name, flags = _node(node)
        nodes.append(name)
        for flag in flags:
            flagged[flag].append(name)
    edges = [_edge(edge) for edge in _list(declared.get("edges", ()), "edges")]
    return make_graph(edges, nodes=nodes, latent=flagged["latent"], time_invariant=flagged["time_invariant"])


def _text_of(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise GraphInvalid("no such graph file") from error
    except OSError as error:
        raise GraphInvalid(f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise GraphInvalid("larger than 1 MB, which no causal graph is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraphInvalid("not a text file in UTF-8") from error


def _from_json(text: str) -> CausalGraph:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphInvalid(f"not valid JSON ({_one_line(error)})") from error
    if not isinstance(content, dict):
        raise GraphInvalid('expected an object like {"edges": [["a", "b"]], "latent": []}')
    return graph_from_declared(content)


def _list(value: object, key: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise GraphInvalid(f"'{key}' must be a list")
    return value


def _names(value: object, key: str) -> list[str]:
    names = _list(value, key)
    for name in names:
        if not isinstance(name, str) or not name:
            raise GraphInvalid(f"'{key}' must list column names; {name!r} is not one")
    return list(names)


def _node(node: object) -> tuple[str, list[str]]:
    if isinstance(node, str) and node:
        return node, []
    name = (node.get("name") or node.get("id")) if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(name, str):
        raise GraphInvalid(f"each node is a name or {{'name': …}}; {_short(node)} is neither")
    return name, [flag for flag in ("latent", "time_invariant") if node.get(flag) is True]


def _edge(edge: object) -> Edge:
    if isinstance(edge, dict):
        edge = [edge.get("source", edge.get("from")), edge.get("target", edge.get("to"))]
    if isinstance(edge, list | tuple) and len(edge) == 2 and all(isinstance(end, str) and end for end in edge):
        return edge[0], edge[1]
    raise GraphInvalid(f"each arrow is a pair [cause, effect]; {_short(edge)} is not")


def _from_gml(text: str) -> CausalGraph:
    import networkx as nx

    try:
        graph = nx.parse_gml(text)
    except Exception as error:
        raise GraphInvalid(f"not valid GML ({_one_line(error)})") from error
    if not graph.is_directed():
        raise GraphInvalid("the graph is undirected; write 'directed 1' so that edges are arrows")
    marks = {str(name): attributes for name, attributes in graph.nodes(data=True)}
    return make_graph(
        [(str(edge[0]), str(edge[1])) for edge in graph.edges()],
        nodes=marks,
        latent=[name for name, attributes in marks.items() if _is_true(attributes.get("latent"))],
        time_invariant=[name for name, attributes in marks.items() if _is_true(attributes.get("time_invariant"))],
    )


def _from_dot(text: str) -> CausalGraph:
    import pydot

    printed = io.StringIO()
    # pydot prints its syntax errors, which belong in the message, and uses old names of pyparsing.
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(category=DeprecationWarning, action="ignore"),
    ):
        try:
            graphs = pydot.graph_from_dot_data(_BIDIRECTED.sub(r"\1 -> \2 [dir=both]", text))
        except Exception as error:
            raise GraphInvalid(f"not valid DOT ({_one_line(error)})") from error
    if not graphs:
        problem = printed.getvalue().strip().splitlines()
        raise GraphInvalid(f"not valid DOT ({_one_line(problem[-1] if problem else 'nothing could be read')})")
    graph = graphs[0]
    if graph.get_type() != "digraph":
        raise GraphInvalid("the graph is undirected; begin it with 'digraph' and write arrows as a -> b")
    return _from_dot_graph(graph)


def _from_dot_graph(graph: Any) -> CausalGraph:
    edges: list[Edge] = []
    bidirected: list[Edge] = []
    for edge in _dot_edges(graph):
        direction = str(edge.get_attributes().get("dir", "forward")).strip('"')
        if direction not in ("forward", "back", "both"):
            raise GraphInvalid(f"an arrow has dir={direction}; use forward, back or both")
        for left in _dot_ends(edge.get_source()):
            for right in _dot_ends(edge.get_destination()):
                pair = (right, left) if direction == "back" else (left, right)
                (bidirected if direction == "both" else edges).append(pair)
    marks = dict(_dot_nodes(graph))
    return make_graph(
        edges,
        nodes=marks,
        latent=[name for name, attributes in marks.items() if _is_true(attributes.get("latent"))],
        time_invariant=[name for name, attributes in marks.items() if _is_true(attributes.get("time_invariant"))],
        bidirected=bidirected,
    )


def _dot_edges(graph: Any) -> Iterator[Any]:
    yield from graph.get_edges()
    for part in graph.get_subgraphs():
        yield from _dot_edges(part)


def _dot_nodes(graph: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node in graph.get_nodes():
        name = _unquote(node.get_name())
        if name not in ("node", "edge", "graph", "", "\\n"):
            yield name, node.get_attributes()
    for part in graph.get_subgraphs():
        yield from _dot_nodes(part)


def _dot_ends(end: Any) -> list[str]:
    if isinstance(end, str):
        return [_unquote(end)]
    return sorted(_unquote(name) for name in end["nodes"])


def _unquote(name: str) -> str:
    text = str(name).strip()
    return text[1:-1].replace('\\"', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _is_true(value: object) -> bool:
    return str(value).strip('"').lower() in _TRUE


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:120]


def _short(value: object) -> str:
    return _one_line(repr(value))[:60]
