"""A dataset that nobody declared a contract for goes through the same gate, held to what is found in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.agents.ml_foundation.data_preparer.agent import PrepareResult
from src.agents.ml_foundation.data_preparer.request import request_from
from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.quality_gate import LayerStatus
from src.contracts.inference import infer_contract
from src.contracts.model import Dtype
from src.domain.splits import ASSIGNED
from src.errors import ContractViolation
from src.mlops.data_quality import DataQualityValidator
from src.mlops.preparation.row_identity import ROW, row_hashes
from src.mlops.quality.result import DataQualityResult
from tests.unit.test_agents.test_ml_foundation.test_data_preparer.parts import FrameDatasets, Preparation, World

ROWS = 300


def plain(n: int = ROWS, seed: int = 5, **columns: Any) -> pd.DataFrame:
    """A small table of numbers and words; x tells something of y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "x": x,
            "age": rng.integers(18, 90, n),
            "kind": rng.choice(["a", "b", "c"], n),
            "y": (x + rng.normal(size=n) > 0).astype(int),
        }
    )
    return frame.assign(**columns)


class KeptExpectations:
    """The real validator; what it said is kept."""

    def __init__(self) -> None:
        self.validator = DataQualityValidator()
        self.results: list[DataQualityResult] = []

    async def validate(self, df: pd.DataFrame, suite: Any, **options: Any) -> DataQualityResult:
        self.results.append(await self.validator.validate(df, suite, **options))
        return self.results[-1]


def asked(**changes: Any) -> PrepareRequest:
    scope = {name: changes.pop(name) for name in ("brand", "region", "period") if name in changes}
    features = changes.pop("features", ("x", "age", "kind"))
    return PrepareRequest("exp", "plain", PrepareScope("y", features, **scope), suite="inferred", **changes)


def surroundings(frame: pd.DataFrame, store: Preparation | None = None) -> World:
    datasets = FrameDatasets()
    datasets.frames["plain"] = frame
    return World(datasets, expectations=KeptExpectations(), store=store or Preparation())  # type: ignore[arg-type]


async def judged(frame: pd.DataFrame, **changes: Any) -> PrepareResult:
    return await surroundings(frame).run(asked(**changes))


async def test_a_dataset_without_contract_passes_every_layer_and_says_what_it_was_held_to() -> None:
    result = await judged(plain())
    assert result.gate.passed, result.gate.blockers
    assert result.is_ready
    assert set(result.gate.layers.values()) == {LayerStatus.PASSED}
    assert any(line.startswith("no contract: the 4 columns") for line in result.gate.warnings)


async def test_dimensions_that_cannot_be_measured_are_left_out_of_the_score() -> None:
    around = surroundings(plain(x=np.where(np.arange(ROWS) < 30, np.nan, np.random.default_rng(0).normal(size=ROWS))))
    result = await around.run(asked())
    scores = around.expectations.results[0].scores  # type: ignore[attr-defined]
    assert (scores.timeliness, scores.consistency, scores.uniqueness) == (None, None, None)
    assert scores.completeness == pytest.approx(1 - 30 / (4 * ROWS))
    # completeness and validity, .25 each, re-normalised to one half.
    assert result.gate.score == pytest.approx((scores.completeness + 1.0) / 2)


async def test_rows_without_time_or_unit_are_split_by_their_hash_and_copies_stay_together() -> None:
    frame = pd.concat([plain(), plain().head(40)], ignore_index=True)
    around = surroundings(frame)
    result = await around.run(asked())
    assert result.splits is not None
    assert str(result.splits.strategy) == "patient_stratified"
    kept = around.store.assigned[result.splits.split_config_id]
    split = row_hashes(frame).map(kept)
    assert set(split) == set(ASSIGNED)
    assert (split.head(40).to_numpy() == split.tail(40).to_numpy()).all()


async def test_the_split_of_a_row_does_not_depend_on_its_place() -> None:
    frame = plain()
    shuffled = frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    one, other = await judged(frame), await judged(shuffled)
    assert one.splits is not None
    assert other.splits is not None
    assert one.splits.split_config_id == other.splits.split_config_id


