"""e2i effect, show, rerun, report and runs as a user meets them."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from .command_line import CommandLine, SameProcess, study_frame

ASKED = ("--treatment", "t", "--outcome", "y")


@pytest.fixture
def e2i(tmp_path: Path, database_url: str) -> CommandLine:
    return CommandLine(tmp_path / "var", database_url)


@pytest.fixture
def within(tmp_path: Path, database_url: str) -> SameProcess:
    return SameProcess(tmp_path / "var", database_url)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.csv"
    study_frame(1200).to_csv(path, index=False)
    return path


def test_an_answer_is_kept_shown_repeated_and_reported(e2i: CommandLine, within: SameProcess, study: Path) -> None:
    answered = e2i("effect", "--data", str(study), *ASKED, "--confounders", "x", "--json")
    assert answered.code == 0, answered.err
    run = answered.document["run"]
    primary = run["analysis"]["primary"]
    assert run["verdict"] == "causal effect supported"
    assert primary["ci"]["lower"] <= 0.8 <= primary["ci"]["upper"]

    assert [line["run_id"] for line in within("runs", "--json").document] == [run["run_id"]]
    shown = within("show", run["run_id"][:13], "--json").document
    assert shown["run"] == run
    assert shown["dataset"]["content_sha256"] == run["data_sha256"]

    repeated = within("rerun", run["run_id"], "--json")
    assert (repeated.code, repeated.document["identical"], repeated.document["differences"]) == (0, True, [])

    page = within("report", run["run_id"], "--out", "-").out
    assert page.startswith("<!DOCTYPE html>") or page.startswith("<!doctype html>")
    assert run["run_id"] in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_rerun_names_the_input_that_changed(within: SameProcess, study: Path) -> None:
    run = within("effect", "--data", str(study), *ASKED, "--confounders", "x", "--json").document["run"]
    stored = next((within.var / "datasets").glob("*.parquet"))
    study_frame(1200, effect=0.1).to_parquet(stored)
    changed = within("rerun", run["run_id"])
    assert changed.code != 0
    assert "changed" in changed.out + changed.err


def test_fail_unless_supported_turns_the_verdict_into_an_exit_code(within: SameProcess, study: Path) -> None:
    refused = within("effect", "--data", str(study), *ASKED, "--fail-unless-supported", "--json")
    assert refused.code == 1
    assert refused.document["run"]["verdict"] == "association only"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "none.csv", *ASKED), "no such file"),
        (("--data", "empty.csv", *ASKED), "empty"),
        (("--data", "binary.csv", *ASKED), "binary"),
        (("--data", "study.csv", "--treatment", "tt", "--outcome", "y"), "did you mean 't'"),
        (("--data", "study.csv", "--treatment", "const", "--outcome", "y"), "constant"),
        (("--data", "study.csv", "--treatment", "t", "--outcome", "name"), "not numeric"),
        (("--data", "duplicate.csv", *ASKED, "--panel", "unit,month"), "duplicate"),
        (("--data", "small.csv", *ASKED, "--confounders", "x"), "needs at least 30"),
        (("--data", "study.csv", *ASKED, "--graph", "cyclic.json"), "cycle"),
        (("--data", "study.csv", *ASKED, "--graph", "reversed.json"), "contradicts"),
        (("--data", "study.csv", *ASKED, "--confounders", "t,x"), "also among the confounders"),
        (("--data", "study.csv", *ASKED, "--confounders", "x", "--estimator", "apiw"), "did you mean 'aipw'"),
        (("--data", "study.csv", *ASKED, "--confounders", "x", "--where", "x>99"), "has no rows with x gt 99"),
        (("--dataset", "nothing", *ASKED), "no dataset 'nothing'"),
        (ASKED, "--data FILE or --dataset ID"),
        (("--data", "study.csv", *ASKED, "--panel", "unit"), "UNIT,TIME"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    within: SameProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    write_bad_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = written(within)
    refused = within("effect", *arguments)
    assert refused.code == 2
    assert said in refused.err
    assert refused.err.count("\n") == 1
    assert refused.out == ""
    assert written(within) == before


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("did more rep calls cause more Humira prescriptions?", "'Humira'"),
        ("did rep calls change the patient happiness index of Kisqali?", "happiness"),
        ("\x00\x01\x02" * 300_000, "characters"),
        ("", "empty"),
    ],
)
def test_a_question_about_nothing_known_is_refused_in_one_line(within: SameProcess, question: str, said: str) -> None:
    refused = within("ask", "-", text=question)
    assert refused.code == 2
    assert said in refused.err
    assert refused.err.count("\n") == 1


def test_an_ambiguous_question_is_asked_back(within: SameProcess) -> None:
    back = within("ask", "what is the effect of rep calls for Kisqali?", "--json")
    assert back.code == 1
    assert back.document["options"]


@pytest.mark.parametrize("wrong", [("effect", "--no-such-option"), ("db", "status", "--nope")])
def test_a_wrong_call_is_one_line_and_exit_2(within: SameProcess, wrong: tuple[str, ...]) -> None:
    refused = within(*wrong)
    assert refused.code == 2
    assert refused.err.count("\n") == 1


def test_a_wrong_call_leaves_the_process_with_2_and_nothing_but_its_line(e2i: CommandLine) -> None:
    refused = e2i("frobnicate")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1


def write_bad_files(folder: Path) -> None:
    frame = study_frame()
    frame.to_csv(folder / "study.csv", index=False)
    (folder / "empty.csv").write_text("")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    frame.iloc[[*range(400), 0]].to_csv(folder / "duplicate.csv", index=False)
    frame.head(20).to_csv(folder / "small.csv", index=False)
    (folder / "cyclic.json").write_text('{"edges": [["t", "y"], ["y", "x"], ["x", "t"]]}')
    (folder / "reversed.json").write_text('{"edges": [["y", "t"]]}')


def written(e2i: CommandLine) -> tuple[list[str], int]:
    """Files of the folder, and rows of everything an answer writes; the trace of the command itself aside."""
    files = sorted(str(path) for path in e2i.var.rglob("*") if path.is_file() and "spool" not in path.parts)
    tables = ("datasets", "analysis_runs", "agent_activities", "estimator_evaluations")
    with psycopg.connect(e2i.dsn) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
        counts.append(
            connection.execute("SELECT count(*) FROM ml_observability_spans WHERE agent_name <> 'unknown'").fetchone()
        )
    return files, sum(row[0] for row in counts if row)


def test_an_effect_of_a_column_that_a_role_is_not_shown_is_one_line(within: SameProcess) -> None:
    for role, column in (("analyst", "npi"), ("field", "decile")):
        refused = within(
            "effect", "--dataset", "table:hcp_profiles", "--treatment", column, "--outcome", "y", "--role", role
        )
        assert (refused.code, refused.out) == (2, "")
        assert f"'{column}' may not be shown to your role" in refused.err
        assert refused.err.count("\n") == 1
