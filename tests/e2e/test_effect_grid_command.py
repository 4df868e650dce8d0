"""`e2i effect --grid` as a user meets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pytest

from .command_line import CommandLine, SameProcess, study_frame

GRID = "data: study.csv\nby: {month: [0, 1]}\ntreatments: [t]\noutcomes: [y, x]\nrandomized: true\nestimator: ols\n"


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study_frame(800).to_csv("study.csv", index=False)
    Path("grid.yaml").write_text(GRID)


@pytest.mark.slow
def test_two_processes_answer_a_grid_and_its_files_are_written_again(tmp_path: Path, database_url: str) -> None:
    e2i = CommandLine(tmp_path / "var", database_url)
    done = e2i("effect", "--grid", "grid.yaml", "--workers", "2", "--out", "grid.html", "--json")
    assert done.code == 0, done.err
    assert [cell["status"] for cell in done.document["cells"]] == ["answered"] * 4
    assert Path("grid.html").read_text().count("<svg") == 3
    shown = e2i("grids", "show", done.document["grid_id"], "--out", "grid.csv", "--json")
    assert shown.document["cells"] == done.document["cells"]
    assert len(Path("grid.csv").read_text().splitlines()) == 5
    run = e2i("show", done.document["cells"][0]["run_id"], "--json").document["run"]
    assert run["understood"]["grid"] == {"grid_id": done.document["grid_id"], "cell": 0}


MANY = GRID.replace("[0, 1]", "[0, 1, 2, 3]").replace("outcomes: [y, x]", "outcomes: [y, x, z, w]")


def _ended(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT count(*) FROM effect_grid_cells").fetchone()
    return int(found[0]) if found else 0


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wide() -> None:
    study_frame(800).assign(z=lambda rows: rows.y + 1, w=lambda rows: rows.x - 1).to_csv("study.csv", index=False)
    Path("grid.yaml").write_text(MANY)


@pytest.mark.slow
def test_a_grid_that_was_killed_goes_on_and_asks_no_cell_twice(tmp_path: Path, database_url: str) -> None:
    _wide()
    e2i = CommandLine(tmp_path / "var", database_url)
    killed = e2i.start("effect", "--grid", "grid.yaml", "--workers", "2")
    _wait(lambda: _ended(database_url) >= 3)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert left == []
    assert 3 <= _ended(database_url) < 16

    done = e2i("effect", "--grid", "grid.yaml", "--json")
    assert done.code == 0, done.err
    assert [cell["status"] for cell in done.document["cells"]] == ["answered"] * 16
    with psycopg.connect(database_url) as connection:
        query = "SELECT request_sha256 FROM analysis_runs WHERE status = 'completed'"
        asked = [row[0] for row in connection.execute(query)]
    assert len(asked) == len(set(asked)) == 16

    again = e2i("effect", "--grid", "grid.yaml", "--workers", "2", "--json")
    assert again.document["cells"] == done.document["cells"]
    by_two = CommandLine(tmp_path / "other", _another_database(database_url))
    told = by_two("effect", "--grid", "grid.yaml", "--workers", "2", "--json").document["cells"]
    assert [_numbers(cell) for cell in told] == [_numbers(cell) for cell in done.document["cells"]]


def _numbers(cell: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in cell.items() if name != "run_id"}


def _another_database(dsn: str) -> str:
    name = "grid_told_by_two"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.mark.slow
def test_a_killed_worker_costs_its_cell_only(tmp_path: Path, database_url: str) -> None:
    _wide()
    e2i = CommandLine(tmp_path / "var", database_url)
    started = e2i.start("effect", "--grid", "grid.yaml", "--workers", "2")
    _wait(lambda: _ended(database_url) >= 3)
    children = psutil.Process(started.pid).children(recursive=True)
    max(children, key=lambda child: sum(child.cpu_times()[:2])).kill()
    assert started.wait(timeout=240) in (0, 1)
    (grid,) = e2i("grids", "list", "--json").document
    ended = [cell["status"] for cell in e2i("grids", "show", grid["grid_id"], "--json").document["cells"]]
    assert ended.count("answered") >= 15
    assert set(ended) <= {"answered", "failed"}
    done = e2i("effect", "--grid", "grid.yaml", "--json").document
    assert (done["grid_id"], [cell["status"] for cell in done["cells"]]) == (grid["grid_id"], ["answered"] * 16)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("treatments: [", (), "not valid YAML"),
        (GRID + "leval: 1\n", (), "leval: unknown key"),
        (GRID, ("--fdr", "bonferroni"), "use bh, by, holm"),
        (GRID, ("--out", "grid.xlsx"), "must end in .html, .csv, .json"),
        (GRID, ("--out", "."), "must end in"),
        (GRID, ("--deviation", "lag=why"), "--deviation goes with --plan"),
        (GRID, ("--outcome", "y"), "write 'outcome' into the file"),
        (GRID, ("--plan", "0199c2"), "there is no plan '0199c2'"),
        (GRID.replace("month", "mnth"), (), "'mnth' is not in the data"),
    ],
)
def test_a_bad_grid_is_one_line_and_exit_2(
    tmp_path: Path, database_url: str, text: str, options: tuple[str, ...], said: str
) -> None:
    Path("grid.yaml").write_text(text)
    refused = SameProcess(tmp_path / "var", database_url)("effect", "--grid", "grid.yaml", *options)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert refused.err.count("\n") == 1
