"""gap_calculator: how far, against what, which way round, and what may not be shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.agents.tool_composer.frames import Frames
from src.agents.tool_composer.state import ComposeContext, Scope, ToolOutput
from src.agents.tool_composer.tools.kpi_gaps import adds_up, shortfall_of
from src.agents.tool_composer.tools.registry import tool_named
from src.domain.findings import StatementKind
from src.domain.kpis import UnknownKpi, status
from src.errors import ContractViolation, DataUnavailable, TooFewRows
from tests.unit.test_agents.test_tool_composer.descriptive_rows import (
    KPIS,
    REGIONS,
    figure,
    generated,
    inputs_of,
    kpi_rows,
    panel,
    row,
    run,
    texts,
    unfounded,
)
from tests.unit.test_agents.test_tool_composer.parts import Datasets

STEADY = {"south": [100.0] * 12, "west": [80.0] * 12, "midwest": [60.0] * 12}


def of_region(output: ToolOutput, region: str) -> dict[str, object]:
    return dict(row(output, region=region))


def test_a_gap_is_target_less_value_with_its_share_and_status() -> None:
    output = run("gap_calculator", kpi_rows(STEADY, target=100.0))
    found = [of_region(output, region) for region in ("south", "west", "midwest")]
    assert [one["gap"] for one in found] == [0, 20, 40]
    assert [one["gap_share"] for one in found] == pytest.approx([0.0, 0.2, 0.4])
    assert [one["status"] for one in found] == ["on_target", "warning", "critical"]
    assert [one["region"] for one in output.rows] == ["midwest", "west", "south"]
    assert output.summary.startswith("2 of 3 KPI values miss their target, 2 of them past warning or critical")


def test_a_better_value_makes_the_gap_smaller_by_as_much() -> None:
    better = {**STEADY, "midwest": [85.0] * 12}
    before, after = (
        of_region(run("gap_calculator", kpi_rows(values, target=100.0)), "midwest") for values in (STEADY, better)
    )
    assert before["gap"] - after["gap"] == 25
    assert after["status"] == "warning"


def test_a_thousandfold_kpi_has_a_thousandfold_gap_and_the_same_share_and_status() -> None:
    large = {region: [1000 * value for value in values] for region, values in STEADY.items()}
    small_row, large_row = (
        of_region(run("gap_calculator", kpi_rows(values, target=target)), "midwest")
        for values, target in ((STEADY, 100.0), (large, 100_000.0))
    )
    assert large_row["gap"] == pytest.approx(1000 * small_row["gap"])
    assert (large_row["gap_share"], large_row["status"]) == (small_row["gap_share"], small_row["status"])


@pytest.mark.parametrize(
    ("kpi", "values", "gaps", "statuses"),
    [
        ("DQ7", [40.0, 60.0, 200.0], [-8, 12, 152], ["on_target", "below_target", "critical"]),
        ("MQ6", [1.05, 1.15, 0.60], [-0.05, 0.05, 0.30], ["on_target", "below_target", "critical"]),
        ("BU4", [0.80, 0.65, 0.30], [-0.05, 0.10, 0.45], ["on_target", "below_target", "critical"]),
    ],
)
def test_down_and_band_and_up_are_the_right_way_round(
    kpi: str, values: list[float], gaps: list[float], statuses: list[str]
) -> None:
    by_region = dict(zip(STEADY, ([value] * 6 for value in values), strict=True))
    output = run("gap_calculator", kpi_rows(by_region, kpi))
    found = [of_region(output, region) for region in STEADY]
    assert [one["gap"] for one in found] == pytest.approx(gaps)
    assert [one["status"] for one in found] == statuses
    assert output.rows[0]["region"] == list(STEADY)[2]
    assert of_region(output, list(STEADY)[1])["peer"].lower().endswith(list(STEADY)[0])


@pytest.mark.parametrize("kpi_id", ["BU5", "BU8", "DQ7", "MQ6", "BU10"])
@pytest.mark.parametrize("value", [0.2, 1.02, 60.0])
def test_a_shortfall_is_positive_just_where_the_target_is_missed(kpi_id: str, value: float) -> None:
    missed = shortfall_of(KPIS[kpi_id], value, 1.0)
    assert missed is not None
    assert (missed > 0) == (status(KPIS[kpi_id], value, 1.0) != "on_target")


def test_the_statuses_of_generated_metrics_are_those_of_the_definitions() -> None:
    output = run("gap_calculator", generated().tables["business_metrics"])
    assert {one["kpi"] for one in output.rows} >= {"BU5", "BU6", "BU7"}
    for one in output.rows:
        assert one["status"] == status(KPIS[one["kpi"]], one["value"], one["target"])


def test_without_a_target_only_peers_are_compared_and_that_is_said() -> None:
    output = run("gap_calculator", kpi_rows(STEADY))
    worst = of_region(output, "midwest")
    assert (worst["gap"], worst["target"], worst["status"]) == (None, None, "no_threshold")
    assert (worst["peer"], worst["behind_peer"]) == ("Kisqali in the South", 40)
    assert output.rows[0]["region"] == "midwest"
    assert output.summary.startswith("No target is known; NRx of Kisqali in the Midwest is furthest behind")
    assert "only peers are compared" in texts(output)


def test_amounts_are_compared_with_peers_per_member() -> None:
    output = run("gap_calculator", kpi_rows(STEADY, sample_size={"south": 200, "west": 40, "midwest": 40}))
    # South writes 0.5 per member, West 2.0, Midwest 1.5: South is furthest behind though its sum is the largest.
    assert of_region(output, "south")["peer"] == "Kisqali in the West"
    assert of_region(output, "south")["behind_peer"] == pytest.approx((2.0 - 0.5) * 200)
    assert of_region(output, "west")["behind_peer"] < 0


def test_months_without_a_target_are_held_to_the_proportion_of_the_others() -> None:
    frame = kpi_rows({"south": [100.0, 100.0, 100.0, 50.0, 100.0, 150.0]}, target=120.0)
    frame.loc[5, "target"] = np.nan
    found = run("gap_calculator", frame).rows[0]
    assert found["target"] == pytest.approx(240 * 300 / 150 / 3)


@pytest.mark.parametrize(("step", "said"), [(-3.0, "getting worse"), (3.0, "getting better"), (0.0, "steady")])
def test_the_trend_of_a_gap_is_told(step: float, said: str) -> None:
    noise = [0.1, -0.1, 0.1, -0.1, 0.1, -0.1]
    values = [80 + step * month + shake for month, shake in enumerate(noise)]
    assert run("gap_calculator", kpi_rows({"south": values}, target=100.0)).rows[0]["trend"] == said


def test_a_gap_within_the_variation_between_months_is_said_to_be_so() -> None:
    values = [100 + 30 * (-1) ** month for month in range(12)]
    output = run("gap_calculator", kpi_rows({"south": [float(value) for value in values]}, target=105.0))
    assert output.rows[0]["gap_lower"] < 0 < output.rows[0]["gap_upper"]
    assert "no more than it varies between months" in texts(output)


def test_the_interval_of_a_gap_covers_the_true_one() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        found = run("gap_calculator", kpi_rows({"south": list(rng.normal(90, 10, size=15))}, target=100.0)).rows[0]
        covered += found["gap_lower"] <= 10 <= found["gap_upper"]
    assert 86 <= covered <= 100


def test_the_period_asked_for_is_the_one_judged() -> None:
    frame = kpi_rows({"south": [100.0] * 6 + [50.0] * 6}, target=100.0)
    early, late = (run("gap_calculator", frame, period=period) for period in ("2023-H1", "2023-H2"))
    assert (early.rows[0]["gap"], late.rows[0]["gap"]) == (0, 50)
    with pytest.raises(DataUnavailable, match="2021"):
        run("gap_calculator", frame, period="2021")


def test_small_groups_are_hidden_and_so_is_the_one_that_would_reveal_them() -> None:
    output = run(
        "gap_calculator",
        kpi_rows(STEADY, target=100.0, sample_size={"south": 50, "west": 30, "midwest": 10}),
        level="brand_region",
    )
    assert [one["region"] for one in output.rows if one["suppressed"] is None] == ["south"]
    assert "Midwest" not in texts(output)
    assert "West" not in texts(output)
    assert of_region(output, "midwest")["value"] is None
    with pytest.raises(TooFewRows, match="fewer than 11 members"):
        run("gap_calculator", kpi_rows(STEADY, sample_size=10), level="brand_region")


BRANDS = {
    "Kisqali": {"south": 8, "west": 40},
    "Fabhalta": {"south": 30, "west": 50},
    "Remibrutinib": {"south": 60, "west": 70},
}


def by_brand(sizes: Mapping[str, Mapping[str, int]] = BRANDS) -> pd.DataFrame:
    """KPI values by brand and region, with the regions' totals; each value is its number of members."""
    parts = [
        kpi_rows({region: [float(n)] * 6}, brand=brand, sample_size=n, target=100.0)
        for brand, regions in sizes.items()
        for region, n in regions.items()
    ]
    totals = {region: sum(of_brand[region] for of_brand in sizes.values()) for region in ("south", "west")}
    parts += [
        kpi_rows({region: [float(n)] * 6}, brand=None, sample_size=n, target=500.0) for region, n in totals.items()
    ]
    return pd.concat(parts, ignore_index=True)


