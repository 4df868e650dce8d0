"""No report claims more than its verdict: nothing is ever proven, only a supported effect causes anything."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from src.app.report import render_report
from src.app.report.text import terminal_summary
from src.app.report.wording import INTRODUCTION, MEANING, NOT_TO_CONCLUDE, TONE, overstatements
from src.causal_engine.results import Analysis, Verdict
from tests.unit.test_report.random_analyses import PLOTTABLE_ANALYSES
from tests.unit.test_report.samples import DATASET, RUN, supported

pytestmark = pytest.mark.unit
PROOF = re.compile(r"\bprove[sdn]?\b|\bproof\b", re.IGNORECASE)
CAUSES = re.compile(r"\bcaus(?:es|ed)\b", re.IGNORECASE)


def terminal(analysis: Analysis, width: int = 400) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(terminal_summary(RUN, analysis))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(PLOTTABLE_ANALYSES)
def test_the_words_of_a_report_go_no_further_than_its_verdict(analysis: Analysis) -> None:
    is_supported = analysis.conclusion.verdict is Verdict.SUPPORTED
    page, summary = render_report(RUN, DATASET, analysis, format="md"), terminal(analysis)
    assert bool(CAUSES.search(page)) is is_supported
    assert is_supported or not CAUSES.search(summary)
    assert not PROOF.search(page + summary)


def test_the_page_uses_the_same_words() -> None:
    for verdict in Verdict:
        analysis = replace(supported(), conclusion=replace(supported().conclusion, verdict=verdict))
        page = render_report(RUN, DATASET, analysis, format="html")
        assert not PROOF.search(page)
        assert bool(CAUSES.search(page)) is (verdict is Verdict.SUPPORTED)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_words(verdict: Verdict) -> None:
    assert verdict in MEANING
    assert verdict in TONE
    assert NOT_TO_CONCLUDE[verdict]
    assert (verdict in INTRODUCTION) is (verdict is not Verdict.NOT_IDENTIFIED)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict.SUPPORTED, "The test proves that calls work."),
        (Verdict.ASSOCIATION_ONLY, "Calling causes scripts."),
        (Verdict.UNDERPOWERED, "It is proven. There is no doubt."),
        (Verdict.NO_DETECTABLE_EFFECT, "There is no doubt: calls caused it."),
    ],
)
def test_a_sentence_that_claims_too_much_is_named_in_every_rendering(verdict: Verdict, text: str) -> None:
    assert overstatements(verdict, (text,)) == (text,)
    analysis = replace(supported(), conclusion=replace(supported().conclusion, verdict=verdict, headline=text))
    assert "claims more than the verdict" in terminal(analysis)
    for format in ("html", "md"):
        assert "claims more than the verdict" in render_report(RUN, DATASET, analysis, format=format)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict.SUPPORTED, "Each call causes 0.4 scripts."),
        (Verdict.ASSOCIATION_ONLY, "These data cannot tell whether calling causes scripts."),
        (Verdict.ASSOCIATION_ONLY, "Unmeasured confounding is not excluded, and nothing is not proven otherwise."),
        (Verdict.NOT_IDENTIFIED, "No adjustment set exists."),
    ],
)
def test_a_sentence_within_its_verdict_passes_in_silence(verdict: Verdict, text: str) -> None:
    assert overstatements(verdict, (text,)) == ()
    analysis = replace(supported(), conclusion=replace(supported().conclusion, verdict=verdict, headline=text))
    assert "claims more" not in render_report(RUN, DATASET, analysis, format="md")
