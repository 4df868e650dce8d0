"""Which segments are reported beside an average effect, and does what is left out stay unknown?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.estimators.segments import segment_effects
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import prepare_study


def drawn(sizes: dict[str, int], *, continuous: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = sum(sizes.values())
    x = rng.normal(size=n)
    t = rng.normal(size=n) if continuous else (np.arange(n) % 2).astype(float)
    group = np.repeat(list(sizes), list(sizes.values()))
    return pd.DataFrame({"x": x, "t": t, "group": group, "y": x + t + rng.normal(size=n)})


def shown(frame: pd.DataFrame, estimator: str = "aipw") -> list[str]:
    study = prepare_study(frame, CausalSpec("t", "y", ("x",), effect_modifiers=("group",)))
    return [one.segment for one in fit_estimator(estimator, study).estimate.segments]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": 100, "b": 80, "c": 90}, ["a", "b", "c"]),
        ({"a": 100, "b": 80, "c": 8}, ["a"]),  # 8 = total − 100 − 80
        ({"a": 100, "b": 80, "c": 18}, ["a"]),  # 9 of either arm
        ({"a": 100, "b": 80, "c": 8, "d": 6}, ["a", "b"]),
        ({"a": 100, "b": 80, "c": 26}, ["a", "b"]),  # too few to estimate, not too few to be known
    ],
)
def test_no_small_group_follows_from_the_total_and_the_segments_shown(
    sizes: dict[str, int], expected: list[str]
) -> None:
    assert shown(drawn(sizes)) == expected


def test_a_continuous_treatment_has_no_arms_that_could_be_small() -> None:
    study = prepare_study(
        drawn({"a": 100, "b": 80}, continuous=True), CausalSpec("t", "y", ("x",), effect_modifiers=("group",))
    )
    found = segment_effects(study, study.t * (study.y - study.x[:, 0]), study.t**2)
    assert [one.segment for one in found] == ["a", "b"]
    assert [one.value for one in found] == pytest.approx([1.0, 1.0], abs=0.4)
