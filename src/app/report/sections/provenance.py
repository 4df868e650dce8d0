"""On what does the answer rest, and where does each number come from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from src.app.report.blocks import Note, Section, Table, bullets
from src.app.report.numbers import columns, count, interval, moment, number
from src.app.report.sections.answer import ESTIMANDS
from src.app.report.sections.estimates import arm_note
from src.causal_engine.results import Analysis, EffectEstimate
from src.storage.records import DatasetRecord, RunRecord


def assumption_section(analysis: Analysis) -> Section:
    """What has to be true for the answer to hold."""
    named = tuple(dict.fromkeys((*analysis.identification.assumptions, *analysis.conclusion.assumptions)))
    return Section("assumptions", "Assumptions", bullets(named) or (Note("No assumptions were recorded."),))


def limit_section(analysis: Analysis) -> Section:
    """What the analysis cannot say."""
    limits = bullets(analysis.conclusion.limitations)
    return Section("limits", "Limits", limits or (Note("No limits were recorded beyond the assumptions."),))


def provenance_section(run: RunRecord, dataset: DatasetRecord, analysis: Analysis) -> Section:
    """Run, data, queries, versions, and the origin of each number."""
    blocks = [
        Table(("Run", ""), _run_rows(run)),
        Table(("Data", ""), _data_rows(run, dataset, analysis)),
        _queries(run) if run.queries else Note("No queries were recorded."),
        Table(("Number", "Value", "Estimator", "n", "Treated", "Adjusted for"), tuple(_origins(analysis)),
              heading="Where each number comes from"),
        Table(("Library", "Version"), tuple(sorted(run.versions.items())), folded=True, heading="Library versions"),
    ]  # fmt: skip
    return Section("provenance", "Provenance", tuple(blocks))


def _run_rows(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return (
        ("Run id", run.run_id),
        ("Trace id", run.trace_id),
        ("Status", run.status),
        ("Started", moment(run.started_at)),
        ("Ended", moment(run.ended_at)),
        ("Random state", str(run.random_state)),
        ("Code version", run.code_version),
        ("Request hash (SHA-256)", run.request_sha256),
    )


def _data_rows(run: RunRecord, dataset: DatasetRecord, analysis: Analysis) -> tuple[tuple[str, str], ...]:
    rows = [
        ("Dataset", f"{dataset.name} ({dataset.dataset_id})"),
        ("Kind", dataset.kind),
        ("Source", dataset.source),
        ("Content hash (SHA-256)", dataset.content_sha256),
        ("Rows in the dataset", count(dataset.n_rows)),
        ("Rows analysed", count(analysis.n_rows)),
        ("Columns", count(len(dataset.columns))),
        ("Registered", moment(dataset.created_at)),
    ]
    if run.data_sha256 != dataset.content_sha256:
        rows.insert(4, ("Content hash when the run was made", f"{run.data_sha256} (the dataset has changed since)"))
    if analysis.identification.version_hash:
        rows.append(("Graph version", analysis.identification.version_hash))
    return tuple(rows)


def _queries(run: RunRecord) -> Table:
    keys = tuple(dict.fromkeys(key for query in run.queries for key in query))
    rows = tuple(tuple(_cell(query.get(key)) for key in keys) for query in run.queries)
    return Table(tuple(key.replace("_", " ") for key in keys), rows, heading="How rows were obtained")


def _cell(value: Any) -> str:
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key} = {_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return str(value)


def _origins(analysis: Analysis) -> Iterator[tuple[str, ...]]:
    primary = analysis.primary
    if primary is not None:
        yield _origin(f"Effect, {ESTIMANDS[primary.estimand]}", primary)
        yield ("95 % interval", interval(primary.ci), f"{primary.estimator}, {primary.se_method}", *_basis(primary))
        for name, value in primary.diagnostics:
            yield (name.replace("_", " "), number(value), primary.estimator, *_basis(primary))
    if analysis.naive is not None:
        yield _origin("Unadjusted contrast", analysis.naive)
    for estimate in analysis.curve:
        if estimate != primary:
            yield _origin(f"Alternative: {estimate.label or estimate.estimator}", estimate)
    yield from _derived(analysis)


def _origin(what: str, estimate: EffectEstimate) -> tuple[str, ...]:
    return (what, number(estimate.value), estimate.estimator, *_basis(estimate))


def _basis(estimate: EffectEstimate) -> tuple[str, str, str]:
    return count(estimate.n), arm_note(estimate), columns(estimate.adjusted_for, most=3)


def _derived(analysis: Analysis) -> Iterator[tuple[str, ...]]:
    primary = analysis.primary
    source = primary.estimator if primary is not None else "no estimate"
    basis = _basis(primary) if primary is not None else (count(analysis.n_rows), "–", "–")
    if analysis.power is not None:
        value = number(analysis.power.minimum_detectable_effect)
        yield ("Minimum detectable effect", value, f"standard error of {source}", count(analysis.power.n), "–", "–")
    if analysis.overlap is not None:
        yield ("Overlap", f"{len(analysis.overlap.bins)} bin edges", "propensity model", *basis)
    if analysis.refutation is not None:
        yield ("Refutation tests", f"{len(analysis.refutation.tests)} tests", f"{source}, re-estimated", *basis)
    if analysis.sensitivity is not None:
        yield ("E-value", number(analysis.sensitivity.e_value), source, *basis)