async def test_a_column_of_times_makes_the_split_chronological() -> None:
    days = pd.date_range("2024-01-01", periods=ROWS, freq="D", tz="UTC")
    around = surroundings(plain(seen=days))
    result = await around.run(asked())
    assert result.gate.passed, result.gate.blockers
    assert result.splits is not None
    assert (str(result.splits.strategy), len(result.splits.cuts)) == ("chronological", 3)
    kept = around.store.assigned[result.splits.split_config_id]
    of_row = row_hashes(plain(seen=days)).map(kept)
    assert days[of_row == "train"].max() < days[of_row == "test"].min()


async def test_a_named_unit_stays_in_one_split() -> None:
    account = np.repeat(np.arange(ROWS // 3), 3)
    around = surroundings(plain(account=account))
    result = await around.run(asked(unit="account"))
    assert result.gate.passed, result.gate.blockers
    assert result.splits is not None
    assert result.splits.unit == "account"
    assert set(around.store.assigned[result.splits.split_config_id]) == {str(unit) for unit in set(account)}


async def test_a_registered_split_gives_every_row_its_split_again() -> None:
    store, frame = Preparation(), plain()
    first = await surroundings(frame, store).run(asked())
    assert first.splits is not None
    again = await surroundings(frame, store).run(asked(split_id=first.splits.split_config_id))
    assert again.splits is not None
    assert again.gate.passed, again.gate.blockers
    assert again.splits.rows == first.splits.rows


async def test_a_few_rows_get_a_holdout_that_can_be_judged() -> None:
    result = await judged(plain(150))
    assert result.splits is not None
    assert result.splits.rows["holdout"] >= 10
    assert result.gate.passed, result.gate.blockers


async def test_a_leaked_feature_shuts_the_gate() -> None:
    frame = plain()
    result = await judged(frame.assign(told=frame["y"] * 2.0), features=("x", "told"))
    assert not result.gate.passed
    assert any(line.startswith("leakage:") and "told" in line for line in result.gate.blockers)


async def test_an_infinite_number_shuts_the_gate() -> None:
    frame = plain()
    frame.loc[3, "x"] = np.inf
    result = await judged(frame)
    assert not result.gate.passed
    assert any("x must be a finite number" in line for line in result.gate.blockers)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time": "when"}, "'when' is not in the data"),
        ({"unit": "who"}, "'who' is not in the data"),
        ({"time": "age"}, "holds no times"),
        ({"unit": "kind"}, "identifies somebody"),
        ({"features": ("patient_id",)}, "identifies somebody"),
    ],
)
async def test_a_name_that_cannot_serve_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    result = await judged(plain(patient_id=[f"p{i}" for i in range(ROWS)]), **changes)
    assert not result.gate.passed
    assert result.error is not None
    assert words in result.error.message


@pytest.mark.parametrize("role", ["time", "unit"])
def test_a_declared_contract_names_time_and_unit_itself(role: str) -> None:
    with pytest.raises(ContractViolation, match="leave out time and unit"):
        request_from(PrepareRequest("exp", "triggers", PrepareScope("y", ("x",)), **{role: "a"}))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], Dtype.INT),
        ([1.0, None], Dtype.FLOAT),
        ([True, False], Dtype.BOOL),
        ([True, None], Dtype.BOOL),
        (["a", None], Dtype.STR),
        ([1, "a"], Dtype.STR),
        ([None, None], Dtype.STR),
        ([["a"], ["b", "c"]], Dtype.LIST),
        ([{"a": 1}, None], Dtype.JSON),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), Dtype.DATE),
        (pd.to_datetime(["2024-01-01T08:00Z", "2024-01-02T00:00Z"]), Dtype.TS),
    ],
)
def test_the_type_of_a_column_is_that_of_its_values(values: Any, dtype: Dtype) -> None:
    contract = infer_contract(pd.DataFrame({"c": pd.Series(values)}), "plain")
    column = contract.column("c")
    assert column.dtype is dtype
    assert column.nullable == bool(pd.Series(values).isna().any())
    assert (column.range, column.allowed, column.regex, column.unique) == (None, None, None, False)


def test_rows_are_alike_exactly_when_all_their_cells_are() -> None:
    frame = pd.DataFrame({"a": [1, 1, 2, 1], "b": [["x"], ["x"], ["x"], ["y"]], "v:f": [1, 2, 3, 4]})
    hashes = row_hashes(frame)
    assert hashes.name == ROW
    assert hashes[0] == hashes[1]
    assert hashes.nunique() == 3
