"""A model sees the rows of one registered split, and never those of the holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.agents.runtime import Filter
from src.app.training_rows import DatasetRows, FeatureStoreRows, FirstRows, Rows
from src.contracts.enums import SplitStrategy
from src.domain.modelling import TrainingData
from src.domain.splits import SplitPlan
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.preparation.row_identity import ROW, row_hashes
from src.mlops.preparation.splitting import plan_splits, unit_assignments
from src.resilience.outcomes import Unavailable
from src.storage.gateway import Op

N = 240


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "when": pd.date_range("2023-01-01", periods=N, freq="3D", tz="UTC"),
            "account": np.repeat(np.arange(N // 2), 2),
            "brand": rng.choice(["Kisqali", "Fabhalta"], N),
            "x": rng.normal(size=N),
            "y": rng.integers(0, 2, N),
        }
    )


@dataclass
class Datasets:
    """One frame; equality and bounds are applied. ``read``: what was given out whole."""

    frame: pd.DataFrame
    read: list[pd.DataFrame] = field(default_factory=list)

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> Rows:
        kept = self.frame
        for one in filters:
            value = pd.Timestamp(one.value) if one.column == "when" else one.value
            compare = {Op.EQ: "eq", Op.GE: "ge", Op.LT: "lt"}[one.op]
            kept = kept[getattr(kept[one.column], compare)(value)]
        if columns is None:
            self.read.append(kept)
        return Rows(kept if columns is None else kept[list(columns)], {})


@dataclass
class Splits:
    """One plan."""

    registered: SplitPlan
    assigned: Mapping[str, str] = field(default_factory=dict)

    async def plan(self, split_config_id: str) -> SplitPlan:
        if split_config_id != self.registered.split_config_id:
            raise DataUnavailable(f"no split '{split_config_id}'")
        return self.registered

    async def assignments(self, split_config_id: str) -> Mapping[str, str]:
        return self.assigned


@dataclass
class History:
    """The feature is ten times the account, unless the store is away."""

    away: bool = False

    async def get_historical_features(self, entity_df: pd.DataFrame, feature_refs: Sequence[str]) -> Any:
        if self.away:
            return Unavailable("feast", "there is no Feast")
        assert str(entity_df["event_timestamp"].dt.tz) == "UTC"
        return entity_df.assign(hcp_profile__decile=entity_df["account"] * 10.0)


def by_row(frame: pd.DataFrame) -> tuple[Splits, pd.Series[Any]]:
    hashed = frame.assign(**{ROW: row_hashes(frame)})
    plan, split = plan_splits(hashed, time=None, unit=ROW, strategy=SplitStrategy.PATIENT_STRATIFIED)
    assigned = {one.unit: one.split for one in unit_assignments(hashed, split, unit=ROW)}
    return Splits(plan, assigned), split


def data(splits: Splits, **changes: Any) -> TrainingData:
    plain = TrainingData("ds", "y", ("x",), splits.registered.split_config_id, time="when")
    return replace(plain, **changes)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
async def test_rows_of_a_split_are_those_it_was_given(split: Any) -> None:
    frame = table()
    splits, planned = by_row(frame)
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), split)
    assert found is not None
    assert found.frame.index.tolist() == frame.index[planned == split].tolist()
    assert list(found.frame.columns) == ["x", "y", "brand"]
    assert (found.units, found.source) == (None, "dataset")


@pytest.mark.parametrize("split", ["holdout", "unassigned"])
async def test_the_holdout_cannot_be_asked_for(split: Any) -> None:
    splits, _ = by_row(table())
    with pytest.raises(ContractViolation, match="may not be read"):
        await DatasetRows(Datasets(table()), splits).load(data(splits), split)


async def test_rows_are_split_by_the_dates_of_a_plan_without_assignments() -> None:
    frame = table()
    plan, planned = plan_splits(frame, time="when", key=["account"])
    splits = Splits(plan)
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), "validation")
    assert found is not None
    assert found.frame.index.tolist() == frame.index[planned == "validation"].tolist()


@pytest.mark.parametrize("zone", ["UTC", None])
@pytest.mark.parametrize("by_hash", [True, False])
async def test_rows_of_a_holdout_by_date_are_not_read_and_labels_tell_rows_apart(
    zone: str | None, by_hash: bool
) -> None:
    frame = table().sample(frac=1, random_state=4, ignore_index=True)
    frame["when"] = frame["when"].dt.tz_convert(zone)
    frame.loc[3, "when"] = None
    plan, planned = plan_splits(frame, time="when", key=["account"])
    assigned = dict(zip(row_hashes(frame), planned, strict=True)) if by_hash else {}
    datasets, splits = Datasets(frame), Splits(plan, assigned)
    labels: list[int] = []
    for split in ("train", "validation", "test"):
        found = await DatasetRows(datasets, splits).load(data(splits), split)
        assert found is not None
        assert found.frame["x"].tolist() == frame.loc[planned == split, "x"].tolist()
        labels += found.frame.index.tolist()
    assert len(labels) == len(set(labels))
    held = set(frame.loc[planned == "holdout", "x"])
    assert held
    assert len(datasets.read) == 3
    assert not any(held & set(read["x"]) for read in datasets.read)


async def test_late_rows_of_a_unit_stay_in_the_split_of_its_first_date() -> None:
    frame = table()
    frame["account"] = frame.index % 100
    plan, planned = plan_splits(frame, time="when", unit="account", gap_days=0)
    assert (frame.loc[planned == "train", "when"] >= pd.Timestamp(plan.cuts[-1], tz="UTC")).any()
    splits = Splits(plan)
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), "train")
    assert found is not None
    assert found.frame.index.tolist() == frame.index[planned == "train"].tolist()


async def test_dates_kept_as_texts_are_split_by_what_they_say() -> None:
    frame = table()
    plan, planned = plan_splits(frame, time="when", key=["account"])
    frame["when"] = frame["when"].map(lambda at: f"{at:%Y-%m-%d} 00:00:00+00:00")
    splits = Splits(plan)
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), "test")
    assert found is not None
    assert found.frame.index.tolist() == frame.index[planned == "test"].tolist()


async def test_units_that_stay_together_come_with_the_rows() -> None:
    frame = table()
    plan, planned = plan_splits(frame, time=None, unit="account", strategy=SplitStrategy.PATIENT_STRATIFIED)
    splits = Splits(plan, {one.unit: one.split for one in unit_assignments(frame, planned, unit="account")})
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), "train")
    assert found is not None
    assert found.units is not None
    assert set(found.units) == set(frame.loc[planned == "train", "account"])


async def test_a_split_that_rows_bring_along_is_theirs() -> None:
    frame = table().assign(data_split=np.array(["train", "validation", "test", "holdout"])[np.arange(N) % 4])
    given = SplitPlan("given", SplitStrategy.CHRONOLOGICAL, by_row(table())[0].registered.ratios, (), 0, None)
    splits = Splits(given)
    found = await DatasetRows(Datasets(frame), splits).load(data(splits), "test")
    assert found is not None
    assert found.frame.index.tolist() == list(range(2, N, 4))


async def test_only_rows_within_brand_and_period_are_seen() -> None:
    frame = table()
    splits, _ = by_row(frame)
    wanted = data(splits, brand="Kisqali", period=("2023-06-01", "2024-06-01"))
    found = await DatasetRows(Datasets(frame), splits).load(wanted, "train")
    assert found is not None
    kept = frame[(frame["brand"] == "Kisqali") & frame["when"].between("2023-06-01", "2024-06-01T23:59Z")]
    assert found.frame["x"].isin(kept["x"]).all()
    assert set(found.frame["brand"]) == {"Kisqali"}


async def test_features_of_the_store_are_joined_as_known_at_the_rows_time() -> None:
    frame = table()
    splits, _ = by_row(frame)
    wanted = data(splits, features=("x", "hcp_profile:decile"))
    sources = (FeatureStoreRows(Datasets(frame), splits, History()), DatasetRows(Datasets(frame), splits))
    found = await FirstRows(sources).load(wanted, "train")
    assert found is not None
    assert found.source == "feature_store"
    assert found.frame["hcp_profile:decile"].tolist() == (frame.loc[found.frame.index, "account"] * 10.0).tolist()


async def test_without_the_feature_store_there_are_no_rows() -> None:
    splits, _ = by_row(table())
    source = FeatureStoreRows(Datasets(table()), splits, History(away=True))
    with pytest.raises(DataUnavailable, match="there is no Feast"):
        await source.load(data(splits, features=("hcp_profile:decile",)), "train")


async def test_a_source_says_when_it_has_no_such_rows() -> None:
    splits, _ = by_row(table())
    store, own = FeatureStoreRows(Datasets(table()), splits, History()), DatasetRows(Datasets(table()), splits)
    assert await store.load(data(splits), "train") is None
    assert await own.load(data(splits, features=("hcp_profile:decile",)), "train") is None
    assert await FirstRows((store, own)).load(data(splits, split_id=None), "train") is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"split_id": "unknown"}, DataUnavailable),
        ({"features": ("z",)}, UnknownColumn),
        ({"region": "west"}, UnknownColumn),
        ({"period": ("2023-01-01", None), "time": None}, ContractViolation),
    ],
)
async def test_what_is_not_there_is_an_error(changes: dict[str, Any], error: type[Exception]) -> None:
    splits, _ = by_row(table())
    with pytest.raises(error):
        await DatasetRows(Datasets(table()), splits).load(data(splits, **changes), "train")


async def test_rows_of_other_content_have_no_split() -> None:
    splits, _ = by_row(table())
    other = table().assign(x=0.0)
    with pytest.raises(DataUnavailable, match="plan a new one"):
        await DatasetRows(Datasets(other), splits).load(data(splits), "train")
