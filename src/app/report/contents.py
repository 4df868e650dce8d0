"""Which sections does a report have, in the order a reader needs them?"""

from __future__ import annotations

from src.app.report.blocks import Report
from src.app.report.sections.answer import answer_box, answer_sections, run_units
from src.app.report.sections.choice import choice_section
from src.app.report.sections.comparability import comparability_section
from src.app.report.sections.discontinuity import discontinuity_section
from src.app.report.sections.dose import dose_section
from src.app.report.sections.estimates import estimate_section, segment_section
from src.app.report.sections.event_study import event_study_section
from src.app.report.sections.graph import identification_section
from src.app.report.sections.heterogeneity import heterogeneity_section
from src.app.report.sections.mediation import mediation_section
from src.app.report.sections.panel import panel_section
from src.app.report.sections.provenance import assumption_section, limit_section, provenance_section
from src.app.report.sections.registration import registration_section
from src.app.report.sections.robustness import refutation_section, sensitivity_section
from src.app.report.wording import STAMP
from src.causal_engine.results import Analysis
from src.storage.records import DatasetRecord, RunRecord


def compose(run: RunRecord, dataset: DatasetRecord, analysis: Analysis) -> Report:
    """Return the whole report; parts that do not apply are left out, parts that are missing say why."""
    units = run_units(run, analysis)
    sections = (
        registration_section(run, analysis),
        *answer_sections(analysis),
        estimate_section(analysis, units),
        segment_section(analysis),
        heterogeneity_section(analysis, units),
        identification_section(analysis),
        choice_section(analysis.choice),
        comparability_section(analysis),
        discontinuity_section(analysis, units),
        mediation_section(analysis, units),
        event_study_section(analysis, units),
        dose_section(analysis),
        panel_section(analysis.panel, units),
        refutation_section(analysis.refutation),
        sensitivity_section(analysis.sensitivity),
        assumption_section(analysis),
        limit_section(analysis),
        provenance_section(run, dataset, analysis),
    )
    return Report(
        title=f"Effect of {analysis.treatment} on {analysis.outcome}",
        stamp=STAMP,
        run_id=run.run_id,
        answer=answer_box(run, analysis),
        sections=tuple(section for section in sections if section is not None),
    )
