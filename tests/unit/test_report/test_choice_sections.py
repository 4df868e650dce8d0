"""The report and the terminal say why this design, what was not taken, and what happens at a cutoff."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from src.app.report.render import analysis_for_readers
from src.app.report.sections.choice import choice_lines, choice_section
from src.app.report.sections.discontinuity import discontinuity_section
from src.causal_engine.conclusion import Evidence, conclude, to_analysis
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.identification import identify
from src.causal_engine.results import Analysis, DesignChoice, RejectedOption
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec, Design
from tests.unit.test_report.samples import supported

CHOICE = DesignChoice(
    Design.INSTRUMENT,
    ("anderson_rubin", "ols"),
    ("an instrument moves the treatment", "anderson_rubin: holds however weak it is"),
    (
        RejectedOption("iv_2sls", "weak instrument: first-stage F 3.1"),
        RejectedOption("ols", "no instrument (shown beside)"),
    ),
    (("first-stage F (effective)", "3.1"),),
)


def at_a_cutoff() -> Analysis:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 600)
    frame = pd.DataFrame({"t": (x >= 0).astype(float), "y": x + (x >= 0) + 0.3 * rng.normal(size=600), "x": x})
    frame["age"] = 50 + 5 * rng.normal(size=600)
    spec = CausalSpec("t", "y", ("age",), running_variable="x", cutoff=0.0)
    identification = identify(spec, list(frame.columns), None)
    outcome, _ = estimate_effect(frame, spec, identification)
    evidence = Evidence(spec, identification, outcome)
    return to_analysis(evidence, conclude(evidence))


def test_a_run_that_recorded_no_choice_has_no_such_section() -> None:
    assert choice_section(None) is None
    assert discontinuity_section(supported(), "y") is None


def test_the_section_names_what_answers_and_every_option_not_taken_with_its_reason() -> None:
    section = choice_section(CHOICE)
    assert section is not None
    shown = repr(section)
    assert all(one.reason in shown for one in CHOICE.rejected)
    assert "Instrument, anderson_rubin; an instrument moves the treatment" in shown


def test_the_terminal_lists_what_could_not_answer_and_not_what_is_shown_beside() -> None:
    first, *others = choice_lines(CHOICE)
    assert first.startswith("Why this design: Instrument, anderson_rubin")
    assert others == ["· not iv 2sls: weak instrument: first-stage F 3.1"]


def test_the_choice_is_part_of_the_json_and_survives_storage() -> None:
    analysis = replace(supported(), choice=CHOICE)
    assert analysis_for_readers(analysis)["choice"]["rejected"][0]["name"] == "iv_2sls"
    assert from_json(Analysis, json.loads(json.dumps(to_json(analysis)))) == analysis


def test_a_cutoff_has_a_picture_its_density_and_its_covariates() -> None:
    analysis = at_a_cutoff()
    section = discontinuity_section(analysis, "y")
    assert section is not None
    titles = [getattr(block, "columns", None) for block in section.blocks]
    assert ("Covariate", "Jump", "Standard error", "p") in titles
    picture = next(block for block in section.blocks if hasattr(block, "draw"))
    assert picture.draw().startswith("<svg")
    assert from_json(Analysis, json.loads(json.dumps(to_json(analysis)))) == analysis


def test_old_runs_without_a_choice_still_load() -> None:
    stored = to_json(supported())
    for added in ("choice", "discontinuity"):
        stored.pop(added)
    assert from_json(Analysis, stored).choice is None
