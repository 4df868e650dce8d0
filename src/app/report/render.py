"""Turn a recorded run into a report, and put it on disk whole or not at all."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Literal

from src.app.registration.telling import registration_document
from src.app.report.contents import compose
from src.app.report.markdown import to_markdown
from src.app.report.pages import render_page, write_whole
from src.app.report.small_cells import arms_hidden, hidden_segments, overlap_hidden
from src.app.report.wording import STAMP
from src.causal_engine.results import Analysis, EffectEstimate
from src.causal_engine.serialise import to_json
from src.domain.small_cells import SUPPRESSED, is_small
from src.storage.records import DatasetRecord, RunRecord

ReportFormat = Literal["html", "md", "json"]
SCHEMA_VERSION = 1


def render_report(run: RunRecord, dataset: DatasetRecord, analysis: Analysis, *, format: ReportFormat) -> str:
    """Return the report of ``analysis`` as one text; the same run gives the same bytes.

    html: one self-contained page with plots; md: the same without plots; json: schema_version, run,
    dataset, analysis, with null for what is not a finite number or may not be shown.
    """
    if format == "json":
        return _to_json(run, dataset, analysis)
    report = compose(run, dataset, analysis)
    return render_page("report.html.j2", report) if format == "html" else to_markdown(report)


def write_report(
    run: RunRecord, dataset: DatasetRecord, analysis: Analysis, path: Path, *, format: ReportFormat
) -> Path:
    """Write the report to ``path`` (its folder is made if need be) and return the path.

    A reader sees the old file or the new one, never half a file.
    """
    return write_whole(render_report(run, dataset, analysis, format=format), path)


def _to_json(run: RunRecord, dataset: DatasetRecord, analysis: Analysis) -> str:
    about_run = {key: value for key, value in asdict(run).items() if key != "analysis"}
    document = {
        "schema_version": SCHEMA_VERSION,
        "stamp": STAMP,
        "run": about_run,
        "dataset": asdict(dataset),
        "analysis": analysis_for_readers(analysis),
    }
    if (registered := registration_document(run, analysis)) is not None:
        document["registration"] = registered
    return json.dumps(_plain(document), ensure_ascii=False, indent=2, allow_nan=False, sort_keys=False) + "\n"


def analysis_for_readers(analysis: Analysis) -> dict[str, Any]:
    """The JSON form of ``analysis`` with small groups taken out (null, and ``suppressed`` says why)."""
    estimates = [e for e in (analysis.primary, analysis.naive, *analysis.curve) if e is not None]
    shown: dict[str, Any] = to_json(analysis, nonfinite="null")
    stored = [e for e in (shown["primary"], shown["naive"], *shown["curve"]) if e is not None]
    for estimate, entry in zip(estimates, stored, strict=True):
        _suppress(estimate, entry)
    if analysis.overlap is not None and overlap_hidden(analysis.overlap):
        shown["overlap"] |= {"bins": None, "counts_treated": None, "counts_control": None}
    return shown


def _suppress(estimate: EffectEstimate, entry: dict[str, Any]) -> None:
    if arms_hidden(estimate):
        entry["n_treated"] = None
    if estimate.profile is not None:
        for spot, cells in zip(estimate.profile.points, entry["profile"]["points"], strict=True):
            if is_small(spot.n):
                cells |= dict.fromkeys(("value", "std_error", "ci", "n")) | {"suppressed": SUPPRESSED}
    hidden = hidden_segments(estimate.segments)
    for segment, cells in zip(estimate.segments, entry["segments"], strict=True):
        words = hidden.get((segment.column, segment.segment))
        if words:
            cells |= dict.fromkeys(("value", "std_error", "ci", "n")) | {"suppressed": words}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return value
