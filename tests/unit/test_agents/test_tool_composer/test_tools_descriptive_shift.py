"""psi_calculator and distribution_comparator: what moved is found, what did not is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from src.agents.tool_composer.tools.distribution_comparator import mean_difference
from src.agents.tool_composer.tools.psi_calculator import MAJOR, STABLE, TOO_FEW, psi
from src.domain.findings import StatementKind
from src.errors import ContractViolation, DataUnavailable, TooFewRows
from tests.unit.test_agents.test_tool_composer.descriptive_rows import figure, panel, run, texts

LAST = ("2024-04-01", "2024-05-01", "2024-06-01")
both_tools = pytest.mark.parametrize("tool", ["psi_calculator", "distribution_comparator"])


def moved(by: float, column: str = "score", seed: int = 0) -> pd.DataFrame:
    """The panel with ``by`` added to a column in its last three months."""
    frame = panel(seed=seed)
    return frame.assign(**{column: frame[column] + by * frame["month"].isin(LAST)})


def single_rows(n: int = 300, seed: int = 1) -> pd.DataFrame:
    """One row per prescriber, half of them in each region."""
    rng = np.random.default_rng(seed)
    east = np.arange(n) % 2 == 0
    return pd.DataFrame(
        {
            "hcp_id": [f"hcp_{number:06d}" for number in range(n)],
            "month": "2024-01-01",
            "region": np.where(east, "east", "west"),
            "x": rng.normal(np.where(east, 0.3, 0.0), np.where(east, 2.0, 1.0)),
            "kind": rng.choice(["a", "b", "c"], size=n, p=[0.5, 0.3, 0.2]),
        }
    )


def psi_by_hand(reference: np.ndarray, current: np.ndarray, bins: int) -> float:
    edges = np.quantile(reference, [i / bins for i in range(1, bins)])
    total = 0.0
    for place in range(bins):
        low = -np.inf if place == 0 else edges[place - 1]
        high = np.inf if place == bins - 1 else edges[place]
        p = (np.sum((reference > low) & (reference <= high)) + 1) / (len(reference) + bins)
        q = (np.sum((current > low) & (current <= high)) + 1) / (len(current) + bins)
        total += (q - p) * np.log(q / p)
    return float(total)


def test_psi_is_the_sum_over_the_bins_of_the_reference() -> None:
    frame = moved(1.5)
    last = frame["month"].isin(LAST)
    expected = psi_by_hand(
        frame.loc[~last & (frame["month"] >= "2023-04-01"), "score"].to_numpy(), frame.loc[last, "score"].to_numpy(), 10
    )
    output = run("psi_calculator", frame, columns=["score"])
    assert output.rows[0]["psi"] == pytest.approx(expected, rel=1e-12)
    assert figure(output, "PSI of score").value == output.rows[0]["psi"]


def test_psi_of_equal_shares_is_zero_and_it_is_the_same_both_ways() -> None:
    counts, other = np.array([99.0, 299.0, 599.0]), np.array([599.0, 299.0, 99.0])
    assert float(psi(counts, counts)) == 0
    assert float(psi(counts, other)) == pytest.approx(float(psi(other, counts)))


def test_a_larger_shift_has_a_larger_psi_and_a_graver_verdict() -> None:
    outputs = [run("psi_calculator", moved(by), columns=["score"]) for by in (0.0, 0.7, 3.0)]
    values = [output.rows[0]["psi"] for output in outputs]
    assert values == sorted(values)
    assert [outputs[0].rows[0]["verdict"], outputs[2].rows[0]["verdict"]] == [STABLE, MAJOR]
    assert any(one.kind is StatementKind.WARNING for one in outputs[2].statements)
    assert "No drift" in outputs[0].summary


def test_scale_changes_neither_psi_nor_the_distance_of_distributions() -> None:
    frame = moved(1.0)
    scaled = frame.assign(score=1000 * frame["score"])
    small, large = (run("psi_calculator", one, columns=["score"]).rows[0] for one in (frame, scaled))
    assert large["psi"] == pytest.approx(small["psi"])
    small, large = (run("distribution_comparator", one, columns=["score"]).rows[0] for one in (frame, scaled))
    assert large["statistic"] == pytest.approx(small["statistic"])
    assert large["difference"] == pytest.approx(1000 * small["difference"])
    assert large["effect_size"] == pytest.approx(small["effect_size"])


@both_tools
def test_without_drift_there_are_few_false_alarms(tool: str) -> None:
    alarms = 0
    for seed in range(60):
        output = run(tool, panel(units=60, seed=seed), columns=["score"])
        alarms += bool(output.rows[0].get("differs", output.rows[0].get("verdict") not in (STABLE, TOO_FEW)))
    # 60 draws at 5 %: more than eight are seen once in a hundred times.
    assert alarms <= 8


def test_the_false_alarms_of_many_columns_are_those_of_all_together() -> None:
    names = [f"noise_{number}" for number in range(20)]
    alarms = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        frame = panel(units=40, n_months=8, seed=seed)
        frame = frame.assign(**{name: rng.normal(size=len(frame)) for name in names})
        alarms += sum(one["differs"] for one in run("distribution_comparator", frame, columns=names).rows)
    # 200 columns; each for itself at 5 % would give about ten, and twenty with two tests each.
    assert alarms <= 4


def test_few_units_are_said_to_be_too_few() -> None:
    frame = single_rows(60).assign(kind=lambda rows: [f"k{number % 12}" for number in range(len(rows))])
    output = run("psi_calculator", frame, segment="region", current="east", columns=["x"], bins=20)
    assert output.rows[0]["verdict"] == TOO_FEW
    assert "cannot be judged" in output.summary


def test_repeating_the_rows_of_a_prescriber_is_no_further_evidence() -> None:
    frame = single_rows()
    tenfold = pd.concat([frame] * 10, ignore_index=True)
    arguments = {"segment": "region", "current": "east", "columns": ["x"]}
    once, often = (run("distribution_comparator", rows, **arguments).rows[0] for rows in (frame, tenfold))
    assert often["difference"] == pytest.approx(once["difference"])
    assert often["upper"] - often["lower"] == pytest.approx(once["upper"] - once["lower"], rel=0.02)


def test_further_prescribers_of_the_same_kind_make_the_interval_narrower() -> None:
    frame = single_rows()
    more = pd.concat([frame.assign(hcp_id=frame["hcp_id"] + f"_{i}") for i in range(4)], ignore_index=True)
    arguments = {"segment": "region", "current": "east", "columns": ["x"]}
    once, fourfold = (run("distribution_comparator", rows, **arguments).rows[0] for rows in (frame, more))
    assert fourfold["difference"] == pytest.approx(once["difference"])
    assert fourfold["upper"] - fourfold["lower"] == pytest.approx((once["upper"] - once["lower"]) / 2, rel=0.03)


def test_single_rows_are_compared_as_welch_and_kolmogorov_and_smirnov_did() -> None:
    frame = single_rows()
    east, west = (frame.loc[frame["region"] == name, "x"] for name in ("east", "west"))
    found = run("distribution_comparator", frame, segment="region", current="east", columns=["x"]).rows[0]
    welch = stats.ttest_ind(east, west, equal_var=False)
    low, high = welch.confidence_interval()
    assert (found["difference"], found["lower"], found["upper"]) == pytest.approx(
        (east.mean() - west.mean(), low, high)
    )
    expected = stats.ks_2samp(east, west)
    assert found["statistic"] == pytest.approx(expected.statistic)
    assert found["ks_p_value"] == pytest.approx(expected.pvalue, abs=0.05)


def test_the_same_prescribers_before_and_after_are_compared_in_pairs() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(size=40)
    after = before + 0.2 + rng.normal(0, 0.1, size=40)
    found = mean_difference(
        np.concatenate([before, after]), np.repeat([False, True], 40), np.tile(np.arange(40), 2).astype(np.int64)
    )
    low, high = stats.ttest_rel(after, before).confidence_interval()
    assert (found.lower, found.upper) == pytest.approx((low, high))


def test_shares_of_levels_are_compared_as_pearson_did() -> None:
    frame = single_rows()
    found = run("distribution_comparator", frame, segment="region", current="east", columns=["kind"]).rows[0]
    expected = stats.chi2_contingency(pd.crosstab(frame["region"], frame["kind"]), correction=False)
    assert found["statistic"] == pytest.approx(expected.statistic)
    assert found["p_value"] == pytest.approx(expected.pvalue, abs=0.1)


def test_a_planted_share_is_found_and_named() -> None:
    frame = single_rows()
    planted = frame.assign(kind=frame["kind"].where((frame["region"] == "west") | (np.arange(len(frame)) % 3 > 0), "c"))
    output = run("distribution_comparator", planted, segment="region", current="east", columns=["kind"])
    assert output.rows[0]["differs"]
    assert "most of c" in texts(output)


def test_the_interval_of_a_difference_covers_the_truth() -> None:
    covered = 0
    for seed in range(60):
        found = run("distribution_comparator", moved(0.5, seed=seed), columns=["score"]).rows[0]
        covered += found["lower"] <= 0.5 <= found["upper"]
    assert covered >= 53


def test_a_level_the_reference_never_had_is_said() -> None:
    frame = panel().assign(channel="visit")
    frame.loc[frame["month"].isin(LAST), "channel"] = "chat"
    output = run("psi_calculator", frame, columns=["channel"])
    assert output.rows[0]["verdict"] == MAJOR
    assert "values the reference never had" in texts(output)


def test_missing_values_that_become_more_are_a_drift() -> None:
    frame = panel()
    gone = frame["month"].isin(LAST) & (np.arange(len(frame)) % 3 > 0)
    output = run("psi_calculator", frame.assign(score=frame["score"].mask(gone)), columns=["score"])
    assert output.rows[0]["verdict"] == MAJOR


def test_a_column_that_counts_the_time_is_left_out_and_said() -> None:
    frame = panel()
    frame["months_since_launch"] = frame.groupby("hcp_id").cumcount()
    output = run("psi_calculator", frame)
    assert "months_since_launch" not in {one["feature"] for one in output.rows}
    assert "only count the time: months since launch" in texts(output)


@both_tools
def test_named_periods_are_the_ones_compared(tool: str) -> None:
    output = run(tool, moved(3.0), columns=["score"], current="2023-H2", reference="2023-H1")
    assert (output.rows[0]["current"], output.rows[0]["reference"]) == ("2023-07 to 2023-12", "2023-01 to 2023-06")
    assert not output.rows[0].get("differs", output.rows[0].get("verdict") == MAJOR)


@both_tools
def test_scores_of_a_model_are_compared_by_the_time_of_prediction(tool: str) -> None:
    frame = moved(3.0).rename(columns={"month": "prediction_timestamp", "score": "prediction_value"})
    frame["prediction_timestamp"] = pd.to_datetime(frame["prediction_timestamp"], utc=True)
    output = run(tool, frame, declared={}, source="predictions", columns=["prediction_value"])
    assert output.rows[0].get("differs", output.rows[0].get("verdict") == MAJOR)


@both_tools
@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"current": "2024-Q2", "reference": "2024-06"}, ContractViolation, "overlap"),
        ({"current": "last tuesday"}, ContractViolation, "is no period"),
        ({"current": "2030"}, TooFewRows, "no row lies in 2030-01 to 2030-12"),
        ({"current": "2023-01"}, TooFewRows, "no rows before 2023-01"),
        ({"segment": "region"}, ContractViolation, "name the level of 'region'"),
        ({"segment": "region", "current": "west", "reference": "West"}, ContractViolation, "compared with itself"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tool: str, arguments: dict[str, str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(tool, panel(), **arguments)


@both_tools
def test_a_group_of_ten_is_not_compared(tool: str) -> None:
    frame = panel(units=40)
    few = frame[(frame["region"] != "west") | (frame["hcp_id"] < "hcp_000039")]
    assert few.loc[few["region"] == "west", "hcp_id"].nunique() < 11
    with pytest.raises(TooFewRows, match="fewer than 11 units in west"):
        run(tool, few, segment="region", current="west")


def test_a_column_without_values_in_a_group_is_refused() -> None:
    frame = panel()
    with pytest.raises(DataUnavailable, match="'score' has values for fewer than 11"):
        run("distribution_comparator", frame.assign(score=frame["score"].mask(frame["month"].isin(LAST))),
            columns=["score"])  # fmt: skip
