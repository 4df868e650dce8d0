"""Is the cost of a model call right, and absent where it is not known?"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.domain.prices import ModelPrice, PriceTable

TABLE = PriceTable(
    as_of=date(2026, 10, 7),
    models={
        "plain": ModelPrice(input=2.0, output=10.0),
        "cached": ModelPrice(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5),
        "banded": ModelPrice(input=0.1, output=0.5, max_prompt_tokens=1000),
        "free": ModelPrice(input=0, output=0, cache_read=0),
    },
)
tokens = st.integers(0, 10_000_000)


@pytest.mark.parametrize(
    ("model", "input_tokens", "output_tokens", "cache", "dollars"),
    [
        ("plain", 1_000_000, 0, {}, 2.0),
        ("plain", 0, 1_000_000, {}, 10.0),
        ("plain", 1200, 300, {}, 0.0054),
        ("plain", 0, 0, {}, 0.0),
        ("plain", 0, 0, {"cache_read_tokens": 1_000_000}, 2.0),
        ("cached", 0, 0, {"cache_read_tokens": 1_000_000}, 0.2),
        ("cached", 0, 0, {"cache_write_tokens": 1_000_000}, 2.5),
        ("cached", 1000, 100, {"cache_read_tokens": 5000, "cache_write_tokens": 2000}, 0.009),
        ("free", 10_000, 10_000, {"cache_read_tokens": 10_000}, 0.0),
    ],
)
def test_cost_is_tokens_times_price(
    model: str, input_tokens: int, output_tokens: int, cache: dict[str, int], dollars: float
) -> None:
    assert TABLE.cost(model, input_tokens, output_tokens, **cache) == pytest.approx(dollars)


@given(tokens, tokens, tokens, tokens)
def test_cost_agrees_with_decimal_arithmetic(new: int, out: int, read: int, write: int) -> None:
    exact = (new * Decimal("2.0") + out * Decimal("10.0") + read * Decimal("0.2") + write * Decimal("2.5")) / 10**6
    cost = TABLE.cost("cached", new, out, cache_read_tokens=read, cache_write_tokens=write)
    assert cost == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("model", ["", "Plain", "plain-20261007", "gpt-99"])
def test_an_unknown_model_has_no_cost_rather_than_zero(model: str) -> None:
    assert TABLE.cost(model, 100, 100) is None


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        ((1000, 0, 0), True),
        ((1001, 0, 0), False),
        ((400, 300, 300), True),
        ((400, 300, 301), False),
        ((0, 1001, 0), False),
    ],
)
def test_a_prompt_beyond_the_band_of_its_price_has_no_cost(prompt: tuple[int, int, int], known: bool) -> None:
    new, read, write = prompt
    cost = TABLE.cost("banded", new, 5_000, cache_read_tokens=read, cache_write_tokens=write)
    assert (cost is not None) is known


@pytest.mark.parametrize(
    "price",
    [
        {"input": -1, "output": 1},
        {"input": 1},
        {"input": 1, "output": float("nan")},
        {"input": float("inf"), "output": 1},
        {"input": 1, "output": 1, "cache_read": -0.1},
        {"input": 1, "output": 1, "max_prompt_tokens": 0},
        {"input": 1, "output": 1, "outptu": 1},
    ],
)
def test_a_price_that_makes_no_sense_is_refused(price: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelPrice(**price)


@pytest.mark.parametrize("as_of", [None, "last autumn", "2026-13-01"])
def test_prices_without_a_date_are_refused(as_of: Any) -> None:
    with pytest.raises(ValidationError, match="as_of"):
        PriceTable.model_validate({"models": {}} | ({} if as_of is None else {"as_of": as_of}))


@pytest.mark.parametrize("named", ["mine,other", " other , mine ", ["mine", "other"]])
def test_a_model_of_ones_own_costs_nothing_and_others_stay_unknown(named: object) -> None:
    prices = PriceTable.model_validate({"as_of": "2026-01-01", "models": {}, "own": named})
    assert prices.cost("mine", 1000, 1000) == 0.0
    assert prices.cost("another", 1000, 1000) is None


def test_a_listed_price_holds_also_for_a_model_named_as_ones_own() -> None:
    prices = PriceTable.model_validate(
        {"as_of": "2026-01-01", "models": {"gpt": {"input": 1, "output": 2}}, "own": "gpt"}
    )
    assert prices.cost("gpt", 1_000_000, 0) == 1.0
