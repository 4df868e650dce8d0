"""Are units assigned in blocks, by chance, the same each time, and alike where that is asked for?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.experiment.assignment import CONTROL, Assignment, Rerandomisation, assign
from src.causal_engine.experiment.from_data import variation_of
from src.causal_engine.spec import OutcomeKind
from src.errors import E2IError, StudyInvalid, TooFewRows, UnknownColumn


@pytest.fixture(scope="module")
def hcps() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 301
    return pd.DataFrame(
        {
            "hcp_id": [f"h{i:04d}" for i in range(n)],
            "specialty": rng.choice(["onc", "heme", "derm"], n, p=[0.6, 0.3, 0.1]),
            "decile": rng.integers(1, 6, n),
            "prior": rng.gamma(2, 3, n),
            "size": rng.normal(size=n),
        }
    )


def shares(drawn: Assignment) -> pd.DataFrame:
    return pd.crosstab(pd.Series(drawn.strata), pd.Series(drawn.arms))


@pytest.mark.parametrize("treated", [(0.5,), (0.9,), (0.25, 0.25), (1 / 3, 1 / 3)])
def test_each_stratum_and_the_whole_get_their_shares(hcps: pd.DataFrame, treated: tuple[float, ...]) -> None:
    drawn = assign(hcps, "hcp_id", strata=("specialty", "decile"), shares=treated)
    table, parts = shares(drawn), {CONTROL: 1 - sum(treated)}
    parts |= dict(zip([arm for arm in table.columns if arm != CONTROL], treated, strict=True))
    for arm, part in parts.items():
        apart = table[arm] - part * table.sum(axis=1)
        assert apart.abs().max() < len(parts)
        assert abs(drawn.units_per_arm[arm] - part * len(hcps)) <= 1


def test_the_same_seed_assigns_the_same_whatever_the_order_of_the_rows(hcps: pd.DataFrame) -> None:
    one = assign(hcps, "hcp_id", strata=("specialty",), random_state=5)
    shuffled = assign(hcps.sample(frac=1, random_state=1), "hcp_id", strata=("specialty",), random_state=5)
    assert (one.units, one.arms) == (shuffled.units, shuffled.arms)
    assert one.arms != assign(hcps, "hcp_id", strata=("specialty",), random_state=6).arms


def test_every_unit_is_treated_as_often_as_its_share_says(hcps: pd.DataFrame) -> None:
    few = hcps.head(21)
    drawn = [assign(few, "hcp_id", strata=("decile",), shares=(1 / 3,), random_state=seed).arms for seed in range(150)]
    often = np.mean([[arm != CONTROL for arm in arms] for arms in drawn], axis=0)
    assert np.abs(often - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 150)


def test_drawing_again_makes_the_arms_more_alike(hcps: pd.DataFrame) -> None:
    again = Rerandomisation(("prior", "size"), 0.05)
    plain, chosen = [], []
    for seed in range(20):
        plain += [
            row.smd_raw for _, row in assign(hcps, "hcp_id", balance=("prior", "size"), random_state=seed).balance
        ]
        done = assign(hcps, "hcp_id", again=again, random_state=seed)
        chosen += [row.smd_raw for _, row in done.balance]
        assert done.distance is not None
        assert done.distance <= 0.103
    assert np.std(chosen) < 0.4 * np.std(plain)


def test_a_column_that_says_the_same_as_another_counts_once(hcps: pd.DataFrame) -> None:
    twice = hcps.assign(again=2 * hcps.prior + 1)
    one = assign(twice, "hcp_id", again=Rerandomisation(("prior",), 0.05))
    both = assign(twice, "hcp_id", again=Rerandomisation(("prior", "again"), 0.05))
    assert (one.arms, one.draws) == (both.arms, both.draws)


def test_strata_of_which_the_names_run_together_stay_apart() -> None:
    frame = pd.DataFrame({"id": range(80), "a": ["x | y", "x"] * 40, "b": ["z", "y | z"] * 40})
    drawn = assign(frame, "id", strata=("a", "b"))
    treated = pd.Series(drawn.arms, index=drawn.units) != CONTROL
    assert treated.groupby([int(unit) % 2 for unit in drawn.units]).sum().tolist() == [20, 20]


def test_a_panel_is_assigned_by_unit(hcps: pd.DataFrame) -> None:
    panel = pd.concat([hcps.assign(month=month) for month in range(3)])
    drawn = assign(panel, "hcp_id", strata=("specialty",), balance=("prior",))
    assert len(drawn.units) == len(hcps)
    assert list(drawn.frame("hcp_id").columns) == ["hcp_id", "arm", "stratum"]


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        ({}, {"strata": ("region",)}, UnknownColumn, "'region' is not in the data"),
        ({"specialty": None}, {"strata": ("specialty",)}, StudyInvalid, "is missing for some"),
        ({}, {"balance": ("specialty",)}, StudyInvalid, "is no number"),
        ({}, {"shares": (0.6, 0.4)}, StudyInvalid, "leave something for control"),
        ({"hcp_id": "one"}, {"strata": ("decile",)}, StudyInvalid, "changes within"),
        ({"hcp_id": "one"}, {}, TooFewRows, "do not fill"),
        ({}, {"shares": (float("nan"),)}, StudyInvalid, "leave something for control"),
        ({}, {"again": Rerandomisation((), 0.1)}, StudyInvalid, "needs columns"),
        ({}, {"again": Rerandomisation(("prior",), 1e-9)}, StudyInvalid, "a share of 0.001 to 1"),
        ({"prior": 1.0}, {"again": Rerandomisation(("prior",), 0.1)}, StudyInvalid, "none of the columns"),
        ({}, {"again": Rerandomisation(("prior",), 0.1), "shares": (0.001,)}, TooFewRows, "do not fill"),
        ({"hcp_id": [None, *range(300)]}, {}, StudyInvalid, "'hcp_id' is missing in some rows"),
    ],
)
def test_what_cannot_be_assigned_is_refused(
    hcps: pd.DataFrame, change: dict[str, object], options: dict[str, object], error: type[E2IError], said: str
) -> None:
    with pytest.raises(error, match=said):
        assign(hcps.assign(**change), "hcp_id", **options)  # type: ignore[arg-type]


def rows(rng: np.random.Generator, icc: float, rho: float) -> pd.DataFrame:
    """40 territories of 4 to 12 prescribers over 8 months: territory share ``icc`` of unit means, AR(1) ``rho``."""
    sizes = rng.integers(4, 13, 40)
    territory = np.repeat(np.arange(40), sizes)
    n = len(territory)
    level = rng.normal(scale=np.sqrt(icc), size=40)[territory] + rng.normal(scale=np.sqrt(1 - icc), size=n)
    noise = np.empty((n, 8))
    noise[:, 0] = rng.normal(size=n)
    for month in range(1, 8):
        noise[:, month] = rho * noise[:, month - 1] + np.sqrt(1 - rho**2) * rng.normal(size=n)
    wide = pd.DataFrame(10 + level[:, None] * 1e-9 + noise)
    wide["hcp_id"], wide["territory"], wide["level"] = np.arange(n), territory, level
    return wide.melt(["hcp_id", "territory", "level"], var_name="month", value_name="nrx")


def test_the_variation_of_known_rows_is_found_and_covered() -> None:
    rng, covered = np.random.default_rng(8), []
    for _ in range(40):
        frame = rows(rng, 0.15, 0.5)
        flat = frame[frame.month == 0]
        seen = variation_of(frame, "nrx", unit="hcp_id", time="month")
        clustered = variation_of(flat, "level", unit="hcp_id", cluster="territory", covariate="nrx")
        assert seen.autocorrelation is not None
        assert clustered.icc is not None
        assert clustered.correlation is not None
        ends = (seen.autocorrelation.ci, clustered.icc.ci, seen.sd.ci, clustered.correlation.ci)
        covered.append([ci.covers(true) for ci, true in zip(ends, (0.5, 0.15, 1.0, 0.0), strict=True)])
    assert (np.mean(covered, axis=0) >= 0.85).all()
    assert [one.periods for one in seen.windows] == [1, 2, 3]
    assert clustered.cluster_size == pytest.approx(8, abs=1.5)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.tile([0, 1], 20), OutcomeKind.BINARY),
        (np.tile([0, 1, 2, 5], 10), OutcomeKind.COUNT),
        (np.tile([0.5, 1.0], 20), OutcomeKind.CONTINUOUS),
        (np.tile([0, 1200], 20), OutcomeKind.CONTINUOUS),
    ],
)
def test_the_kind_of_an_outcome_is_read_from_its_values(values: np.ndarray, kind: OutcomeKind) -> None:
    assert variation_of(pd.DataFrame({"y": values}), "y").kind is kind


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        (pd.DataFrame({"y": ["a"] * 20}), {}, "is no number"),
        (pd.DataFrame({"y": [1.0] * 20}), {}, "does not vary"),
        (pd.DataFrame({"y": np.arange(10.0)}), {}, "fewer than 11"),
        (pd.DataFrame({"y": [np.inf, *np.arange(20.0)]}), {}, "is infinite in some rows"),
        (
            pd.DataFrame({"y": np.arange(40.0), "u": np.arange(40) % 20, "g": np.arange(40)}),
            {"unit": "u", "cluster": "g"},
            "two clusters",
        ),
    ],
)
def test_rows_that_tell_nothing_are_refused(frame: pd.DataFrame, options: dict[str, str], said: str) -> None:
    with pytest.raises(E2IError, match=said):
        variation_of(frame, "y", **options)  # type: ignore[arg-type]
