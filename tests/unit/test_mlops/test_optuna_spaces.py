"""Are search spaces checked, and do values that come from elsewhere end up inside them?"""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.errors import HPOError
from src.mlops.optuna.spaces import ParameterSpace, checked_space, clip_to_space, default_point, plain_space
from src.mlops.optuna_optimizer import OptunaOptimizer

SPACE: dict[str, dict[str, Any]] = {
    "rate": {"type": "float", "low": 0.01, "high": 1.0, "log": True},
    "share": {"type": "float", "low": 0.1, "high": 0.95, "step": 0.2},
    "depth": {"type": "int", "low": 2, "high": 9, "step": 3},
    "leaves": {"type": "int", "low": 4, "high": 64, "log": True},
    "kind": {"type": "categorical", "choices": ["a", 1, True, None]},
}


@given(st.integers(0, 2**31))
def test_suggestions_lie_in_the_space_and_are_left_as_they_are_by_clipping(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    params = OptunaOptimizer.suggest_from_search_space(study.ask(), SPACE)
    assert set(params) == set(SPACE)
    assert 0.01 <= params["rate"] <= 1.0
    assert min(abs(params["share"] - value) for value in (0.1, 0.3, 0.5, 0.7, 0.9)) < 1e-9
    assert params["depth"] in (2, 5, 8)
    assert clip_to_space(params, SPACE) == pytest.approx({**params})


@given(st.floats() | st.integers() | st.text() | st.none() | st.booleans())
def test_whatever_comes_from_elsewhere_is_accepted_by_the_sampler_after_clipping(value: Any) -> None:
    params = clip_to_space(dict.fromkeys(SPACE, value), SPACE)
    study = optuna.create_study()
    study.enqueue_trial(params)
    # A value outside its range would be a warning, and so an error here.
    suggested = OptunaOptimizer.suggest_from_search_space(study.ask(), SPACE)
    assert {name: suggested[name] for name in params} == params
    assert all(not isinstance(item, float) or math.isfinite(item) for item in params.values())


@given(
    st.integers(-(10**9), 10**9).map(lambda n: n / 1000) | st.integers(-50, 50) | st.sampled_from([0.1, 0.01]),
    st.integers(0, 10**6).map(lambda n: n / 1000) | st.integers(0, 60),
    st.integers(1, 50_000).map(lambda n: n / 1000) | st.sampled_from([0.1, 0.2, 0.3, 0.05, 1, 7, 1e-4]),
    st.floats(allow_nan=False),
)
def test_every_value_of_a_grid_can_be_drawn(low: float, width: float, step: float, value: float) -> None:
    raw = {"type": "float", "low": low, "high": low + width, "step": step}
    assume(step >= 1e-7 * max(abs(low), abs(low + width)))
    space = checked_space({"x": raw})["x"]
    least, most = space.bounds
    assert least == low
    assert least <= most <= low + width
    assert low + width - most < step * (1 + 1e-6)
    for wanted in (least, most, space.nearest(value), space.middle):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial({"x": wanted})
        # A value outside its range would be a warning, and so an error here.
        assert space.suggest(study.ask(), "x") == wanted
        assert least <= wanted <= most
        assert least <= space.suggest(study.ask(), "x") <= most


@pytest.mark.parametrize(
    ("low", "high", "step", "most"), [(0.0, 0.3, 0.1, 0.3), (0.1, 0.7, 0.2, 0.7), (0.0, 1.0, 0.3, 0.9), (0, 2, 5, 0.0)]
)
def test_the_highest_value_is_the_last_that_the_step_reaches(low: float, high: float, step: float, most: float) -> None:
    space = {"x": {"type": "float", "low": low, "high": high, "step": step}}
    assert clip_to_space({"x": 99}, space) == {"x": most}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rate", 7.0, 1.0),
        ("rate", 0, 0.01),
        ("share", 0.58, 0.5),
        ("share", 2.0, 0.9),
        ("depth", 9, 8),
        ("depth", 3.4, 2),
        ("leaves", 1e9, 64),
        ("kind", 1, 1),
        ("kind", True, True),
    ],
)
def test_a_number_moves_to_the_nearest_allowed_one(name: str, value: Any, expected: Any) -> None:
    clipped = clip_to_space({name: value}, SPACE)[name]
    assert clipped == pytest.approx(expected)
    assert type(clipped) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"), [("rate", "fast"), ("rate", math.nan), ("depth", True), ("kind", 1.0), ("other", 1)]
)
def test_what_has_no_like_in_the_space_is_left_to_the_sampler(name: str, value: Any) -> None:
    assert clip_to_space({name: value}, SPACE) == {}


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ({}, "type: Field required"),
        ({"type": "real"}, "type: Input should be 'int', 'float' or 'categorical'"),
        ({"type": "float", "low": 0.0}, "float needs low and high"),
        ({"type": "int", "low": 1, "high": 2.5}, "int needs whole numbers"),
        ({"type": "int", "low": 1, "high": 5, "step": 0}, "step: Input should be greater than 0"),
        ({"type": "float", "low": 1, "high": 5, "step": 1, "log": True}, "log and step exclude each other"),
        ({"type": "float", "low": 1e9, "high": 2e9, "step": 0.1}, "step 0.1 is too fine between 1e+09 and 2e+09"),
        ({"type": "float", "low": 1 / 3, "high": 3.0, "step": 1}, "low 0.3333333333333333 and step 1.0 have too many"),
        ({"type": "float", "low": float("nan"), "high": 5}, "low: Input should be a finite number"),
        ({"type": "categorical"}, "categorical needs choices"),
        ({"type": "categorical", "choices": [1], "low": 1}, "categorical takes choices only"),
        ({"type": "int", "choices": [1, 2]}, "int takes low and high, not choices"),
    ],
)
def test_a_bad_definition_is_refused_by_parameter_and_reason(definition: dict[str, Any], problem: str) -> None:
    with pytest.raises(HPOError) as caught:
        checked_space({"good": SPACE["rate"], "bad": definition})
    assert str(caught.value).startswith(f"search space, parameter 'bad': {problem}")


def test_the_default_point_is_the_middle_of_each_range() -> None:
    assert default_point(SPACE) == pytest.approx({"rate": 0.1, "share": 0.5, "depth": 5, "leaves": 16, "kind": "a"})


def test_a_space_survives_json() -> None:
    plain = plain_space(checked_space(SPACE))
    assert plain["kind"] == {"type": "categorical", "choices": ["a", 1, True, None]}
    assert checked_space(plain) == {name: ParameterSpace(**definition) for name, definition in SPACE.items()}
