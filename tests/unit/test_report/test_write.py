"""Reports reach the disk whole or not at all, and the JSON one keeps its shape."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from src.app.report import render_report, write_report
from src.causal_engine.results import Analysis
from tests.unit.test_report.random_analyses import ANALYSES
from tests.unit.test_report.samples import DATASET, RUN, SAMPLES, supported

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("format", ["html", "md", "json"])
def test_the_file_holds_exactly_the_rendered_report(format: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / f"report.{format}"
    assert write_report(RUN, DATASET, supported(), target, format=format) == target  # type: ignore[arg-type]
    assert target.read_text(encoding="utf-8") == render_report(RUN, DATASET, supported(), format=format)  # type: ignore[arg-type]
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_report_that_cannot_be_rendered_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    broken = replace(RUN, request={"when": object()})
    with pytest.raises(TypeError):
        write_report(broken, DATASET, supported(), target, format="json")
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_report_that_cannot_be_put_in_place_leaves_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "report.md"
    (target / "occupied").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_report(RUN, DATASET, supported(), target, format="md")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_json_report_keeps_its_shape(name: str) -> None:
    document = json.loads(render_report(RUN, DATASET, SAMPLES[name](), format="json"))
    assert list(document) == ["schema_version", "stamp", "run", "dataset", "analysis"]
    assert document["schema_version"] == 1
    assert document["run"]["started_at"] == "2026-11-03T09:00:00Z"
    assert "analysis" not in document["run"]
    assert document["dataset"]["content_sha256"] == "a" * 64
    assert document["analysis"]["conclusion"]["verdict"] == str(SAMPLES[name]().conclusion.verdict)


def test_dates_and_numbers_json_cannot_hold_are_written_plainly() -> None:
    run = replace(RUN, request={"since": date(2026, 1, 31), "share": math.nan})
    document = json.loads(render_report(run, DATASET, supported(), format="json"))
    assert document["run"]["request"] == {"since": "2026-01-31", "share": None}


def _refuse(literal: str) -> None:
    raise AssertionError(f"{literal} is not JSON")


@settings(
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(ANALYSES)
def test_the_json_report_is_valid_json_for_any_analysis(analysis: Analysis) -> None:
    document = json.loads(render_report(RUN, DATASET, analysis, format="json"), parse_constant=_refuse)
    assert document["analysis"]["n_rows"] == analysis.n_rows
