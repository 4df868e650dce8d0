"""Datasets are found again by id, name or path, hold what was put in, and show no person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from src.contracts.tables import TABLES
from src.errors import (
    ContractViolation,
    DatabaseUnavailable,
    DatasetNotFound,
    DataUnavailable,
    UnknownColumn,
    UnreadableFile,
)
from src.storage.catalogue import Catalogue, register_file
from src.storage.database import Database
from src.storage.datasets import Filter, datasets_dir, store_file, verify_content
from src.storage.export import write_export
from src.storage.gateway import Op
from src.storage.loading import load_table
from src.storage.records import DatasetRecord
from tests.integration.loading_files import metrics
from tests.unit.test_contracts.frames import clean_frame


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stored datasets of the test's own; the database is the shared one."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def catalogue(db: Database) -> Catalogue:
    return Catalogue(db)


SALES = """region,calls,day,nrx
northeast,1,2024-01-01,1.5
south,2,2024-01-02,
northeast,3,2024-02-01,2.5
"""


def sales(folder: Path, text: str = SALES, name: str = "sales.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


async def test_a_file_is_found_by_id_beginning_of_id_name_and_path(catalogue: Catalogue, tmp_path: Path) -> None:
    path = sales(tmp_path)
    record = await register_file(catalogue, path)
    for key in (record.dataset_id, record.dataset_id[:9], "sales", str(path), record.path):
        assert await catalogue.get(str(key)) == record
    assert (record.kind, record.n_rows) == ("file", 3)
    assert record.columns == {"region": "str", "calls": "int", "day": "date", "nrx": "float"}
    verify_content(record)


async def test_the_same_content_is_entered_once(catalogue: Catalogue, tmp_path: Path) -> None:
    first = await register_file(catalogue, sales(tmp_path), declared={"treatment": "calls"})
    second = await register_file(catalogue, sales(tmp_path, name="again.csv"))
    assert (second.dataset_id, second.created_at, second.name) == (first.dataset_id, first.created_at, "again")
    assert second.declared == {"treatment": "calls"}
    assert len(await catalogue.list()) == 1


async def test_a_name_points_to_the_latest_content_and_the_id_to_its_own(catalogue: Catalogue, tmp_path: Path) -> None:
    old = await register_file(catalogue, sales(tmp_path))
    new = await register_file(catalogue, sales(tmp_path, SALES.replace("1.5", "9.5")))
    assert (await catalogue.get("sales")).dataset_id == new.dataset_id
    assert (await catalogue.load(await catalogue.get(old.dataset_id))).frame["nrx"].iloc[0] == 1.5
    assert [record.dataset_id for record in await catalogue.list()] == [new.dataset_id]


async def test_two_at_once_may_take_the_same_name(catalogue: Catalogue, tmp_path: Path) -> None:
    files = [sales(tmp_path, SALES.replace("1.5", f"{i}.25"), f"{i}.csv") for i in range(6)]
    await asyncio.gather(*(register_file(catalogue, path, name="shared") for path in files))
    assert [record.name for record in await catalogue.list()] == ["shared"]


async def test_a_failed_file_leaves_folder_and_catalogue_as_they_were(catalogue: Catalogue, tmp_path: Path) -> None:
    await register_file(catalogue, sales(tmp_path))
    before = sorted(datasets_dir().iterdir()), await catalogue.list()
    with pytest.raises(UnreadableFile):
        await register_file(catalogue, sales(tmp_path, SALES + "too,short\n", "bad.csv"))
    assert (sorted(datasets_dir().iterdir()), await catalogue.list()) == before


async def test_without_a_database_no_stored_file_is_left(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with Database.open("postgresql://nobody@127.0.0.1:9/none", patience_s=0) as db:
            await register_file(Catalogue(db), sales(tmp_path))
    assert not datasets_dir().exists()


async def test_a_refused_entry_leaves_no_stored_file(catalogue: Catalogue, db: Database, tmp_path: Path) -> None:
    await db.execute("DROP TABLE datasets")
    with pytest.raises(Exception, match="datasets"):
        await register_file(catalogue, sales(tmp_path))
    assert list(datasets_dir().iterdir()) == []


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("salse", "did you mean 'sales'"),
        ("table:trigers", "did you mean 'triggers'"),
        ("x\0y", "no dataset"),
        ("", "no dataset"),
    ],
)
async def test_an_unknown_dataset_is_named_with_the_nearest(
    catalogue: Catalogue, tmp_path: Path, key: str, says: str
) -> None:
    await register_file(catalogue, sales(tmp_path))
    with pytest.raises(DatasetNotFound, match=says):
        await catalogue.get(key)


async def test_removing_forgets_name_and_rows_but_not_the_id(catalogue: Catalogue, tmp_path: Path) -> None:
    record = await register_file(catalogue, sales(tmp_path))
    await catalogue.remove("sales")
    assert await catalogue.list() == []
    assert list(datasets_dir().iterdir()) == []
    with pytest.raises(DatasetNotFound):
        await catalogue.get("sales")
    with pytest.raises(DataUnavailable, match="is gone; load .*sales.csv again"):
        await catalogue.load(await catalogue.get(record.dataset_id))
    assert (await register_file(catalogue, sales(tmp_path))).dataset_id == record.dataset_id
    assert len(await catalogue.list()) == 1


async def test_a_table_cannot_be_removed(catalogue: Catalogue) -> None:
    with pytest.raises(ContractViolation, match="is a table of the database"):
        await catalogue.remove("table:triggers")


async def test_changed_stored_bytes_are_noticed(catalogue: Catalogue, tmp_path: Path) -> None:
    record = await register_file(catalogue, sales(tmp_path))
    other = store_file(sales(tmp_path, SALES.replace("1.5", "7.5"), "other.csv"))
    Path(str(record.path)).write_bytes(other.path.read_bytes())
    with pytest.raises(DataUnavailable, match="was changed"):
        verify_content(record)


# -- rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "table"])
async def dataset(
    request: pytest.FixtureRequest, catalogue: Catalogue, db: Database, tmp_path: Path
) -> AsyncIterator[DatasetRecord]:
    """The same metrics as a stored file and as a contract table."""
    frame = metrics(40).drop(columns=["brand", "region"]).assign(brand="Kisqali", region="west")
    frame.loc[3, "target"] = None
    frame.loc[3, "achievement_rate"] = None
    frame["metric_date"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(40), unit="D")
    frame["metric_id"] = [f"m{i:03d}" for i in range(40)]
    if request.param == "table":
        await load_table([frame], "business_metrics", db=db)
        yield await catalogue.get("table:business_metrics")
    else:
        path = tmp_path / "metrics.csv"
        frame.to_csv(path, index=False)
        yield await register_file(catalogue, path)


FILTERS: list[tuple[list[Filter], str]] = [
    ([], "value == value"),
    ([("value", "gte", 80)], "value >= 80"),
    ([("value", "lt", "60")], "value < 60"),
    ([("metric_date", "gt", "2024-01-20")], "metric_date > '2024-01-20'"),
    ([("metric_date", Op.LE, date(2024, 1, 5))], "metric_date <= '2024-01-05'"),
    ([("metric_id", Op.IN, ["m001", "m007"])], "metric_id in ('m001', 'm007')"),
    ([("metric_name", Op.LIKE, "BU1%")], "metric_name.str.startswith('BU1')"),
    ([("target", Op.IS, None)], "target != target"),
    ([("metric_id", "neq", "m001"), ("value", "lte", 55.0)], "metric_id != 'm001' and value <= 55"),
    ([("brand", "eq", "Fabhalta")], "brand == 'Fabhalta'"),
]


async def test_filters_keep_the_rows_pandas_would(catalogue: Catalogue, dataset: DatasetRecord) -> None:
    everything = (await catalogue.load(dataset)).frame
    for filters, query in FILTERS:
        loaded = await catalogue.load(dataset, columns=["metric_id", "value"], filters=filters)
        expected = everything.query(query)[["metric_id", "value"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(loaded.frame, expected)
        assert (loaded.rows_before, loaded.rows_after) == (40, len(expected))


async def test_a_query_says_in_json_how_rows_were_obtained(catalogue: Catalogue, dataset: DatasetRecord) -> None:
    filters: list[Filter] = [("metric_date", Op.LE, date(2024, 1, 5)), ("metric_id", "in", ["m001", "m900"])]
    loaded = await catalogue.load(dataset, columns=["value"], filters=filters)
    assert (
        loaded.query
        == json.loads(json.dumps(loaded.query))
        == {
            "dataset": dataset.dataset_id,
            "content_sha256": dataset.content_sha256,
            "columns": ["value"],
            "filters": [["metric_date", "lte", "2024-01-05"], ["metric_id", "in", ["m001", "m900"]]],
            "rows_before": 40,
            "rows_after": 1,
        }
    )


WRONG: list[tuple[list[str] | None, list[Filter], type[Exception], str]] = [
    (["valeu"], [], UnknownColumn, "column 'valeu' is not in the data; did you mean 'value'"),
    (None, [("brnd", "eq", "x")], UnknownColumn, "did you mean 'brand'"),
    (None, [("value", "eq", "abc")], ContractViolation, "abc"),
    (None, [("metric_date", "gt", "soon")], ContractViolation, "soon"),
    (None, [("value", "above", 1)], ContractViolation, "filter 'above' is unknown"),
]


async def test_a_wrong_column_or_filter_is_one_line(catalogue: Catalogue, dataset: DatasetRecord) -> None:
    for columns, filters, error, says in WRONG:
        with pytest.raises(error, match=says) as raised:
            await catalogue.load(dataset, columns=columns, filters=filters)
        assert "\n" not in str(raised.value)


async def test_dates_come_as_timestamps(catalogue: Catalogue, dataset: DatasetRecord) -> None:
    frame = (await catalogue.load(dataset)).frame
    assert frame["metric_date"].dtype.kind == "M"
    assert frame["metric_date"].iloc[0] == pd.Timestamp("2024-01-01")


async def test_a_table_is_the_same_dataset_until_its_rows_change(catalogue: Catalogue, db: Database) -> None:
    rows = metrics(30)
    await load_table([rows.iloc[10:]], "business_metrics", db=db)
    await load_table([rows.iloc[:10]], "business_metrics", db=db)
    await db.execute("UPDATE business_metrics SET created_at = '2024-01-01T00:00:00Z'")
    first = await catalogue.get("table:business_metrics")
    assert (first.n_rows, first.content_sha256) == (30, (await catalogue.get("table:business_metrics")).content_sha256)
    await db.execute("DELETE FROM business_metrics")
    await load_table([rows.iloc[::-1]], "business_metrics", db=db)
    await db.execute("UPDATE business_metrics SET created_at = '2024-01-01T00:00:00Z'")
    assert (await catalogue.get("table:business_metrics")).content_sha256 == first.content_sha256
    await db.execute("UPDATE business_metrics SET value = value + 0.5 WHERE metric_id = %s", (rows["metric_id"][0],))
    assert (await catalogue.get("table:business_metrics")).content_sha256 != first.content_sha256


async def test_sizes_of_all_tables_are_listed(catalogue: Catalogue, db: Database) -> None:
    await load_table([clean_frame("hcp_profiles", 7)], "hcp_profiles", db=db)
    assert await catalogue.table_sizes() == {name: 7 if name == "hcp_profiles" else 0 for name in TABLES}


# -- descriptions -------------------------------------------------------------------------------------------------


async def test_a_description_agrees_with_pandas(catalogue: Catalogue, dataset: DatasetRecord) -> None:
    frame = (await catalogue.load(dataset)).frame
    columns = {column.name: column for column in (await catalogue.describe(dataset.dataset_id)).columns}
    assert list(columns) == list(dataset.columns)
    for name in ("value", "metric_date", "target", "metric_id"):
        assert columns[name].distinct == frame[name].nunique()
        assert columns[name].missing_share == frame[name].isna().mean()
    assert (columns["value"].minimum, columns["value"].maximum) == (frame["value"].min(), frame["value"].max())
    assert columns["metric_date"].minimum == date(2024, 1, 1)
    assert columns["brand"].top == (("Kisqali", 40),)


async def test_rare_values_are_not_shown(catalogue: Catalogue, tmp_path: Path) -> None:
    text = "diagnosis\n" + "common\n" * 11 + "rare\n" * 10
    await register_file(catalogue, sales(tmp_path, text))
    (column,) = (await catalogue.describe("sales")).columns
    assert (column.top, column.distinct) == ((("common", 11),), 2)


async def test_personal_columns_show_no_value(catalogue: Catalogue, db: Database) -> None:
    frame = clean_frame("hcp_profiles", 30).assign(last_name="Smith", first_name="Ada", zip_code="02134")
    await load_table([frame], "hcp_profiles", db=db)
    description = await catalogue.describe("table:hcp_profiles")
    hidden = {column.name for column in description.columns if column.personal}
    assert hidden >= set(TABLES["hcp_profiles"].personal_columns)
    shown = repr(description.columns)
    assert not any(secret in shown for secret in ("Smith", "Ada", "02134", "10000000"))


async def test_many_distinct_values_are_not_counted_out(catalogue: Catalogue, tmp_path: Path) -> None:
    text = "id\n" + "".join(f"u{i}\n" for i in range(10_001))
    await register_file(catalogue, sales(tmp_path, text))
    (column,) = (await catalogue.describe("sales")).columns
    assert (column.distinct, column.top) == (None, ())


async def test_what_was_assumed_on_reading_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    await register_file(catalogue, sales(tmp_path, "at\n2024-01-01T10:00\n"))
    assert (await catalogue.describe("sales")).notes == ("column 'at' has times without a zone; they are taken as UTC",)


# -- exports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
async def test_what_is_exported_can_be_loaded_again(
    catalogue: Catalogue, dataset: DatasetRecord, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    assert await write_export(catalogue.batches(dataset), catalogue.schema(dataset), out) == 40
    again = await register_file(catalogue, out, name="again")
    left = (await catalogue.load(dataset)).frame
    right = (await catalogue.load(again)).frame
    # CSV has no types: a column of whole floats reads back as int, one without values as text.
    exact = suffix == ".parquet"
    left, right = (frame if exact else frame.dropna(axis=1, how="all") for frame in (left, right))
    pd.testing.assert_frame_equal(left, right, check_dtype=exact)


async def test_exported_csv_of_a_stored_file_is_the_same_dataset(catalogue: Catalogue, tmp_path: Path) -> None:
    tricky = 'a,b,c\n1.5,"x, ""y""\nz",2024-01-01\n,"",\n0.1,"NA",2024-12-31\n1e300,ü,\n'
    record = await register_file(catalogue, sales(tmp_path, tricky))
    out = tmp_path / "out.csv"
    await write_export(catalogue.batches(record), catalogue.schema(record), out)
    assert store_file(out).dataset_id == record.dataset_id


async def test_lists_are_exported_as_json_and_load_back(catalogue: Catalogue, db: Database, tmp_path: Path) -> None:
    await load_table([clean_frame("hcp_profiles", 4)], "hcp_profiles", db=db)
    before = await catalogue.get("table:hcp_profiles")
    out = tmp_path / "out.csv"
    await write_export(catalogue.batches(before), catalogue.schema(before), out)
    await db.execute("DELETE FROM hcp_profiles")
    await load_table(out, "hcp_profiles", db=db)
    assert (await catalogue.get("table:hcp_profiles")).content_sha256 == before.content_sha256


async def test_an_export_does_not_replace_a_file_unless_forced(catalogue: Catalogue, tmp_path: Path) -> None:
    record = await register_file(catalogue, sales(tmp_path))
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    with pytest.raises(ContractViolation, match="is already there; give --force"):
        await write_export(catalogue.batches(record), catalogue.schema(record), out)
    assert out.read_text() == "mine"
    await write_export(catalogue.batches(record), catalogue.schema(record), out, force=True)
    assert pq.read_metadata(out).num_rows == 3


@pytest.mark.parametrize(("name", "says"), [("out.xlsx", "named .csv or .parquet"), ("no/out.csv", "no such folder")])
async def test_an_impossible_target_is_one_line(catalogue: Catalogue, tmp_path: Path, name: str, says: str) -> None:
    record = await register_file(catalogue, sales(tmp_path))
    with pytest.raises((ContractViolation, DataUnavailable), match=says):
        await write_export(catalogue.batches(record), catalogue.schema(record), tmp_path / name)


async def test_an_export_that_breaks_off_leaves_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    record = await register_file(catalogue, sales(tmp_path))
    schema, batches = catalogue.schema(record), catalogue.batches(record)
    folder = tmp_path / "exports"
    folder.mkdir()
    Path(str(record.path)).unlink()
    with pytest.raises(DataUnavailable):
        await write_export(batches, schema, folder / "out.csv")
    assert list(folder.iterdir()) == []
