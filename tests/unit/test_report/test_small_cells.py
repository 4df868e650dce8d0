"""Groups of fewer than eleven are shown nowhere, in no format."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from src.app.report import render_report
from src.app.report.small_cells import SHIELDED, SUPPRESSED, arms_hidden, hidden_segments
from src.causal_engine.results import Analysis, Interval, SegmentEffect
from tests.unit.test_report.samples import DATASET, RUN, estimate, supported

pytestmark = pytest.mark.unit


def segment(name: str, n: int, column: str = "region") -> SegmentEffect:
    return SegmentEffect(column, name, 0.31337, 0.1, Interval(0.1, 0.5), n)


def with_segments(*segments: SegmentEffect) -> Analysis:
    return replace(supported(), primary=replace(supported().primary, segments=segments))


@pytest.mark.parametrize(
    ("sizes", "hidden"),
    [
        ({"a": 50, "b": 11}, {}),
        ({"a": 50, "b": 10, "c": 40}, {"b": SUPPRESSED, "c": SHIELDED}),
        ({"a": 50, "b": 10, "c": 3}, {"b": SUPPRESSED, "c": SUPPRESSED}),
        ({"a": 3}, {"a": SUPPRESSED}),
    ],
)
def test_small_segments_are_hidden_and_cannot_be_worked_out(sizes: dict[str, int], hidden: dict[str, str]) -> None:
    found = hidden_segments([segment(name, n) for name, n in sizes.items()])
    assert found == {("region", name): words for name, words in hidden.items()}


@pytest.mark.parametrize("format", ["html", "md"])
def test_a_small_segment_shows_words_in_place_of_numbers(format: str) -> None:
    shown = render_report(
        RUN, DATASET, with_segments(segment("a", 50), segment("b", 40), segment("c", 10)), format=format
    )  # type: ignore[arg-type]
    assert "11, suppressed" in shown
    assert SHIELDED in shown
    assert shown.count("0.313") == 1
    fine = render_report(RUN, DATASET, with_segments(segment("a", 50), segment("b", 11)), format=format)  # type: ignore[arg-type]
    assert "suppressed" not in fine
    assert fine.count("0.313") == 2


def test_json_holds_no_small_group_either() -> None:
    analysis = with_segments(segment("a", 50), segment("b", 40), segment("c", 10))
    small_arm = replace(analysis, naive=estimate(1.2, 0.1, "naive", n=200, n_treated=195))
    document = json.loads(render_report(RUN, DATASET, small_arm, format="json"))["analysis"]
    shown, shielded, suppressed = document["primary"]["segments"]
    assert shown["n"] == 50
    assert (shielded["n"], shielded["value"], shielded["ci"]) == (None, None, None)
    assert (suppressed["n"], suppressed["std_error"], suppressed["suppressed"]) == (None, None, SUPPRESSED)
    assert document["naive"]["n_treated"] is None
    assert document["primary"]["n_treated"] == 1650


@pytest.mark.parametrize(("n_treated", "hidden"), [(10, True), (11, False), (189, False), (190, True), (None, False)])
def test_an_arm_is_hidden_when_it_or_the_other_is_small(n_treated: int | None, hidden: bool) -> None:
    assert arms_hidden(estimate(1.0, 0.1, n=200, n_treated=n_treated)) is hidden


@pytest.mark.parametrize("format", ["html", "md", "json"])
def test_histograms_of_a_small_arm_are_not_shown(format: str) -> None:
    sample = supported()
    small = replace(sample, overlap=replace(sample.overlap, counts_treated=(7, *(0,) * 19)))
    shown = render_report(RUN, DATASET, small, format=format)  # type: ignore[arg-type]
    if format == "json":
        assert json.loads(shown)["analysis"]["overlap"]["counts_treated"] is None
    else:
        assert "No overlap plot: an arm has n" in shown
        assert "Mirrored histograms" not in shown
