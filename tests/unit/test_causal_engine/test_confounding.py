"""A measured common cause that is left out is found; anything else stays unmentioned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.diagnostics.confounding import confounding_findings
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import Study, prepare_study
from src.errors import StudyInvalid


def frame_of(n: int = 3_000, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    severity, mover, only_outcome = rng.normal(size=(3, n))
    region = rng.choice(["north", "south", "west"], n)
    push = 0.8 * severity + 0.8 * mover + 0.9 * (region == "north")
    treatment = (rng.random(n) < 1 / (1 + np.exp(-push))).astype(float)
    outcome = treatment + severity + only_outcome + 0.8 * (region == "north") + rng.normal(size=n)
    return pd.DataFrame(
        {
            "t": treatment,
            "y": outcome,
            "severity": severity,
            "mover": mover,
            "only_outcome": only_outcome,
            "region": region,
            "noise": rng.normal(size=n),
            "row_id": np.arange(n),
            "name": [f"hcp_{i}" for i in range(n)],
            "day": pd.date_range("2024-01-01", periods=n, tz="UTC"),
            "constant": 1.0,
            "codes": [["C50", "Z17"], ["C50"]] * (n // 2),
        }
    )


def found(frame: pd.DataFrame, excluded: tuple[str, ...] = (), **roles: Any) -> list[str]:
    study = prepare_study(frame, CausalSpec("t", "y", **roles))
    return [finding.column for finding in confounding_findings(frame, study, excluded)]


def test_left_out_common_causes_are_named_and_nothing_else() -> None:
    assert sorted(found(frame_of())) == ["region", "severity"]


@pytest.mark.parametrize(
    ("roles", "left"),
    [
        ({"confounders": ("severity", "region")}, []),
        ({"confounders": ("severity",)}, ["region"]),
        ({"effect_modifiers": ("severity", "region")}, []),
        ({"negative_controls": ("mover",)}, ["severity", "region"]),
        ({"randomized": True}, []),
        ({"instruments": ("mover",)}, []),
    ],
)
def test_columns_with_a_role_are_not_reported(roles: dict[str, Any], left: list[str]) -> None:
    assert found(frame_of(), **roles) == left


def test_one_of_two_near_copies_is_named() -> None:
    rng = np.random.default_rng(3)
    frame = frame_of().assign(score=lambda data: data.severity + 0.01 * rng.normal(size=len(data)))
    assert len({"severity", "score"} & set(found(frame))) == 1


def test_excluded_columns_are_not_reported() -> None:
    assert found(frame_of(), ("severity", "region", "mover")) == []


def test_difference_is_standardised_and_sorted() -> None:
    frame = frame_of()
    study = prepare_study(frame, CausalSpec("t", "y"))
    findings = confounding_findings(frame, study, ())
    treated, control = (frame.loc[frame.t == arm, "severity"] for arm in (1, 0))
    expected = (treated.mean() - control.mean()) / np.sqrt((treated.var() + control.var()) / 2)
    assert findings[0].column == "severity"
    assert findings[0].smd == pytest.approx(expected)
    assert findings[0].p_value < 1e-10
    assert [abs(one.smd) for one in findings] == sorted((abs(one.smd) for one in findings), reverse=True)


def test_continuous_treatment_uses_the_correlation() -> None:
    rng = np.random.default_rng(2)
    left_out = rng.normal(size=2_000)
    dose = left_out + rng.normal(size=2_000)
    frame = pd.DataFrame({"t": dose, "y": dose + left_out + rng.normal(size=2_000), "left_out": left_out})
    study = prepare_study(frame, CausalSpec("t", "y"))
    (finding,) = confounding_findings(frame, study, ())
    assert finding.smd == pytest.approx(np.corrcoef(dose, left_out)[0, 1])


def test_copy_of_an_adjusted_column_adds_nothing() -> None:
    frame = frame_of().assign(copy=lambda data: 2 * data.severity + 3)
    assert "copy" not in found(frame, confounders=("severity", "region"))


def test_panel_is_compared_within_units() -> None:
    rng = np.random.default_rng(4)
    units, periods = 150, 12
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    n = len(unit)
    fixed = np.repeat(rng.normal(size=units), periods)
    moving, season = rng.normal(size=n), np.sin(month)
    dose = fixed + moving + season + rng.normal(size=n)
    frame = pd.DataFrame({"t": dose, "y": dose + 2 * fixed + moving + season + rng.normal(size=n)})
    frame = frame.assign(u=unit, m=month, fixed=fixed, moving=moving, season=season)
    assert found(frame, unit_key="u", time_key="m") == ["moving"]


def test_two_arms_are_matched_to_the_rows_of_the_study() -> None:
    frame = frame_of()
    frame["t"] = np.where(frame.t == 1, "email", np.where(np.arange(len(frame)) % 5 == 0, "call", "none"))
    study = prepare_study(frame, CausalSpec("t", "y", treated_value="email", control_value="none"))
    assert "severity" in [one.column for one in confounding_findings(frame, study, ())]


def test_another_frame_is_refused() -> None:
    frame = frame_of()
    study: Study = prepare_study(frame, CausalSpec("t", "y"))
    with pytest.raises(StudyInvalid, match="rows"):
        confounding_findings(frame.head(100), study, ())


def test_noise_columns_stay_silent() -> None:
    frame = frame_of(1_000, seed=9)[["t", "y", "severity", "region"]]
    noise = np.random.default_rng(0).normal(size=(len(frame), 50))
    frame = frame.assign(**{f"noise_{i}": noise[:, i] for i in range(50)})
    assert found(frame, confounders=("severity", "region")) == []
