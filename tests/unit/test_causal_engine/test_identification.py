"""Identification names the right strategy, adjustment set and bad controls, or says what path stays open."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.causal_engine.identification import CausalGraph, identify, make_graph
from src.causal_engine.identification.separation import open_path
from src.causal_engine.results import Identification
from src.causal_engine.spec import CausalSpec, Design
from src.errors import GraphInvalid, UnknownColumn


def graph_of(arrows: str, latent: Iterable[str] = (), **flags: Any) -> CausalGraph:
    """Build a graph from "a>b b>c"."""
    return make_graph([tuple(arrow.split(">")) for arrow in arrows.split()], latent=latent, **flags)  # type: ignore[misc]


def ask(graph: CausalGraph | None, columns: Iterable[str] = (), **roles: Any) -> Identification:
    spec = CausalSpec("t", "y", **roles)
    known = set(columns) or (set(graph.nodes) - set(graph.latent) if graph else set())
    return identify(spec, sorted({*known, *spec.columns}), graph)


def roles(result: Identification) -> dict[str, str]:
    return {node.name: node.role for node in result.excluded}


@pytest.mark.parametrize(
    ("arrows", "latent", "adjustment"),
    [
        ("x>t x>y t>y", (), ("x",)),
        ("t>y", (), ()),
        ("z>t x>t x>y t>y", (), ("x",)),
        ("u>x u>t x>y t>y", ("u",), ("x",)),
        ("a>x b>x x>t x>y a>t b>y t>y", (), ("b", "x")),
        ("a>x b>x x>t x>y a>t b>y t>y", ("b",), ("a", "x")),
        ("x1>t x1>y x2>t x2>y t>m m>y", (), ("x1", "x2")),
    ],
)
def test_back_door_set_is_the_smallest_one_nearest_the_outcome(
    arrows: str, latent: tuple[str, ...], adjustment: tuple[str, ...]
) -> None:
    result = ask(graph_of(arrows, latent))
    assert result.identified
    assert result.strategy == "back_door"
    assert result.design is Design.OBSERVATIONAL
    assert result.adjustment_set == adjustment


@pytest.mark.parametrize(
    ("arrows", "latent", "bad", "role"),
    [
        ("x>t x>y t>m m>y", (), "m", "mediator"),
        ("x>t x>y t>y t>c y>c", (), "c", "collider"),
        ("x>t x>y t>y y>d", (), "d", "descendant of the outcome"),
        ("x>t x>y t>y t>p", (), "p", "post-treatment"),
        ("x>t x>y t>y a>k b>k a>t b>y", ("a", "b"), "k", "collider (M-bias)"),
        ("x>t x>y t>y z>t", (), "z", "instrument"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_bad_controls_are_named_and_kept_out(
    arrows: str, latent: tuple[str, ...], bad: str, role: str, listed: bool
) -> None:
    result = ask(graph_of(arrows, latent), confounders=("x", bad) if listed else ())
    assert result.identified
    assert result.adjustment_set == ("x",)
    assert roles(result)[bad] == role
    assert any(bad in reason for reason in result.reasons) is listed


def test_a_bad_control_cannot_be_an_effect_modifier() -> None:
    result = ask(graph_of("x>t x>y t>m m>y"), effect_modifiers=("m",))
    assert any("effect modifier" in reason for reason in result.reasons)


def test_valid_set_of_the_analyst_is_kept_and_the_minimal_one_offered() -> None:
    result = ask(graph_of("w>y x>t x>y t>y"), confounders=("w", "x"))
    assert result.adjustment_set == ("w", "x")
    assert ("x",) in result.alternatives
    assert result.reasons == ()


def test_insufficient_set_of_the_analyst_is_replaced_and_the_open_path_named() -> None:
    result = ask(graph_of("x>t x>y w>t w>y t>y"), confounders=("w",))
    assert result.adjustment_set == ("w", "x")
    assert any("t ← x → y" in reason for reason in result.reasons)


def test_listed_column_that_the_graph_does_not_know_is_left_out_and_said() -> None:
    result = ask(graph_of("x>t x>y t>y"), confounders=("x", "other"))
    assert result.adjustment_set == ("x",)
    assert roles(result)["other"] == "not in the graph"
    assert any("other" in reason for reason in result.reasons)


def test_hidden_confounder_is_not_identified_and_the_path_is_named() -> None:
    result = ask(graph_of("u>t u>y t>y x>t x>y", ["u"]), confounders=("x",))
    assert not result.identified
    assert result.strategy == "none"
    assert any("t ← u (not measured) → y" in reason for reason in result.reasons)


def test_node_without_a_column_counts_as_not_measured() -> None:
    graph = graph_of("x>t x>y t>y")
    assert ask(graph, ["t", "y", "x"]).identified
    without = ask(graph, ["t", "y"])
    assert not without.identified
    assert any("not available as a column" in reason and "x" in reason for reason in without.reasons)


def test_collider_as_only_listed_confounder_leaves_nothing_valid() -> None:
    result = ask(graph_of("u>t u>y t>y t>c y>c", ["u"]), confounders=("c",))
    assert not result.identified
    assert roles(result)["c"] == "collider"
    assert any("'c'" in reason for reason in result.reasons)


def test_front_door_needs_every_path_mediated_and_unconfounded_mediators() -> None:
    good = ask(graph_of("u>t u>y t>m m>y", ["u"]))
    assert (good.strategy, good.design, good.mediators) == ("front_door", Design.FRONT_DOOR, ("m",))
    for bad in ("u>t u>y t>m m>y t>y", "u>t u>y t>m m>y u>m", "u>t u>y t>m m>y v>m v>y"):
        assert not ask(graph_of(bad, {"u", "v"} & set(bad.replace(">", " ").split()))).identified


def test_front_door_through_two_mediators() -> None:
    result = ask(graph_of("u>t u>y t>m t>n m>y n>y", ["u"]))
    assert result.mediators == ("m", "n")


def test_instrument_is_found_and_its_exclusion_checked() -> None:
    good = ask(graph_of("u>t u>y t>y z>t", ["u"]))
    assert (good.strategy, good.design, good.instruments) == ("instrument", Design.INSTRUMENT, ("z",))
    assert not ask(graph_of("u>t u>y t>y z>t z>y", ["u"])).identified
    assert not ask(graph_of("u>t u>y t>y z>t u>z", ["u"])).identified


def test_instrument_may_need_a_column_held_fixed() -> None:
    result = ask(graph_of("u>t u>y t>y w>z w>y z>t", ["u"]))
    assert result.instruments == ("z",)
    assert result.adjustment_set == ("w",)


def test_named_instrument_is_used_if_valid_and_complained_about_if_not() -> None:
    named = ask(graph_of("x>t x>y t>y z>t"), instruments=("z",))
    assert (named.strategy, named.instruments) == ("instrument", ("z",))
    invalid = ask(graph_of("x>t x>y t>y z>t z>y"), instruments=("z",))
    assert invalid.strategy == "back_door"
    assert any("no valid instrument" in reason for reason in invalid.reasons)


def test_time_invariant_hidden_cause_is_absorbed_by_unit_effects() -> None:
    graph = graph_of("u>t u>y t>y", ["u"], time_invariant=["u"])
    panel = ask(graph, unit_key="hcp", time_key="month")
    assert (panel.identified, panel.strategy, panel.design) == (True, "fixed_effects", Design.PANEL)
    assert not ask(graph).identified
    varying = graph_of("u>t u>y t>y", ["u"])
    assert not ask(varying, unit_key="hcp", time_key="month").identified


def test_listed_time_invariant_column_is_said_to_be_held_fixed() -> None:
    graph = graph_of("x>t x>y t>y", time_invariant=["x"])
    result = ask(graph, confounders=("x",), unit_key="hcp", time_key="month")
    assert result.adjustment_set == ()
    assert any("hold it fixed" in reason for reason in result.reasons)


def test_randomised_treatment_with_causes_in_the_graph_is_a_contradiction() -> None:
    with pytest.raises(GraphInvalid, match="randomised"):
        ask(graph_of("x>t x>y t>y"), randomized=True)
    result = ask(graph_of("x>y t>y"), randomized=True, confounders=("x",))
    assert (result.strategy, result.design, result.adjustment_set) == ("randomization", Design.RANDOMIZED, ("x",))


def test_graph_without_an_effect_is_identified_and_says_so() -> None:
    result = ask(graph_of("x>t x>y"))
    assert result.identified
    assert any("no effect" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("declared", "strategy", "design"),
    [
        ({"randomized": True}, "randomization", Design.RANDOMIZED),
        ({"instruments": ("z",)}, "instrument", Design.INSTRUMENT),
        ({"unit_key": "hcp", "time_key": "month"}, "fixed_effects", Design.PANEL),
        ({"confounders": ("x",)}, "declared", Design.OBSERVATIONAL),
        ({}, "none", Design.OBSERVATIONAL),
    ],
)
def test_without_a_graph_the_declared_design_decides(declared: dict[str, Any], strategy: str, design: Design) -> None:
    result = ask(None, **declared)
    assert (result.strategy, result.design) == (strategy, design)
    assert result.identified is (strategy != "none")
    assert bool(result.assumptions) is result.identified
    assert bool(result.reasons) is not result.identified


def test_declared_bad_controls_are_dropped_from_the_confounders() -> None:
    result = ask(None, confounders=("x", "m", "p"), mediators=("m",), bad_controls=("p",))
    assert result.adjustment_set == ("x",)
    assert roles(result) == {"m": "mediator", "p": "post-treatment"}


def test_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownColumn, match="severity"):
        identify(CausalSpec("t", "y", confounders=("severty",)), ["t", "y", "severity"], None)


def random_dag(seed: int, n_nodes: int, share: float) -> tuple[CausalGraph, list[str]]:
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(n_nodes - 2)]
    order = [str(name) for name in rng.permutation([*names, "t", "y"])]
    if order.index("t") > order.index("y"):
        order = ["y" if name == "t" else "t" if name == "y" else name for name in order]
    edges = {pair for pair in itertools.combinations(order, 2) if rng.random() < share} | {("t", "y")}
    latent = [name for name in names if rng.random() < 0.3]
    return make_graph(edges, nodes=names, latent=latent), [name for name in names if name not in latent]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.2, 0.35, 0.5]))
def test_back_door_answer_equals_exhaustive_search(seed: int, share: float) -> None:
    graph, observed = random_dag(seed, 8, share)
    cut = nx.DiGraph(graph.edges)
    allowed = [name for name in observed if name in cut and name not in nx.descendants(cut, "t")]
    cut.remove_edges_from(list(cut.out_edges("t")))
    valid = [
        set(names)
        for size in range(len(allowed) + 1)
        for names in itertools.combinations(allowed, size)
        if nx.is_d_separator(cut, {"t"}, {"y"}, set(names))
    ]
    result = ask(graph)
    assert (result.strategy == "back_door") is bool(valid)
    if valid:
        assert len(result.adjustment_set) == min(map(len, valid))
        for names in (result.adjustment_set, *result.alternatives):
            assert set(names) in valid
            assert not any(smaller < set(names) for smaller in valid)
    assert ask(graph) == result


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_open_path_exists_exactly_when_d_connected(seed: int) -> None:
    graph, observed = random_dag(seed, 8, 0.3)
    given_nodes = set(observed[::2])
    cut = graph.digraph.copy()
    cut.remove_edges_from(list(cut.out_edges("t")))
    path = open_path(cut, "t", "y", given_nodes)
    assert bool(path) is not nx.is_d_separator(cut, {"t"}, {"y"}, given_nodes)
    assert all(cut.has_edge(a, b) or cut.has_edge(b, a) for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sixty_nodes_take_seconds_at_most(seed: int) -> None:
    graph, _ = random_dag(seed, 60, 0.12)
    started = time.process_time()
    ask(graph)
    assert time.process_time() - started < 5


def test_assumptions_name_the_adjusted_columns_and_the_graph() -> None:
    result = ask(graph_of("x>t x>y t>y"))
    text = " ".join(result.assumptions)
    assert "beyond x" in text
    assert "graph is right" in text


def test_node_declared_a_bad_control_is_not_adjusted_for() -> None:
    spec = CausalSpec("t", "y", bad_controls=("x",))
    graph = graph_of("x>t x>y t>y")
    assert not identify(spec, ["t", "y", "x"], graph).identified
    assert identify(replace(spec, bad_controls=()), ["t", "y", "x"], graph).identified
