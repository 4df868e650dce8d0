"""Does the report tell what was found about single effects, and no more than the tests and the verdict allow?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.app.report.blocks import Figure, Note, Paragraph, Section, Table
from src.app.report.sections.heterogeneity import MOST_SEGMENTS, heterogeneity_section
from src.app.report.text import decision_table
from src.causal_engine.heterogeneity.report import (
    Bounded,
    CalibrationTest,
    Decision,
    EffectGroup,
    HeterogeneityReport,
    HiddenSegment,
    PolicyValue,
    SegmentFinding,
    SegmentTest,
    UpliftCurve,
    UpliftPoint,
)
from src.causal_engine.results import Analysis, Verdict
from tests.unit.test_report.samples import supported

EFFECT = Bounded(1.25, 0.5, 2.0)


def found(segments: int = 2, **changes: object) -> HeterogeneityReport:
    names = [f"level {i}" for i in range(segments)]
    full = HeterogeneityReport(
        selected="ensemble",
        found=True,
        p_value=0.012,
        modifiers=("specialty",),
        modifiers_named=True,
        calibration=CalibrationTest(Bounded(0.9, 0.2, 1.6), 0.006),
        groups=tuple(EffectGroup(i + 1, 0.5 * i, EFFECT, 80) for i in range(3)),
        top_minus_bottom=EFFECT,
        segments=tuple(
            SegmentFinding("specialty", name, EFFECT, Bounded(i, -1.0, 9.0), 90) for i, name in enumerate(names)
        ),
        segment_test=SegmentTest(0.02, segments),
        hidden=(HiddenSegment("specialty", "Rheumatology", "n < 11, suppressed"),),
        uplift=UpliftCurve((UpliftPoint(0.5, EFFECT, EFFECT), UpliftPoint(1.0, EFFECT, EFFECT)), EFFECT, EFFECT),
        policies=(PolicyValue("treat where the predicted effect pays", 0.4, EFFECT, EFFECT, None),),
        decisions=tuple(
            Decision("specialty", name, 90, ("more", "keep")[i % 2], 40.0, EFFECT, 400.0, EFFECT, 7.0, EFFECT)
            for i, name in enumerate(names)
        ),
        cost_per_unit=10.0,
        value_per_outcome=50.0,
    )
    return replace(full, **changes)  # type: ignore[arg-type]


def analysis_with(report: HeterogeneityReport | None, verdict: Verdict = Verdict.SUPPORTED) -> Analysis:
    plain = supported()
    return replace(plain, heterogeneity=report, conclusion=replace(plain.conclusion, verdict=verdict))


def section_of(report: HeterogeneityReport | None, verdict: Verdict = Verdict.SUPPORTED) -> Section | None:
    return heterogeneity_section(analysis_with(report, verdict), "nrx per call")


def notes(section: Section | None) -> str:
    assert section is not None
    return " ".join(block.text for block in section.blocks if isinstance(block, Note))


def table(section: Section | None, heading: str) -> Table:
    assert section is not None
    return next(block for block in section.blocks if isinstance(block, Table) and heading in block.heading)


def test_without_the_question_there_is_no_section() -> None:
    assert section_of(None) is None


def test_a_refusal_stands_alone() -> None:
    section = section_of(HeterogeneityReport(selected="", refusal="no overlap"))
    assert section is not None
    assert len(section.blocks) == 1
    assert "no overlap" in notes(section)


def test_every_part_is_there_and_every_picture_can_be_drawn() -> None:
    section = section_of(found())
    assert section is not None
    pictures = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(pictures) == 3
    assert all(picture.draw().startswith("<svg") for picture in pictures)
    rows = table(section, "Whom to treat more").rows
    assert [row[1] for row in rows] == ["more", "as today"]
    assert rows[1][3] == "0"


@pytest.mark.parametrize(
    ("report", "verdict", "told"),
    [
        (found(), Verdict.SUPPORTED, ""),
        (found(), Verdict.ASSOCIATION_ONLY, "nothing below is a reason to act"),
        (found(found=False), Verdict.SUPPORTED, "their differences may be chance"),
    ],
)
def test_the_section_claims_no_more_than_verdict_and_tests(
    report: HeterogeneityReport, verdict: Verdict, told: str
) -> None:
    said = notes(section_of(report, verdict))
    cautions = ("nothing below is a reason to act", "their differences may be chance")
    assert [caution for caution in cautions if caution in said] == ([told] if told else [])


def test_without_costs_it_says_that_none_was_weighed() -> None:
    assert "No cost was given" in notes(section_of(found(cost_per_unit=None, value_per_outcome=None)))


def test_of_very_many_segments_those_that_differ_most_are_shown() -> None:
    section = section_of(found(segments=MOST_SEGMENTS + 6))
    shown = [row[0] for row in table(section, "By segment").rows]
    assert len(shown) == MOST_SEGMENTS
    assert shown[0] == "specialty: level 6"
    assert len(table(section, "Whom to treat more").rows) == MOST_SEGMENTS


def test_a_hidden_segment_has_a_reason_and_no_number() -> None:
    section = section_of(found())
    assert section is not None
    rows = [row for block in section.blocks if isinstance(block, Table) for row in block.rows]
    assert [row for row in rows if "Rheumatology" in row[0]] == [("specialty: Rheumatology", "n < 11, suppressed")]


def test_the_terminal_decides_only_for_segments_that_were_named() -> None:
    assert decision_table(analysis_with(found(modifiers_named=False))) is None
    assert decision_table(analysis_with(None)) is None
    shown = decision_table(analysis_with(found()))
    assert shown is not None
    assert shown.row_count == 2
    assert not shown.title


@pytest.mark.parametrize("verdict", [Verdict.ASSOCIATION_ONLY, Verdict.NOT_IDENTIFIED])
def test_nobody_is_told_whom_to_treat_on_an_association(verdict: Verdict) -> None:
    assert decision_table(analysis_with(found(), verdict)) is None
    section = section_of(found(), verdict)
    assert section is not None
    headings = [block.heading for block in section.blocks if isinstance(block, Table)]
    assert not any("treat" in heading for heading in headings)
    assert "is not told" in notes(section)
    first = section.blocks[0]
    assert isinstance(first, Paragraph)
    assert "association only" in first.text
    assert "effects differ" not in first.text


@pytest.mark.parametrize(
    ("report", "verdict", "told"),
    [
        (found(found=False), Verdict.SUPPORTED, "may be chance"),
        (found(), Verdict.UNDERPOWERED, "nothing below is a reason to act"),
    ],
)
def test_the_terminal_warns_where_the_report_does(report: HeterogeneityReport, verdict: Verdict, told: str) -> None:
    shown = decision_table(analysis_with(report, verdict))
    assert shown is not None
    assert told in str(shown.title)


@pytest.mark.parametrize(
    ("value", "told"),
    [(50.0, "62.5 (95 % interval 25.0 to 100)"), (-50.0, "−62.5 (95 % interval −100 to −25.0)"), (None, "1.25 (")],
)
def test_the_cost_at_which_treatment_stops_to_pay_is_in_money_where_prices_are_known(
    value: float | None, told: str
) -> None:
    cost = None if value is None else 10.0
    rows = table(section_of(found(cost_per_unit=cost, value_per_outcome=value)), "Whom to treat more").rows
    assert rows[0][-1].startswith(told)