async def asked_of(frame: pd.DataFrame, **kept: tuple[str, ...]) -> ToolOutput:
    """The gaps of a question about some of the places, as a composition reads its rows."""
    frames = Frames(Datasets(table__business_metrics=frame), ComposeContext())
    rows = await frames.of("metrics", Scope(tuple(kept.items())))
    return run("gap_calculator", rows.frame, level="brand_region")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"brand": ("Fabhalta", "Remibrutinib")},
        {"brand": ("Fabhalta",)},
        {"brand": ("Fabhalta",), "region": ("south",)},
    ],
)
async def test_asking_for_some_places_shows_none_that_is_hidden_among_all(asked: dict[str, tuple[str, ...]]) -> None:
    whole = await asked_of(by_brand())
    hidden = {(one["brand"], one["region"]) for one in whole.rows if one["suppressed"]}
    assert {("Kisqali", "south"), ("Fabhalta", "south")} <= hidden
    try:
        output = await asked_of(by_brand(), **asked)
    except TooFewRows:
        return
    shown = {(one["brand"], one["region"]) for one in output.rows if one["suppressed"] is None}
    assert shown
    assert not shown & hidden


async def test_a_place_hidden_in_one_month_is_hidden_in_every_period_with_it() -> None:
    frame = by_brand()
    first = frame["metric_date"] == frame["metric_date"].min()
    small = (frame["brand"] == "Kisqali") & (frame["region"] == "south")
    frame.loc[small & ~first, "sample_size"] = 45
    late = run("gap_calculator", frame, level="brand_region", period="last 3 months")
    early = run("gap_calculator", frame, level="brand_region", period="2023-H1")
    assert row(late, brand="Kisqali", region="south")["suppressed"] is None
    assert row(early, brand="Kisqali", region="south")["suppressed"] is not None


