"""Rows enter a contract table all together or not at all, and every broken rule is named."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.contracts.tables import TABLES
from src.errors import ContractViolation, UnreadableFile
from src.storage import contract_chunks
from src.storage.database import Database
from src.storage.loading import LoadOptions, load_table, load_tables
from src.storage.rejections import LoadRejected
from tests.integration.loading_files import as_text, metrics, write_csv
from tests.unit.test_contracts.frames import clean_frame


async def count(db: Database, table: str) -> int:
    row = await db.fetchrow(f"SELECT count(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


async def load_parents(db: Database) -> None:
    for name in ("hcp_profiles", "patient_journeys"):
        await load_table([clean_frame(name)], name, db=db)


def same(stored: Any, given: Any) -> bool:
    if given is None or (isinstance(given, float) and math.isnan(given)):
        return stored is None
    if isinstance(given, pd.Timestamp):
        return pd.Timestamp(stored) == given
    if isinstance(given, float):
        return math.isclose(stored, given)
    return bool(stored == given)


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("form", ["csv", "parquet", "frames"])
async def test_every_value_of_every_table_arrives(db: Database, tmp_path: Path, name: str, form: str) -> None:
    if name == "treatment_events":
        await load_parents(db)
    frame = clean_frame(name, 4)
    if form == "csv":
        source: Any = write_csv(tmp_path / "in.csv", frame)
    elif form == "parquet":
        source = tmp_path / "in.parquet"
        as_text(frame).to_parquet(source)
    else:
        source = [frame.iloc[:1], frame.iloc[1:]]
    report = await load_table(source, name, db=db)
    assert (report.rows_read, report.rows_loaded, report.rejected_total) == (4, 4, 0)
    table = TABLES[name]
    stored = await db.fetch(f"SELECT * FROM {name} ORDER BY {table.primary_key}")
    expected = frame.sort_values(table.primary_key).to_dict("records")
    for row, want in zip(stored, expected, strict=True):
        wrong = {key: (row[key], want[key]) for key in table.column_names if not same(row[key], want[key])}
        assert not wrong


async def test_one_bad_row_stops_the_whole_load_and_is_named_by_line(db: Database, tmp_path: Path) -> None:
    frame = as_text(metrics(10)).astype(object)
    frame.loc[4, "value"] = "much"
    frame.loc[7, "brand"] = "Aspirin"
    path = write_csv(tmp_path / "in.csv", frame)
    with pytest.raises(LoadRejected, match="line 6, value = much: value must be a number") as error:
        await load_table(path, "business_metrics", db=db)
    report = error.value.report
    assert [(row.line, row.column, row.value) for row in report.rejected] == [
        (6, "value", "much"),
        (9, "brand", "Aspirin"),
    ]
    assert (report.rows_read, report.rows_loaded, report.rejected_total, report.rows_rejected) == (10, 0, 2, 2)
    assert await count(db, "business_metrics") == 0


async def test_good_rows_are_loaded_without_the_bad_ones_only_when_asked(db: Database, tmp_path: Path) -> None:
    frame = as_text(metrics(10)).astype(object)
    frame.loc[4, "value"] = ""
    path = write_csv(tmp_path / "in.csv", frame)
    report = await load_table(path, "business_metrics", db=db, options=LoadOptions(skip_rejected=True))
    assert (report.rows_loaded, report.rows_rejected, await count(db, "business_metrics")) == (9, 1, 9)
    assert report.rejected[0].line == 6


async def test_lines_are_those_of_the_file_with_blank_lines_and_line_breaks_in_cells(
    db: Database, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        "metric_id,metric_date,metric_type,metric_name,value\n"
        'a,2024-01-01,kpi,"two\nlines",1\n'
        "\n"
        "b,2024-01-01,kpi,x,2\n"
        "c,2024-01-01,kpi,y,bad\n"
    )
    with pytest.raises(LoadRejected) as error:
        await load_table(path, "business_metrics", db=db)
    assert [row.line for row in error.value.report.rejected] == [6]


async def test_rules_between_rows_hold_across_chunks(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_chunks, "CHUNK_ROWS", 3)
    frame = metrics(9)
    frame.loc[8, "metric_id"] = frame.loc[0, "metric_id"]
    frame.loc[7, ["metric_name", "metric_date", "brand", "region"]] = frame.loc[
        1, ["metric_name", "metric_date", "brand", "region"]
    ]
    with pytest.raises(LoadRejected) as error:
        await load_table(write_csv(tmp_path / "in.csv", frame), "business_metrics", db=db)
    assert [(row.line, row.column) for row in error.value.report.rejected] == [
        (9, "metric_name, metric_date, brand, region"),
        (10, "metric_id"),
    ]
    assert error.value.report.rejected[1].rule == "metric_id must be unique"


async def test_an_empty_brand_counts_as_a_value_in_the_metric_key(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_chunks, "CHUNK_ROWS", 1)
    frame = metrics(2).assign(metric_name="BU", brand=None, region=None)
    with pytest.raises(LoadRejected) as error:
        await load_table(write_csv(tmp_path / "in.csv", frame), "business_metrics", db=db)
    assert [row.line for row in error.value.report.rejected] == [3]


async def test_a_row_that_is_already_stored_is_refused(db: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(5))
    await load_table(path, "business_metrics", db=db)
    with pytest.raises(LoadRejected) as error:
        await load_table(path, "business_metrics", db=db)
    assert {row.line for row in error.value.report.rejected} == {2, 3, 4, 5, 6}
    assert await count(db, "business_metrics") == 5


async def test_a_patient_has_one_split_across_chunks_and_loads(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_chunks, "CHUNK_ROWS", 1)
    frame = clean_frame("patient_journeys", 4).assign(patient_id="pat_1")
    frame.loc[2, "data_split"] = "test"
    with pytest.raises(LoadRejected) as error:
        await load_table(write_csv(tmp_path / "in.csv", frame), "patient_journeys", db=db)
    report = error.value.report
    assert [(row.line, row.column, row.value) for row in report.rejected] == [
        (4, "patient_id, data_split", "***, test")
    ]


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("hcp_id", "hcp_unknown", "there is no such row in hcp_profiles"),
        ("patient_journey_id", "nowhere", "there is no such row in patient_journeys"),
        ("event_date", pd.Timestamp("2030-01-01"), "event_date must lie between"),
    ],
)
async def test_rules_that_need_another_table_name_the_row(
    db: Database, tmp_path: Path, column: str, value: Any, rule: str
) -> None:
    await load_parents(db)
    frame = clean_frame("treatment_events", 4)
    frame.loc[2, column] = value
    with pytest.raises(LoadRejected) as error:
        await load_table(write_csv(tmp_path / "in.csv", frame), "treatment_events", db=db)
    first = error.value.report.rejected[0]
    assert (first.line, first.rule[: len(rule)]) == (4, rule)
    assert await count(db, "treatment_events") == 0


async def test_personal_values_are_never_shown(db: Database, tmp_path: Path) -> None:
    frame = as_text(clean_frame("hcp_profiles", 3))
    frame.loc[1, "npi"] = "SECRET-NPI"
    frame.loc[2, "hcp_id"] = frame.loc[0, "hcp_id"]
    rejects = tmp_path / "rejects.csv"
    with pytest.raises(LoadRejected) as error:
        await load_table(
            write_csv(tmp_path / "in.csv", frame), "hcp_profiles", db=db, options=LoadOptions(rejects=rejects)
        )
    assert {row.value for row in error.value.report.rejected if row.column == "npi"} == {"***"}
    assert "SECRET-NPI" not in str(error.value) + repr(error.value.report) + rejects.read_text()


async def test_all_rejections_go_to_the_file_and_the_first_to_the_report(db: Database, tmp_path: Path) -> None:
    frame = as_text(metrics(30)).assign(value="bad")
    rejects = tmp_path / "rejects.csv"
    with pytest.raises(LoadRejected) as error:
        await load_table(
            write_csv(tmp_path / "in.csv", frame),
            "business_metrics",
            db=db,
            options=LoadOptions(rejects=rejects, max_reported=4),
        )
    assert (len(error.value.report.rejected), error.value.report.rejected_total) == (4, 30)
    rows = list(csv.reader(rejects.read_text().splitlines()))
    assert rows[0] == ["line", "column", "value", "rule"]
    assert [int(row[0]) for row in rows[1:]] == list(range(2, 32))


async def test_a_clean_load_writes_no_rejects_file(db: Database, tmp_path: Path) -> None:
    rejects = tmp_path / "out" / "rejects.csv"
    rejects.parent.mkdir()
    path = write_csv(tmp_path / "in.csv", metrics(3))
    await load_table(path, "business_metrics", db=db, options=LoadOptions(rejects=rejects))
    assert list(rejects.parent.iterdir()) == []


async def test_columns_outside_the_contract_are_left_out_and_named(db: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(3).assign(colour="blue"))
    assert (await load_table(path, "business_metrics", db=db)).ignored_columns == ("colour",)


async def test_a_missing_required_column_is_named_with_the_nearest(db: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(3).rename(columns={"metric_date": "metric_dat"}))
    with pytest.raises(ContractViolation, match=r"needs the column 'metric_date'; did you mean 'metric_dat'"):
        await load_table(path, "business_metrics", db=db)


async def test_an_unknown_table_is_named_with_the_nearest(db: Database, tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match="did you mean 'triggers'"):
        await load_table(write_csv(tmp_path / "in.csv", metrics(3)), "trigers", db=db)


async def test_a_file_that_breaks_off_midway_leaves_the_table_as_it_was(db: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(3_000))
    with path.open("a") as file:
        file.write("too,short\n")
    with pytest.raises(UnreadableFile, match="line 3002 has 2 fields"):
        await load_table(path, "business_metrics", db=db)
    assert await count(db, "business_metrics") == 0


async def test_text_that_postgresql_cannot_hold_is_one_line_and_nothing_is_loaded(db: Database) -> None:
    frame = metrics(3)
    frame.loc[1, "metric_type"] = "a\x00b"
    with pytest.raises(ContractViolation, match="lines 2 to 4 hold what PostgreSQL cannot store"):
        await load_table([frame], "business_metrics", db=db)
    assert await count(db, "business_metrics") == 0


async def test_an_empty_created_at_gets_the_default(db: Database) -> None:
    await load_table([clean_frame("business_metrics", 2).assign(created_at=None)], "business_metrics", db=db)
    assert all(row["created_at"] is not None for row in await db.fetch("SELECT created_at FROM business_metrics"))


async def test_progress_rises_to_the_end_of_the_file(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.storage.csv_blocks.BLOCK_BYTES", 20_000)
    heard: list[tuple[int, float]] = []
    path = write_csv(tmp_path / "in.csv", metrics(1_000))
    await load_table(path, "business_metrics", db=db, on_progress=lambda rows, share: heard.append((rows, share)))
    assert heard == sorted(heard)
    assert heard[-1] == (1_000, 1.0)
    assert len(heard) > 3


def generation(version: int) -> dict[str, list[pd.DataFrame]]:
    names = ("treatment_events", "hcp_profiles", "patient_journeys")
    frames = {name: clean_frame(name) for name in names}
    frames["hcp_profiles"]["decile"] = version
    return {name: [frame] for name, frame in frames.items()}


async def test_several_tables_are_loaded_parents_first_and_once(db: Database) -> None:
    first = await load_tables(generation(1), db=db)
    assert {name: report.rows_loaded for name, report in first.items()} == dict.fromkeys(first, 4)
    again = await load_tables(generation(1), db=db)
    assert {report.rows_loaded for report in again.values()} == {0}
    assert await count(db, "treatment_events") == 4


async def test_another_generation_is_refused_unless_it_may_replace(db: Database) -> None:
    await load_tables(generation(1), db=db)
    with pytest.raises(LoadRejected):
        await load_tables(generation(2), db=db)
    assert {row["decile"] for row in await db.fetch("SELECT decile FROM hcp_profiles")} == {1}
    await load_tables(generation(2), db=db, replace_rows=True)
    assert {row["decile"] for row in await db.fetch("SELECT decile FROM hcp_profiles")} == {2}
    assert await count(db, "treatment_events") == 4


async def test_a_broken_generation_replaces_nothing(db: Database) -> None:
    await load_tables(generation(1), db=db)
    broken = generation(2)
    broken["treatment_events"][0].loc[0, "hcp_id"] = "unknown"
    with pytest.raises(LoadRejected):
        await load_tables(broken, db=db, replace_rows=True)
    assert {row["decile"] for row in await db.fetch("SELECT decile FROM hcp_profiles")} == {1}
