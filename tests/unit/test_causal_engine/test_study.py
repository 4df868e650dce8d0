"""A frame that cannot carry its question is refused, one that can is taken as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.diagnostics.randomization import randomization_p_value
from src.causal_engine.spec import CausalSpec, OutcomeKind, TreatmentKind
from src.causal_engine.study import prepare_study
from src.errors import E2IError, StudyInvalid, TooFewRows, UnknownColumn

N = 200


def frame(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    plain = {"t": rng.integers(0, 2, N), "y": rng.normal(size=N), "x": rng.normal(size=N)}
    return pd.DataFrame({**plain, **columns})


NAMES = [f"Dr Person {number}" for number in range(N)]


@pytest.mark.parametrize(
    ("data", "spec"),
    [
        (frame(t=NAMES), CausalSpec("t", "y")),
        (frame(y=NAMES), CausalSpec("t", "y")),
        (frame(t=NAMES), CausalSpec("t", "y", treated_value="x", control_value="z")),
        (frame(u=["Dr Person 1"] * N, m=1), CausalSpec("t", "y", unit_key="u", time_key="m")),
        (frame(t=["Dr Person 1", "Dr Person 2"] * 100), CausalSpec("t", "y", cluster_key="t")),
        (frame(last_name=["Dr Person 1", "Dr Person 2"] * 100), CausalSpec("last_name", "y")),
    ],
    ids=["treatment", "outcome", "arms", "panel", "cluster", "personal column"],
)
def test_a_refusal_repeats_no_value_of_a_single_person(data: pd.DataFrame, spec: CausalSpec) -> None:
    with pytest.raises(StudyInvalid) as refused:
        prepare_study(data, spec)
    assert "Person" not in str(refused.value)


def test_a_refusal_names_the_groups_there_are() -> None:
    with pytest.raises(StudyInvalid, match=r"text with 3 values \('a', 'b'\)"):
        prepare_study(frame(t=["a", "b"] * 98 + ["rare"] * 4), CausalSpec("t", "y"))


def with_holes(values: np.ndarray, fill: float) -> np.ndarray:
    return np.where(np.arange(N) % 10 == 0, fill, values)


SPEC = CausalSpec("t", "y", confounders=("x",))


def test_a_sound_frame_becomes_a_study_with_its_kinds() -> None:
    study = prepare_study(frame(), SPEC)
    assert (study.treatment_kind, study.outcome_kind, study.n) == (TreatmentKind.BINARY, OutcomeKind.CONTINUOUS, N)
    assert study.warnings == ()


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (frame(t=1), StudyInvalid, "constant"),
        (frame(t=["a", "b", "c", "d"] * 50), StudyInvalid, "--treated VALUE"),
        (frame(y=["low", "high"] * 100), StudyInvalid, "not numeric"),
        (frame(y=with_holes(np.arange(N) / N, np.nan)), StudyInvalid, "missing in 20 rows"),
        (frame(y=with_holes(np.arange(N) / N, -999)), StudyInvalid, "-999 in 20 rows"),
        (frame(x=with_holes(np.arange(N) / N, -999)), StudyInvalid, "stand for 'missing'"),
        (frame(y=2.0), StudyInvalid, "constant"),
        (frame(x=[f"level {i}" for i in range(N)]), StudyInvalid, "different text values"),
        (frame().drop(columns="x"), UnknownColumn, "confounder 'x'"),
        (frame().head(0), TooFewRows, "no rows"),
        (frame().head(40), TooFewRows, "at least 30"),
    ],
)
def test_an_unsound_frame_is_refused_in_one_line(data: pd.DataFrame, error: type[E2IError], said: str) -> None:
    with pytest.raises(error) as refused:
        prepare_study(data, SPEC).design  # noqa: B018 - encoding is part of the check
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_value_of_minus_999_among_others_like_it_is_a_value() -> None:
    prepare_study(frame(x=np.linspace(-2_000, 2_000, N).round() * 0 + np.linspace(-1_050, -950, N).round()), SPEC)


def test_missing_confounder_values_are_told_and_marked() -> None:
    study = prepare_study(frame(x=with_holes(np.arange(N) / N, np.nan)), SPEC)
    assert study.design[1] == ("x?missing", "x")
    assert "missing in 20 of 200 rows" in study.warnings[0]


@pytest.mark.parametrize(("strength", "balanced"), [(0.0, True), (1.0, False)])
def test_random_assignment_is_told_from_assignment_by_a_covariate(strength: float, balanced: bool) -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=N)
    assigned = (rng.uniform(size=N) < 1 / (1 + np.exp(-strength * x))).astype(int)
    chance = randomization_p_value(prepare_study(frame(t=assigned, x=x), SPEC))
    assert chance is not None
    assert (chance > 0.001) is balanced


def test_the_randomization_test_holds_its_level() -> None:
    rng = np.random.default_rng(3)
    chances = [
        randomization_p_value(prepare_study(frame(t=rng.integers(0, 2, N), x=rng.normal(size=N)), SPEC))
        for _ in range(400)
    ]
    assert 0.02 <= np.mean([chance < 0.05 for chance in chances if chance is not None]) <= 0.085
