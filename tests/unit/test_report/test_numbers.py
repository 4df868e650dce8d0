"""Numbers are written for readers: three digits, true minus, never a bare nan."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.app.report.numbers import columns, controls, interval, number, p_value, percent, shorten, units_of
from src.causal_engine.results import Interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"), (0.14, "0.140"), (0.0755, "0.0755"), (-0.18, "−0.180"), (12.345, "12.3"), (999.7, "1,000"),
        (1794.2, "1,794"), (-8_123_456.0, "−8,123,456"), (0.00001234, "1.23 × 10^−5"), (3.2e14, "3.20 × 10^14"),
        (math.nan, "not available"), (None, "not available"), (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_and_a_true_minus(value: float | None, written: str) -> None:
    assert number(value) == written


@given(st.floats(1e-4, 999, allow_nan=False))
def test_written_numbers_are_right_to_three_digits(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(float(f"{value:.3g}"), rel=1e-9)


@pytest.mark.parametrize(("p", "written"), [(0.00001, "<\u00a00.001"), (0.0312, "0.031"), (math.nan, "not available")])
def test_small_p_values_are_not_written_as_zero(p: float, written: str) -> None:
    assert p_value(p) == written


def test_intervals_and_shares() -> None:
    assert interval(Interval(-0.12, 0.48)) == "−0.120 to 0.480"
    assert percent(0.1234) == "12.3 %"
    assert percent(None) == "not available"


@given(st.text(alphabet="abc_ ", max_size=90), st.integers(8, 60))
def test_shortened_names_keep_both_ends_and_fit(name: str, width: int) -> None:
    short = shorten(name, width)
    plain = " ".join(name.split())
    assert len(short) <= width
    assert short == plain or (plain.startswith(short.split("…")[0]) and plain.endswith(short.split("…")[1]))


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ((), "nothing"),
        (("a", "b"), "a, b"),
        (tuple("abcdefgh"), "as primary"),
        (tuple("abcdefg"), "as primary without h"),
        (tuple("abcdefgx"), "as primary without h and x"),
        (tuple("stuvwxyz"), "s, t, u and 5 more"),
    ],
)
def test_long_control_lists_are_told_by_their_difference_from_the_primary(names: tuple[str, ...], written: str) -> None:
    assert controls(names, tuple("abcdefgh")) == written


def test_column_lists_are_cut_only_when_asked() -> None:
    assert columns(("a", "b", "c"), most=2) == "a, b and 1 more"
    assert columns(("a", "b", "c")) == "a, b, c"


@pytest.mark.parametrize(
    ("understood", "two_arms", "units"),
    [
        ({"units": "NRx per call"}, False, "NRx per call"),
        ({}, False, "NRx per additional unit of calls"),
        ({"units": ""}, True, "NRx, with versus without calls"),
    ],
)
def test_units_are_as_stated_or_from_the_columns(understood: dict[str, str], two_arms: bool, units: str) -> None:
    assert units_of(understood, "calls", "nrx", two_arms=two_arms) == units