async def test_how_many_are_hidden_is_said_with_how_many_are_shown() -> None:
    output = await asked_of(by_brand())
    assert output.summary.startswith("2 of 2 KPI values shown (4 hidden) miss their target")
    assert unfounded(output) == []


def test_the_finest_breakdown_that_may_mostly_be_shown_is_taken() -> None:
    by_place = kpi_rows(STEADY, sample_size=5)
    by_region = kpi_rows(STEADY, sample_size=40).assign(brand=None)
    output = run("gap_calculator", pd.concat([by_place, by_region]))
    assert {one["brand"] for one in output.rows} == {None}
    assert {one["region"] for one in output.rows} == set(STEADY)


@pytest.mark.parametrize("name", ["BU6", "bu6", "NRx", "nrx"])
def test_a_kpi_is_found_by_id_or_name(name: str) -> None:
    rows = pd.concat([kpi_rows(STEADY, "BU5"), kpi_rows(STEADY, "NRx")])
    assert {one["kpi"] for one in run("gap_calculator", rows, kpis=[name]).rows} == {"BU6"}


def test_an_unknown_kpi_is_refused_with_the_nearest_and_a_missing_one_is_said() -> None:
    with pytest.raises(UnknownKpi, match="'NBRx'"):
        run("gap_calculator", kpi_rows(STEADY), kpis=["NBRxx"])
    with pytest.raises(DataUnavailable, match="no values of BU8"):
        run("gap_calculator", kpi_rows(STEADY), kpis=["TRx share"])


def test_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(DataUnavailable, match="no rows of KPI values"):
        run("gap_calculator", panel())
    with pytest.raises(ContractViolation, match="several values for one month"):
        run("gap_calculator", pd.concat([kpi_rows(STEADY), kpi_rows(STEADY)]))


def uncovered(share: float, region: str = "west", units: int = 800) -> pd.DataFrame:
    """The panel where a share of one region's prescribers got no calls in the last three months."""
    frame = panel(units=units, n_months=6).assign(rep_calls=lambda rows: rows["rep_calls"] + 1)
    number = frame["hcp_id"].str[4:].astype(int)
    missed = (frame["region"] == region) & (frame["month"] >= "2023-04-01") & ((number * 7919) % 100 < 100 * share)
    return frame.assign(rep_calls=frame["rep_calls"].mask(missed, 0))


def test_a_region_whose_high_deciles_are_not_reached_is_found() -> None:
    frame = uncovered(0.5)
    output = run("gap_calculator", frame, about="hcp_targeting")
    recent = frame[(frame["month"] >= "2023-04-01") & (frame["decile"] >= 8)]
    calls = recent.groupby(["region", "hcp_id"])["rep_calls"].sum().loc["west"]
    assert row(output, group="west")["share"] == pytest.approx((calls < 1).mean())
    assert any(one.kind is StatementKind.OPPORTUNITY and "missed in west" in one.text for one in output.statements)
    assert figure(output, "high-decile prescribers").value == recent["hcp_id"].nunique()


