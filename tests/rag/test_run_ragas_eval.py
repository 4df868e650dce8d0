"""Does the script say what came out by its text, its files and its exit code?"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest

from src.rag.evaluation import get_adversarial_dataset, save_evaluation_dataset
from src.rag.evaluation_datasets import get_default_evaluation_dataset
from src.rag.samples import EvaluationSample
from tests.rag.judged import judging
from tests.rag.lexical_judge import Document, lexical_judge

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_ragas_eval.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_ragas_eval", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)


def echo(asked: Document) -> Document:
    """A question that is the one that was asked."""
    return {"question": QUESTIONS.get(asked["response"], asked["response"]), "noncommittal": 0}


ANSWERED = [
    EvaluationSample(one.query, one.contexts[0], one.contexts, one.contexts[0])
    for one in get_default_evaluation_dataset()[:5]
]
QUESTIONS = {one.answer: one.query for one in ANSWERED}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("E2I_EMBEDDINGS", "auto")
    with judging("openai", lexical_judge(question=echo), monkeypatch, embedding_size=1536) as server:
        yield server


def dataset(tmp_path: Path, samples: list[EvaluationSample]) -> str:
    file = tmp_path / "questions.jsonl"
    save_evaluation_dataset(samples, file)
    return str(file)


def given(tmp_path: Path, samples: list[EvaluationSample], *options: str) -> list[str]:
    return ["--dataset", dataset(tmp_path, samples), "--pipeline", "none", "--no-mlflow", *options]


def test_reached_thresholds_exit_with_zero(
    script: ModuleType, judge: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    options = given(tmp_path, ANSWERED, "--fail-on-threshold", "--output", str(report), "--verbose")
    assert script.main(options) == 0
    text = capsys.readouterr().out
    assert "every threshold is reached" in text
    assert "scored by ragas 5" in text
    assert ANSWERED[0].sample_id in text
    written = json.loads(report.read_text())
    assert (written["passed_samples"], written["pipeline_called"], written["failures"]) == (5, False, [])
    assert written["aggregates"]["faithfulness"]["interval"]["level"] == 0.95


@pytest.mark.parametrize(("option", "code"), [([], 0), (["--fail-on-threshold"], 1)])
def test_a_missed_threshold_is_one_only_where_that_is_asked(
    option: list[str], code: int, script: ModuleType, judge: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(given(tmp_path, get_adversarial_dataset()[:3], *option)) == code
    assert "below threshold: faithfulness: 0.000 is below 0.8" in capsys.readouterr().out


def test_an_option_sets_its_threshold(script: ModuleType, judge: Any, tmp_path: Path) -> None:
    low = ["--faithfulness", "0", "--answer-relevancy", "0", "--context-precision", "0", "--context-recall", "0"]
    report = tmp_path / "report.json"
    script.main(given(tmp_path, ANSWERED[:1], *low, "--output", str(report)))
    assert json.loads(report.read_text())["thresholds"] == {
        "faithfulness": 0,
        "answer_relevancy": 0,
        "context_precision": 0,
        "context_recall": 0,
        "overall": 0.8,
    }


def test_the_heuristic_scores_without_any_model_and_is_named(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(given(tmp_path, ANSWERED, "--provider", "none", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["methods"] == {"heuristic": 5}
    assert document["cost"]["calls"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "no/such.jsonl"], "no readable evaluation dataset"),
        (["--pipeline", "none"], "none of the samples carries an answer"),
        ([], "the corpus is empty"),
        (["--limit", "0"], "at least 1, not 0"),
        (["--provider", "anthropic", "--pipeline", "none", "--dataset", "adversarial"], "ANTHROPIC_API_KEY"),
        (["--pipeline", "none", "--dataset", "adversarial", "--compare", "nothing"], "neither a file nor the id"),
        (["--pipeline", "none", "--dataset", "adversarial", "--run-id", "nothing"], "no id of an evaluation run"),
        (["--output", "no/such/report.json"], "the folder does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_two(
    options: list[str], said: str, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--no-mlflow", *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("options", [["--faithfulness", "2"], ["--provider", "nobody"], ["--unknown"]])
def test_a_wrong_option_is_two(options: list[str], script: ModuleType) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(options)
    assert ended.value.code == 2


def test_junit_has_the_elements_and_attributes_that_pytest_writes(
    script: ModuleType, judge: Any, tmp_path: Path, pytester_report: ET.Element
) -> None:
    odd = EvaluationSample("control \x07 and <angle> & ]]>", None, ("c",), "Some answer.")
    file = tmp_path / "report.xml"
    script.main(given(tmp_path, [*ANSWERED[:2], get_adversarial_dataset()[0], odd], "--junit", str(file)))
    root = ET.parse(file).getroot()
    suite = root.find("testsuite")
    theirs = pytester_report.find("testsuite")
    assert suite is not None
    assert theirs is not None
    assert root.tag == pytester_report.tag
    assert set(suite.attrib) <= set(theirs.attrib)
    case, their_case = suite.find("testcase"), theirs.find("testcase")
    assert case is not None
    assert their_case is not None
    assert set(case.attrib) == set(their_case.attrib)
    assert int(suite.get("tests", 0)) == len(suite.findall("testcase")) == 4 + 5
    assert int(suite.get("failures", 0)) == len(suite.findall("testcase/failure"))
    failed = [one.get("name", "") for one in suite.findall("testcase") if one.find("failure") is not None]
    assert any(get_adversarial_dataset()[0].sample_id in name for name in failed)
    assert "faithfulness" in failed


@pytest.fixture(scope="module")
def pytester_report(tmp_path_factory: pytest.TempPathFactory) -> ET.Element:
    """What pytest itself writes of one passed and one failed test."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("junit")
    (folder / "test_two.py").write_text("def test_good():\n    pass\n\ndef test_bad():\n    assert False\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", "test_two.py"]
    subprocess.run(argv, cwd=folder, check=False, capture_output=True)
    return ET.parse(folder / "report.xml").getroot()


