"""What the plots show: sorted distinct estimates, shared rows, honest scales, graphs without collisions."""

from __future__ import annotations

import math
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.app.report.plots.comparability import sorted_balance
from src.app.report.plots.graph import is_drawable, node_roles, wrap_name
from src.app.report.plots.layers import layered_layout
from src.app.report.plots.panel import timed_effects
from src.app.report.plots.specification_curve import MOST_ROWS, matrix_rows, specifications, value_limits
from src.causal_engine.results import BalanceRow, Interval, LeadTest
from tests.unit.test_report.samples import association_only, crowded, estimate, supported

pytestmark = pytest.mark.unit


def test_the_curve_is_sorted_and_holds_each_estimate_once() -> None:
    sample = supported()
    specs = specifications(sample.primary, sample.naive, (*sample.curve, sample.primary, sample.naive))  # type: ignore[arg-type]
    values = [spec.estimate.value for spec in specs]
    assert values == sorted(values)
    assert len(specs) == len(sample.curve) + 2
    assert [spec.role for spec in specs].count("primary") == 1
    assert specs[-1].role == "naive"


def test_estimates_without_a_value_are_not_drawn() -> None:
    assert specifications(estimate(math.nan, 1.0), None, (estimate(1.0, 0.1),))[0].estimate.value == 1.0


def test_columns_with_the_same_pattern_share_a_row_of_the_matrix() -> None:
    specs = specifications(
        estimate(1.0, 0.1, adjusted_for=("a", "b", "c")), None, (estimate(2.0, 0.1, "ols", adjusted_for=("a", "b")),)
    )
    rows, unshown = matrix_rows(specs)
    assert rows == [("aipw", [True, False]), ("ols", [False, True]), ("a, b", [True, True]), ("c", [True, False])]
    assert unshown == 0


def test_a_matrix_that_would_not_fit_says_how_much_is_left_out() -> None:
    names = [f"c{i}" for i in range(40)]
    curve = tuple(estimate(0.1 * i, 0.1, adjusted_for=tuple(names[: i + 1])) for i in range(40))
    rows, unshown = matrix_rows(specifications(None, None, curve))
    assert len(rows) == MOST_ROWS
    assert unshown == 40 - (MOST_ROWS - 1)


def test_one_wild_interval_does_not_flatten_the_others() -> None:
    tame = [estimate(0.4 + 0.01 * i, 0.05) for i in range(9)]
    wild = replace(estimate(0.405, 0.05), ci=Interval(-900.0, 1200.0))
    low, high = value_limits(specifications(tame[0], None, (*tame[1:], wild)))
    assert -2 < low <= 0
    assert 0.48 < high < 2


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0.001, 1e6)), min_size=1, max_size=12))
def test_the_scale_always_shows_the_primary_interval(pairs: list[tuple[float, float]]) -> None:
    estimates = [estimate(value, se) for value, se in pairs]
    low, high = value_limits(specifications(estimates[0], None, tuple(estimates[1:])))
    assert low <= estimates[0].ci.lower <= estimates[0].ci.upper <= high


def test_balance_is_sorted_by_size_whatever_the_sign() -> None:
    rows = [BalanceRow("a", 0.1, None), BalanceRow("b", -0.5, None), BalanceRow("c", math.nan, None)]
    assert [row.covariate for row in sorted_balance(rows)] == ["b", "a"]


def test_leads_stand_before_lags_and_failed_ones_are_told_apart() -> None:
    panel = association_only().panel
    assert panel is not None
    assert [(when, kind) for when, _, _, kind in timed_effects(panel)] == [
        (-2, "lead"), (-1, "failed lead"), (0, "lag"), (1, "lag"), (2, "lag"),
    ]  # fmt: skip
    signed = replace(panel, leads=(LeadTest(-1, 0.1, 0.1, 0.3, True, 0.5),))
    assert timed_effects(signed)[0][0] == -1


def test_every_node_has_the_role_the_identification_gave_it() -> None:
    sample = supported()
    roles = node_roles(sample.identification, sample.treatment, sample.outcome)
    assert {name: roles[name] for name in ("calls", "nrx", "prior_trx", "samples_left", "rep_access", "payer_mix")} == {
        "calls": "treatment", "nrx": "outcome", "prior_trx": "adjusted for", "samples_left": "mediator",
        "rep_access": "instrument", "payer_mix": "not used",
    }  # fmt: skip
    assert roles["territory_potential"] == "unmeasured"


@pytest.mark.parametrize(
    ("edges", "drawable"),
    [((("a", "b"),), True), ((), False), ((("a", "b"), ("b", "a")), False), ((("a", "a"),), False)],
)
def test_only_graphs_without_circles_are_drawn(edges: tuple[tuple[str, str], ...], drawable: bool) -> None:
    assert is_drawable(replace(supported().identification, edges=edges)) is drawable


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    size = draw(st.integers(2, 30))
    nodes = [f"n{i}" for i in range(size)]
    pairs = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda pair: pair[0] < pair[1])
    return nodes, [(nodes[a], nodes[b]) for a, b in draw(st.lists(pairs, min_size=1, max_size=60, unique=True))]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(dags())
def test_nodes_never_overlap_and_edges_run_forward_around_them(dag: tuple[list[str], list[tuple[str, str]]]) -> None:
    nodes, edges = dag
    layout = layered_layout(nodes, edges)
    assert set(layout.positions) == set(nodes)
    spots = [tuple(np.round(place, 6)) for place in layout.positions.values()]
    assert len(set(spots)) == len(nodes)
    for (start, end), route in layout.routes.items():
        assert (route[0], route[-1]) == (layout.positions[start], layout.positions[end])
        assert [x for x, _ in route] == list(range(int(route[0][0]), int(route[-1][0]) + 1))
        assert not set(route[1:-1]) & set(layout.positions.values())


def test_layers_agree_with_networkx_generations_for_all_but_sources() -> None:
    how = crowded().identification
    layout = layered_layout(how.nodes, how.edges)
    graph = nx.DiGraph(list(how.edges))
    for generation, members in enumerate(nx.topological_generations(graph)):
        for name in members:
            assert layout.positions[name][0] == generation or graph.in_degree(name) == 0


@given(st.text(alphabet="abc_. ", min_size=1, max_size=80))
def test_node_names_take_at_most_two_short_lines(name: str) -> None:
    lines = wrap_name(name)
    assert len(lines) <= 2
    assert max(map(len, lines)) <= 22