def test_moving_the_gap_to_another_region_moves_the_answer() -> None:
    outputs = [run("gap_calculator", uncovered(0.5, region), about="hcp_targeting") for region in ("west", "south")]
    assert [output.rows[0]["group"] for output in outputs] == ["west", "south"]


def test_where_all_are_reached_no_region_is_named() -> None:
    output = run("gap_calculator", uncovered(0.0), about="hcp_targeting")
    assert not any(one.kind is StatementKind.OPPORTUNITY for one in output.statements)
    assert output.summary.startswith("0 % (95 % interval 0 to ")


def test_a_handful_not_reached_is_not_counted_out() -> None:
    output = run("gap_calculator", uncovered(0.05), about="hcp_targeting")
    assert output.summary.startswith("How many of ")
    assert output.summary.endswith("is not shown: it would tell of fewer than 11 of them.")
    assert all(one["share"] is None for one in output.rows if one["group"] == "west")
    assert not any(one.name == "share of high-decile prescribers not reached" for one in output.figures)
    assert unfounded(output) == []


def asked_in(frame: pd.DataFrame, region: str | None, **arguments: Any) -> ToolOutput:
    """The question about one region of a panel, as a step that is narrowed to it asks it."""
    chosen = tool_named("gap_calculator")
    inputs = inputs_of(frame if region is None else frame[frame["region"] == region])
    kept = () if region is None else (("region", (region,)),)
    inputs = dataclasses.replace(inputs, whole=frame, kept=kept)
    return chosen.compute(inputs, chosen.arguments(about="hcp_targeting", **arguments))


def with_few_high(region: str, specialty: str | None = None) -> pd.DataFrame:
    """The panel where a region, or one specialty of it, has ten prescribers of a high decile instead of twenty."""
    frame = panel(units=400 if specialty is None else 800, n_months=6)
    rare = (
        frame["region"] == region
        if specialty is None
        else (frame[["region", "specialty"]] == (region, specialty)).all(axis=1)
    )
    high = np.sort(frame.loc[rare & (frame["decile"] >= 8), "hcp_id"].unique())
    return frame.assign(decile=frame["decile"].mask(frame["hcp_id"].isin(high[10:]), 1))


def test_answers_about_single_regions_do_not_add_up_to_a_small_group() -> None:
    frame = with_few_high("south", "Oncology")
    shown = {
        (region, str(one["group"])): one["n"]
        for region in REGIONS
        for one in asked_in(frame, region, by=("specialty",)).rows
    }
    hidden = sorted(cell for cell, n in shown.items() if n is None)
    assert hidden == [
        ("midwest", "Hematology"),
        ("midwest", "Oncology"),
        ("south", "Hematology"),
        ("south", "Oncology"),
    ]


def test_a_region_that_would_tell_of_another_small_one_is_not_answered() -> None:
    frame, refused = with_few_high("south"), list[str]()
    for region in REGIONS:
        try:
            asked_in(frame, region)
        except TooFewRows as error:
            refused.append(f"{region}: {error}")
    assert [one.partition(":")[0] for one in refused] == ["midwest", "south"]
    assert "would reveal fewer than 11 prescribers elsewhere" in refused[0]
    assert asked_in(frame, None).figures


def test_without_high_deciles_there_is_nothing_to_tell() -> None:
    with pytest.raises(TooFewRows, match="fewer than 11 prescribers are of decile 11"):
        run("gap_calculator", panel(), about="hcp_targeting", least_decile=11)
    with pytest.raises(DataUnavailable, match="single prescribers"):
        run("gap_calculator", panel().drop(columns="hcp_id"), declared={}, about="hcp_targeting")


def test_a_kpi_is_told_with_its_members_and_its_distance_to_a_peer_per_member() -> None:
    members = {"south": 200, "west": 40, "midwest": 50}
    output = run("gap_calculator", kpi_rows(STEADY, kpi="BU6", target=100.0, sample_size=members))
    said = next(one.text for one in output.statements if one.text.startswith(_named(output, "midwest")))
    assert "50 members" in said
    assert unfounded(output) == []
    amounts = run("gap_calculator", kpi_rows(STEADY, kpi=AMOUNT, sample_size=members))
    behind = [one.text for one in amounts.statements if "its best peer" in one.text]
    assert behind
    assert all("its best peer per member" in one for one in behind)


AMOUNT = next(kpi.id for kpi in KPIS.values() if adds_up(kpi))


def _named(output: ToolOutput, region: str) -> str:
    name = row(output, region=region)["name"]
    return f"{name} of Kisqali in the {region.title()} is"