def test_a_worse_run_is_told_from_an_earlier_report_and_from_an_earlier_run(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says = [f"It was {week}." for week in range(20)]
    samples = [EvaluationSample(f"How many in week {week}?", one, (one,), one) for week, one in enumerate(says)]
    before, options = tmp_path / "before.json", given(tmp_path, samples, "--json")
    with judging("anthropic", lexical_judge(), monkeypatch):
        script.main([*options, "--output", str(before)])
    run_id, again = json.loads(capsys.readouterr().out)["run_id"], str(uuid4())
    with judging("anthropic", lexical_judge(attributed=_nothing), monkeypatch):
        code = script.main([*options, "--compare", str(before), "--fail-on-threshold", "--run-id", again])
    by_file = json.loads(capsys.readouterr().out)["comparison"]
    with judging("anthropic", lexical_judge(), monkeypatch):
        script.main([*options, "--compare", run_id, "--run-id", again])
    by_run = json.loads(capsys.readouterr().out)["comparison"]
    assert code == 1
    verdicts = {one["metric"]: one["verdict"] for one in by_file}
    assert (verdicts["context_recall"], verdicts["faithfulness"]) == ("inferior", "non_inferior")
    assert by_run == by_file


def _nothing(asked: Document) -> Document:
    return {"classifications": [{"statement": "s", "reason": "r", "attributed": 0}]}


def test_a_run_of_a_given_id_is_continued(
    script: ModuleType, judge: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = given(tmp_path, ANSWERED[:2], "--json", "--run-id", str(uuid4()))
    script.main(options)
    asked = len(judge.requests)
    first = json.loads(capsys.readouterr().out)
    script.main(options)
    again = json.loads(capsys.readouterr().out)
    assert len(judge.requests) == asked
    assert again["aggregates"] == first["aggregates"]


Spoilt = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda report: report["results"].clear(), "has no sample of this dataset"),
        (lambda report: report["results"][0].update(sample_id="other"), "has no sample of this dataset"),
        (lambda report: report["results"][0].update(faithfulness="high"), "no number between 0 and 1"),
        (lambda report: report["results"][0].update(faithfulness=7), "no number between 0 and 1"),
        (lambda report: report["results"][0].update(overall_score=float("nan")), "no number between 0 and 1"),
        (lambda report: report["results"][0].update(sample_id=[1]), "is no text"),
        (lambda report: report["results"][0].update(method="guess"), "unknown method"),
        (lambda report: report["results"].append(report["results"][0]), "has two results"),
    ],
)
def test_an_earlier_report_that_cannot_be_compared_is_refused_before_anything_is_scored(
    spoil: Spoilt, said: str, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    options = given(tmp_path, ANSWERED[:1], "--provider", "none")
    script.main([*options, "--output", str(before)])
    report = json.loads(before.read_text())
    spoil(report)
    before.write_text(json.dumps(report))
    capsys.readouterr()
    assert script.main([*options, "--compare", str(before), "--output", str(after)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not after.exists()


def test_a_folder_or_one_file_for_both_is_refused_before_anything_is_scored(
    script: ModuleType, judge: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = given(tmp_path, ANSWERED[:1])
    assert script.main([*options, "--output", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    both = str(tmp_path / "one")
    assert script.main([*options, "--output", both, "--junit", both]) == 2
    assert "a file of its own" in capsys.readouterr().err
    assert not judge.requests


def test_an_error_nobody_expected_is_one_line_and_two_and_the_report_is_written(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    options = given(tmp_path, ANSWERED[:1], "--provider", "none")
    script.main([*options, "--output", str(before)])
    capsys.readouterr()

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("src.app.rag_evaluation.compare_runs", broken)
    again = [*options, "--compare", str(before), "--output", str(after)]
    assert script.main(again) == 2
    assert capsys.readouterr().err == "unexpected ZeroDivisionError: division by zero (--debug shows the traceback)\n"
    assert json.loads(after.read_text())["total_samples"] == 1
    with pytest.raises(ZeroDivisionError):
        script.main([*again, "--debug"])


def test_a_collapse_over_ten_samples_fails_and_another_judge_is_no_comparison(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    low = ["--faithfulness", "0", "--answer-relevancy", "0", "--context-precision", "0", "--context-recall", "0"]
    says = [f"It was {week} in all." for week in range(10)]
    samples = [EvaluationSample(f"How many in week {week}?", one, (one,), one) for week, one in enumerate(says)]
    before = tmp_path / "before.json"
    options = given(tmp_path, samples, "--json", "--fail-on-threshold", *low)
    with judging("anthropic", lexical_judge(), monkeypatch):
        script.main([*options, "--output", str(before)])
    capsys.readouterr()
    with judging("anthropic", lexical_judge(attributed=_nothing), monkeypatch):
        assert script.main([*options, "--compare", str(before)]) == 1
    worse = json.loads(capsys.readouterr().out)
    verdicts = {one["metric"]: one["verdict"] for one in worse["comparison"]}
    assert (verdicts["context_recall"], verdicts["faithfulness"]) == ("inferior", "insufficient_evidence")
    assert script.main([*options, "--provider", "none", "--compare", str(before)]) == 1
    undecided = json.loads(capsys.readouterr().out)["undecided"]
    assert undecided[0].startswith("comparison: no score of the two runs can be compared")
