"""The Markdown report has the same content in tables that stay tables, whatever the names are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.app.report import render_report
from src.app.report.blocks import Table
from src.app.report.contents import compose
from src.app.report.markdown import inline
from src.causal_engine.results import Analysis, BalanceRow
from tests.unit.test_report.pages import read_tables
from tests.unit.test_report.random_analyses import PLOTTABLE_ANALYSES, TEXT
from tests.unit.test_report.samples import DATASET, RUN, SAMPLES, supported

pytestmark = pytest.mark.unit
generous = settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def markdown(analysis: Analysis) -> str:
    return render_report(RUN, DATASET, analysis, format="md")


def expected_tables(analysis: Analysis) -> list[list[list[str]]]:
    report = compose(RUN, DATASET, analysis)
    tables = [Table(("Asked and understood", ""), report.answer.facts)]
    tables += [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    return [[[" ".join(cell.split()) for cell in row] for row in (t.columns, *t.rows)] for t in tables]


@pytest.mark.parametrize("name", SAMPLES)
def test_tables_read_back_cell_by_cell(name: str) -> None:
    analysis = SAMPLES[name]()
    assert read_tables(markdown(analysis)) == expected_tables(analysis)


@generous
@given(PLOTTABLE_ANALYSES)
def test_tables_read_back_cell_by_cell_whatever_the_names(analysis: Analysis) -> None:
    assert read_tables(markdown(analysis)) == expected_tables(analysis)


@pytest.mark.parametrize(
    "words", ["# Effect of calls on nrx", "**Causal effect supported**", "0.436 NRx per call", "What not to conclude",
              "placebo treatment", "a" * 64, "Internal use — commercial analytics; not clinical advice"],
)  # fmt: skip
def test_the_content_is_that_of_the_page(words: str) -> None:
    assert words in markdown(supported())


def test_no_html_and_no_picture_gets_through() -> None:
    text = markdown(replace(supported(), balance=(BalanceRow("<script>", 0.3, 0.1),), treatment="![x](http://a.b)"))
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "![x](" not in text
    assert "<svg" not in text


@generous
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_escaped_text_is_read_back_as_it_was(cells: list[str]) -> None:
    table = "| h |\n| --- |\n" + "\n".join(f"| {inline(cell)} |" for cell in cells)
    assert read_tables(table)[0][1:] == [[" ".join(cell.split())] for cell in cells]
