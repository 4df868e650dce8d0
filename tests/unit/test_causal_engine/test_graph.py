"""A causal graph file is read as it is meant, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.causal_engine.identification import CausalGraph, graph_from_declared, load_graph, make_graph
from src.errors import GraphInvalid

EDGES = [("u", "t"), ("u", "y"), ("x", "t"), ("x", "y"), ("t", "y")]

JSON_PAIRS = json.dumps({"edges": EDGES, "latent": ["u"]})
JSON_NODES = json.dumps(
    {"nodes": [{"name": "u", "latent": True}, "x"], "edges": [{"source": a, "target": b} for a, b in EDGES]}
)
DOT = 'digraph g { u [latent=true]; "u" -> t; u -> "y"; x -> {t y}; t -> y [label="effect"] }'
GML = """graph [ directed 1
 node [ id 0 label "u" latent 1 ] node [ id 1 label "t" ] node [ id 2 label "y" ] node [ id 3 label "x" ]
 edge [ source 0 target 1 ] edge [ source 0 target 2 ] edge [ source 3 target 1 ] edge [ source 3 target 2 ]
 edge [ source 1 target 2 ] ]"""


def _write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"), [("g.json", JSON_PAIRS), ("g.json", JSON_NODES), ("g.dot", DOT), ("g.gv", DOT), ("g.gml", GML)]
)
def test_every_format_states_the_same_graph(tmp_path: Path, name: str, text: str) -> None:
    graph = load_graph(_write(tmp_path, name, text))
    assert set(graph.edges) == set(EDGES)
    assert graph.latent == ("u",)
    assert graph.version_hash == make_graph(EDGES, latent=["u"]).version_hash


@pytest.mark.parametrize("arrow", ["a <-> b", "a -> b [dir=both]", '"a" <-> "b" [color=red]'])
def test_bidirected_arrow_is_a_hidden_common_cause(tmp_path: Path, arrow: str) -> None:
    graph = load_graph(_write(tmp_path, "g.dot", f"digraph {{ a -> b; {arrow} }}"))
    (hidden,) = graph.latent
    assert set(graph.edges) == {("a", "b"), (hidden, "a"), (hidden, "b")}


def test_dot_reads_back_arrows_chains_and_subgraphs(tmp_path: Path) -> None:
    graph = load_graph(_write(tmp_path, "g.dot", "digraph { a -> b -> c; c -> d [dir=back]; subgraph s { e -> f } }"))
    assert set(graph.edges) == {("a", "b"), ("b", "c"), ("d", "c"), ("e", "f")}


def test_hash_depends_on_content_and_not_on_order() -> None:
    forward, backward = make_graph(EDGES, latent=["u"]), make_graph(reversed(EDGES), latent=["u"])
    assert forward == backward
    assert forward.version_hash == backward.version_hash
    others = [make_graph(EDGES), make_graph(EDGES[:-1], latent=["u"]), make_graph(EDGES, latent=["u"], nodes=["z"])]
    assert len({graph.version_hash for graph in (forward, *others)}) == 4


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("g.json", '{"edges": [["a","b"],["b","c"],["c","a"]]}', "cycle"),
        ("g.json", '{"edges": [["a","a"]]}', "itself"),
        ("g.json", '{"edges": []}', "no arrows"),
        ("g.json", '{"edges": [["a"]]}', "pair"),
        ("g.json", '{"edges": [["a", 3]]}', "pair"),
        ("g.json", '{"edges": "a->b"}', "list"),
        ("g.json", '{"edges": [["a","b"]], "latents": ["u"]}', "latents"),
        ("g.json", '{"edges": [["a","b"]], "latent": ["uu"]}', "uu"),
        ("g.json", "[" * 100_000, "JSON"),
        ("g.json", "[1, 2]", "object"),
        ("g.json", "", "JSON"),
        ("g.json", b"\xff\xfe\x00\x01", "UTF-8"),
        ("g.json", b"\x00" * 1_000_001, "1 MB"),
        ("g.dot", "digraph { a -> ", "DOT"),
        ("g.dot", "graph { a -- b }", "undirected"),
        ("g.dot", "", "DOT"),
        ("g.gml", "graph [ node [ id 0", "GML"),
        ("g.gml", GML.replace("directed 1", "directed 0"), "undirected"),
        ("g.txt", "a -> b", ".json"),
    ],
)
def test_bad_graph_files_are_refused_in_one_line(
    tmp_path: Path, name: str, text: str | bytes, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GraphInvalid) as refusal:
        load_graph(_write(tmp_path, name, text))
    message = str(refusal.value)
    assert message.startswith(f"{name}:")
    assert says in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for name in ("absent.json", "folder.json"):
        with pytest.raises(GraphInvalid, match=name):
            load_graph(tmp_path / name)


def test_cycle_is_named() -> None:
    with pytest.raises(GraphInvalid, match="b → c → b|c → b → c"):
        make_graph([("a", "b"), ("b", "c"), ("c", "b")])


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (make_graph([("treatments", "y")]), "treatments"),
        (make_graph([("treatment", "y"), ("treatment", "outcomes")]), "outcomes"),
        (make_graph([("outcome", "m"), ("m", "treatment")]), "outcome → m → treatment"),
        (make_graph([("treatment", "outcome")], latent=["treatment"]), "latent"),
    ],
)
def test_question_that_contradicts_the_graph_is_refused(graph: CausalGraph, says: str) -> None:
    with pytest.raises(GraphInvalid, match=says):
        graph.check_question("treatment", "outcome")


def test_declared_graph_of_a_dataset_is_the_file_form() -> None:
    declared = {"edges": [["a", "b"]], "latent": [], "time_invariant": ["a"]}
    assert graph_from_declared(declared).time_invariant == ("a",)
