"""The terminal summary: verdict, number, tests, warnings and the next step, in any width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from src.app.report.text import terminal_summary
from src.causal_engine.results import Analysis
from tests.unit.test_report.samples import RUN, SAMPLES, association_only, crowded, not_identified, supported

pytestmark = pytest.mark.unit


def terminal(analysis: Analysis, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(terminal_summary(RUN, analysis))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (supported, "Causal effect supported"), 
        (supported, "aipw (primary)"), (supported, "1.07 to 1.35"), 
        (supported, "holds -999"), (supported, "e2i report run_7d20"), (supported, "and 1 more in the report"),
        (association_only, "FAILED"),
        (not_identified, "Not identified"),
    ],
)  # fmt: skip
def test_the_summary_says(build, words: str) -> None:  # type: ignore[no-untyped-def]
    assert words in terminal(build())


def test_other_estimators_with_the_same_controls_come_before_other_controls() -> None:
    words = [line.strip("│ ").split("  ")[0] for line in terminal(supported()).splitlines()]
    first = words.index("aipw (primary)")
    assert words[first : first + 6] == ["aipw (primary)", "naive", "ols", "ipw", "aipw", "aipw"]


def test_names_from_the_data_are_not_read_as_terminal_markup() -> None:
    analysis = replace(supported(), treatment="[bold red]x[/]", primary=replace(supported().primary, label="[/nope]"))
    text = terminal(analysis)
    assert "[bold red]x[/]" in text
    assert "[/nope]" in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("build", [*SAMPLES.values(), crowded])
def test_the_summary_fits_its_terminal(build, width: int) -> None:  # type: ignore[no-untyped-def]
    assert max(len(line) for line in terminal(build(), width).splitlines()) <= width


def test_the_summary_says_headline_findings_and_what_to_do_once() -> None:
    conclusion = supported().conclusion
    shown = " ".join(terminal(supported()).replace("│", " ").split())
    for line in (conclusion.headline, *conclusion.findings, *conclusion.recommendations):
        assert shown.count(" ".join(line.split())) == 1
