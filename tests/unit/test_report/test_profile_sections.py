"""What the report shows of an effect's run over time or dose, and of its split at mediators."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from src.app.report.blocks import AnswerBox, Report, Section
from src.app.report.markdown import to_markdown
from src.app.report.render import analysis_for_readers
from src.app.report.sections.dose import dose_section
from src.app.report.sections.event_study import event_study_section
from src.app.report.sections.mediation import mediation_section
from src.causal_engine.mediation.report import MediationReport, PathEffect
from src.causal_engine.results import Analysis, EffectProfile, Interval, ProfilePoint
from tests.unit.test_report import samples


def with_profile(axis: str, *, n: int = 40) -> Analysis:
    points = tuple(
        ProfilePoint(float(at), 0.5 * at, 0.1, Interval(0.5 * at - 0.2, 0.5 * at + 0.2), n if at == 2 else 40)
        for at in range(-2, 4)
    )
    analysis = samples.supported()
    assert analysis.primary is not None
    return replace(analysis, primary=replace(analysis.primary, profile=EffectProfile(axis, points, "How to read it.")))


def split(**changes: object) -> MediationReport:
    parts = tuple(
        PathEffect(name, value, 0.1, value - 0.2, value + 0.2, 0.01)
        for name, value in (("total", 1.0), ("direct", 0.7), ("indirect", 0.3))
    )
    told = MediationReport(
        ("samples",),
        "",
        parts,
        0.3,
        ("need",),
        400,
        "natural effects",
        ("No hidden cause.",),
        0.4,
        ((-0.5, 0.6), (0.0, 0.3), (0.5, -0.1)),
    )
    return replace(told, **changes)  # type: ignore[arg-type]


def text_of(section: Section) -> str:
    box = AnswerBox("", "neutral", "", "", "", "", ())
    return to_markdown(Report("", "", "", box, (section,)))


@pytest.mark.parametrize(
    ("axis", "build"),
    [
        ("periods since adoption", lambda analysis: event_study_section(analysis, "NRx")),
        ("dose", dose_section),
    ],
)
def test_a_profile_is_drawn_and_tabled_and_small_groups_are_not(axis: str, build: object) -> None:
    section = build(with_profile(axis, n=5))  # type: ignore[operator]
    assert section is not None
    figure = next(block for block in section.blocks if hasattr(block, "draw"))
    assert figure.draw().startswith("<svg")
    assert "1.50" in text_of(section)
    assert not re.search(r"0\.800 to 1\.20", text_of(section))


def test_without_a_profile_there_is_no_section() -> None:
    assert event_study_section(samples.supported(), "NRx") is None
    assert dose_section(samples.supported()) is None
    assert dose_section(with_profile("periods since adoption")) is None
    assert mediation_section(samples.supported(), "NRx") is None


def test_json_for_readers_hides_points_that_rest_on_few_units() -> None:
    shown = analysis_for_readers(with_profile("dose", n=5))["primary"]["profile"]["points"]
    hidden = [point for point in shown if point.get("suppressed")]
    assert [point["at"] for point in hidden] == [2.0]
    assert hidden[0]["value"] is None


def test_the_split_is_told_with_its_assumptions_and_what_would_undo_it() -> None:
    section = mediation_section(replace(samples.supported(), mediation=split()), "NRx")
    assert section is not None
    told = text_of(section)
    assert "No hidden cause." in told
    assert "ρ = 0.400" in told
    assert "Indirect: through the mediators" in told
    assert next(block for block in section.blocks if hasattr(block, "draw")).draw().startswith("<svg")


def test_a_refused_split_says_why_and_shows_no_number() -> None:
    section = mediation_section(replace(samples.supported(), mediation=split(refusal="of a reason")), "NRx")
    assert section is not None
    assert "of a reason" in text_of(section)
    assert "0.300" not in text_of(section)
