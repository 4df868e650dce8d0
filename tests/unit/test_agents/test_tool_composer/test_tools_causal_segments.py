"""Effects and levels by segment: what is planted in one segment is found there, and chance is not told as a finding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from src.agents.tool_composer.tools.contrasts import Estimates, holm, jointly
from src.domain.findings import StatementKind
from src.errors import ContractViolation, EstimationError, StudyInvalid
from tests.unit.test_agents.test_tool_composer.causal_rows import (
    REGIONS,
    covers,
    figure,
    market,
    planted,
    run,
    run_on_market,
    texts,
    value,
)

QUESTION = {"treatment": "visits", "outcome": "scripts"}
SAME = dict.fromkeys(REGIONS, 0.5)


def chance_of(frame: pd.DataFrame, by: str = "region") -> float:
    return value(run("cate_analyzer", frame, **QUESTION, by=(by,)), f"heterogeneity_p_value[{by}]")


# Effects by segment


def test_the_effect_of_each_segment_lies_in_its_interval() -> None:
    effects = {"east": 0.2, "north": 0.5, "south": 0.8, "west": 1.1}
    output = run("cate_analyzer", planted(effects, units=120), **QUESTION, by=("region",))
    for region, effect in effects.items():
        assert covers(figure(output, f"effect[region={region}]"), effect)
    assert [row["segment"] for row in output.rows] == ["west", "south", "north", "east"]


def test_moving_one_segments_effect_moves_that_figure_alone() -> None:
    before = run("cate_analyzer", planted(SAME), **QUESTION, by=("region",))
    after = run("cate_analyzer", planted({**SAME, "west": 1.5}), **QUESTION, by=("region",))
    for region in REGIONS:
        name = f"effect[region={region}]"
        moved = 1.0 if region == "west" else 0.0
        assert value(after, name) - value(before, name) == pytest.approx(moved, abs=1e-8)
    assert value(after, "heterogeneity_p_value[region]") < 0.001 < value(before, "heterogeneity_p_value[region]")
    assert [row["segment"] for row in after.rows if row["stands_out"]][0] == "west"
    assert any(one.kind is StatementKind.OPPORTUNITY and "west" in one.text for one in after.statements)


def test_equal_effects_are_rarely_told_apart() -> None:
    p_values = [chance_of(planted(SAME, units=60, seed=seed)) for seed in range(40)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.125  # binomial(40, .05) exceeds 5 in 1.4 % of such runs
    assert 0.3 < np.mean(p_values) < 0.7


def test_segments_that_share_units_are_compared_as_such() -> None:
    frame = planted(0.5, units=120)
    late = np.where(frame["month"] >= "2024-09", "late", "early")
    stronger = frame.assign(phase=late, scripts=frame["scripts"] + 0.6 * frame["visits"] * (late == "late"))
    assert chance_of(frame.assign(phase=late), "phase") > 0.01
    assert chance_of(stronger, "phase") < 0.001


def test_a_numeric_column_with_many_values_makes_four_groups() -> None:
    frame = planted(0.5)
    frame["age"] = frame["prescriber_id"].map({name: k for k, name in enumerate(frame["prescriber_id"].unique())})
    output = run("cate_analyzer", frame, **QUESTION, by=("age",))
    assert sorted(row["segment"][0] for row in output.rows) == ["1", "2", "3", "4"]
    assert [row["n_units"] for row in output.rows] == [20] * 4


def test_a_small_segment_is_hidden_together_with_another() -> None:
    frame = planted(0.5, units=90)
    unit = frame["prescriber_id"].str[-3:].astype(int)
    frame["size"] = np.select([unit < 8, unit < 30], ["tiny", "middling"], "large")
    output = run("cate_analyzer", frame, **QUESTION, by=("size",))
    shown = {row["segment"]: row for row in output.rows}
    for hidden in ("tiny", "middling"):
        assert shown[hidden]["suppressed"]
        assert shown[hidden]["value"] is shown[hidden]["n_units"] is None
        assert f"effect[size={hidden}]" not in {one.name for one in output.figures}
        assert hidden not in texts(output)
    assert shown["large"]["suppressed"] is None
    assert "2 values of size are not shown" in texts(output)


@pytest.mark.parametrize(
    ("column", "error", "words"),
    [
        ("refills", ContractViolation, "comes after visits"),
        ("prescriber_id", ContractViolation, "names single prescribers"),
        ("scripts", ContractViolation, "in the question itself"),
        ("rgion", ContractViolation, "did you mean 'region'"),
        ("one", StudyInvalid, "nothing to tell apart"),
        ("many", StudyInvalid, "at most 60"),
    ],
)
def test_what_makes_no_segments_is_refused(column: str, error: type[Exception], words: str) -> None:
    frame = planted()
    frame["one"], frame["many"] = "same", [f"v{k % 70}" for k in range(len(frame))]
    with pytest.raises(error, match=words):
        run("cate_analyzer", frame, **QUESTION, by=(column,))


def test_a_segment_without_an_estimate_says_why() -> None:
    frame = planted()
    output = run(
        "cate_analyzer", frame.assign(visits=frame["visits"].where(frame["region"] != "west", 1.0)), **QUESTION,
        by=("region",),
    )  # fmt: skip
    assert "No estimate where region is west: treatment 'visits' is constant" in texts(output)
    assert next(row for row in output.rows if row["segment"] == "west")["value"] is None


def test_brands_are_judged_by_what_is_declared_for_each() -> None:
    output = run_on_market("cate_analyzer", treatment="samples", outcome="nrx", by=("brand",))
    told = {row["segment"]: row for row in output.rows}
    assert told["Fabhalta"]["value"] is None
    assert "not identified" in told["Fabhalta"]["note"]
    for brand in ("Kisqali", "Remibrutinib"):
        truth = market().truth.effect("samples", "nrx", brand).effect
        assert covers(figure(output, f"effect[brand={brand}]"), truth)


def test_a_column_that_tells_nothing_apart_does_not_cost_the_others() -> None:
    frame = planted()
    frame["one"] = "same"
    output = run("cate_analyzer", frame, **QUESTION, by=("one", "region"))
    assert {row["column"] for row in output.rows} == {"region"}
    assert "Nothing by one: all rows have the same" in texts(output)


def test_no_segment_at_all_is_an_error() -> None:
    frame = planted(units=20)
    with pytest.raises(EstimationError, match="fewer than 11"):
        run("cate_analyzer", frame, **QUESTION, by=("region",))


# Ranks


def test_levels_are_the_means_of_their_rows_in_order() -> None:
    frame = planted()
    output = run("segment_ranker", frame, measure="scripts", by="region")
    means = frame.groupby("region")["scripts"].mean().sort_values(ascending=False)
    assert [row["segment"] for row in output.rows] == list(means.index)
    assert [row["value"] for row in output.rows] == pytest.approx(list(means))
    assert "not what would change it" in texts(output)


def test_the_interval_of_a_level_counts_units_not_rows() -> None:
    frame = planted(units=80)
    row = run("segment_ranker", frame, measure="scripts", by="region").rows[0]
    units = frame[frame["region"] == row["segment"]].groupby("prescriber_id")["scripts"].mean()
    half = 2.093 * units.std(ddof=1) / np.sqrt(len(units))  # t(19)
    assert row["upper"] - row["value"] == pytest.approx(half, rel=0.01)


def test_what_is_raised_comes_first_and_its_rank_is_sure() -> None:
    frame = planted()
    raised = frame.assign(scripts=frame["scripts"] + 9 * (frame["region"] == "north"))
    top = run("segment_ranker", raised, measure="scripts", by="region").rows[0]
    assert (top["segment"], top["best_rank"], top["worst_rank"]) == ("north", 1, 1)
    last = run("segment_ranker", raised, measure="scripts", by="region", lowest_first=True)
    assert last.rows[-1]["segment"] == "north"
    assert last.rows[-1]["best_rank"] == 4
    assert "lowest" in last.summary


def test_a_rank_by_chance_is_said_to_be_one() -> None:
    output = run("segment_ranker", planted(SAME), treatment="visits", measure="scripts", by="region")
    assert output.rows[0]["worst_rank"] > 1
    assert "not clearly ahead" in output.summary


def test_only_the_top_is_told() -> None:
    output = run("segment_ranker", planted(units=240), measure="scripts", by="territory_id", top=3)
    assert len(output.rows) == 3
    assert [row["rank"] for row in output.rows] == [1, 2, 3]
    assert "(16 compared)" in output.summary


def test_ranking_by_effect_is_another_order_than_by_level() -> None:
    frame = planted({"east": 0.1, "north": 0.4, "south": 0.8, "west": 1.4}, units=120)
    frame = frame.assign(scripts=frame["scripts"] + 20 * (frame["region"] == "east"))
    by_level = run("segment_ranker", frame, measure="scripts", by="region").rows[0]["segment"]
    by_effect = run("segment_ranker", frame, treatment="visits", measure="scripts", by="region").rows[0]["segment"]
    assert (by_level, by_effect) == ("east", "west")


def test_extremes_are_pulled_towards_the_middle_and_more_so_when_noisy() -> None:
    rows = run("segment_ranker", planted(SAME, units=60), treatment="visits", measure="scripts", by="region").rows
    values, pulled = (np.array([row[name] for row in rows]) for name in ("value", "shrunken"))
    assert np.ptp(pulled) < np.ptp(values)
    wide, narrow = Estimates(np.array([0.0, 1.0, 5.0]), np.eye(3), 100), Estimates(
        np.array([0.0, 1.0, 5.0]), np.eye(3) * 0.01, 100
    )  # fmt: skip
    assert np.ptp(wide.shrunken()) < np.ptp(narrow.shrunken()) < 5


@pytest.mark.parametrize(
    ("measure", "by", "words"),
    [
        ("region", "territory_id", "no number"),
        ("month", "region", "measured column"),
        ("visits", "visits", "by itself"),
    ],
)
def test_what_has_no_level_cannot_be_ranked_by(measure: str, by: str, words: str) -> None:
    with pytest.raises(ContractViolation, match=words):
        run("segment_ranker", planted(), measure=measure, by=by)


def test_segments_without_any_variation_can_be_ranked() -> None:
    frame = planted()
    output = run(
        "segment_ranker", frame.assign(visits=(frame["region"] == "west") * 2.0), measure="visits", by="region"
    )
    assert [row["value"] for row in output.rows] == [2, 0, 0, 0]
    assert output.rows[0]["worst_rank"] == 1
    assert output.rows[1]["worst_rank"] == 4


# Contrasts


def test_adjusted_p_values_equal_those_of_statsmodels() -> None:
    raw = np.random.default_rng(0).uniform(size=25) ** 3
    assert holm(raw) == pytest.approx(multipletests(raw, method="holm")[1])


def test_who_differs_from_the_rest_is_adjusted_for_the_number_of_comparisons() -> None:
    values, errors = [0.0, 0.2, 1.4, -0.3], [0.4] * 4
    estimates = jointly(values, errors, None, [None] * 4)
    differences, adjusted = estimates.against_the_rest(np.ones(4))
    raw = 2 * norm.sf(np.abs(differences) / (0.4 * np.sqrt(1 + 1 / 3)))
    assert adjusted == pytest.approx(multipletests(raw, method="fdr_bh")[1], rel=1e-4)


def test_equal_influences_make_a_difference_certain() -> None:
    shared = [np.array([1.0, -2.0, 1.0]), np.array([1.0, -2.0, 1.0])]
    p_apart = jointly([0.0, 1.0], [1.0, 1.0], None, [50, 50]).heterogeneity_p_value()
    p_shared = jointly([0.0, 1.0], [1.0, 1.01], shared, [50, 50]).heterogeneity_p_value()
    assert p_apart is not None
    assert p_shared is not None
    assert p_shared < 0.001 < p_apart


def test_the_test_of_equality_keeps_its_level_with_few_clusters() -> None:
    rng = np.random.default_rng(1)
    groups, size, found = 30, 12, []
    for _ in range(300):
        draws = rng.normal(size=(groups, size))
        errors = draws.std(axis=1, ddof=1) / np.sqrt(size)
        chance = jointly(list(draws.mean(axis=1)), list(errors), None, [size - 1.0] * groups).heterogeneity_p_value()
        assert chance is not None
        found.append(chance < 0.05)
    assert np.mean(found) < 0.10
