"""How is a causal question answered, kept, resumed and asked again?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg

from src.agents.causal_impact.agent import ImpactResult
from src.agents.causal_impact.nodes.build_graph import causal_graph
from src.agents.causal_impact.state import DeclaredGraph, ImpactRequest
from src.agents.causal_impact.workspace import rows
from src.agents.nesting import no_part_of_the_caller
from src.agents.runtime import Deps
from src.app.interactions import keep, of_analysis
from src.app.provenance import code_version, library_versions, stable_sha256
from src.app.questions import EffectQuestion, impact_request
from src.app.selections import keep_selection
from src.app.session import Session
from src.app.staging import StagedDataset
from src.app.trail import record_result
from src.causal_engine.diagnostics.panel import panel_diagnostics
from src.causal_engine.diagnostics.power import power_report
from src.causal_engine.energy_score.mlflow_tracker import LoggedSelection
from src.causal_engine.estimation import study_for
from src.causal_engine.estimators.curve import naive_contrast
from src.causal_engine.estimators.registry import get_estimator
from src.causal_engine.identification import identify, load_graph
from src.causal_engine.results import Analysis, Identification
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec, OutcomeKind
from src.causal_engine.study import Study
from src.causal_engine.wording import effect_unit
from src.errors import DatabaseUnavailable, EstimationError, RunNotFound, TooFewRows
from src.mlops.tracing.ids import uuid7
from src.storage.audit_chain import AuditChain
from src.storage.datasets import file_sha256, stored_path
from src.storage.records import DatasetRecord, RunRecord

OUTAGES = (DatabaseUnavailable, psycopg.OperationalError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished run with its dataset; ``analysis`` is None only for a run that did not finish.

    ``selection`` says where the comparison of effect functions was kept; None where there was none, or when the
    answer was read back.
    """

    run: RunRecord
    dataset: DatasetRecord
    analysis: Analysis | None
    selection: LoggedSelection | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same question asked again. ``differences`` names every input or result that changed."""

    original: RunRecord
    repeated: RunRecord
    identical: bool
    differences: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "original_run_id": self.original.run_id,
            "repeated_run_id": self.repeated.run_id,
            "identical": self.identical,
            "differences": list(self.differences),
        }


async def answer_effect(
    session: Session,
    question: EffectQuestion,
    *,
    declared: Mapping[str, Any] | None = None,
    understood: Mapping[str, Any] | None = None,
    trace_id: str | None = None,
    keep_answer: bool = True,
) -> Answer:
    """Answer ``question``; everything is checked before anything is written.

    ``declared`` replaces what the dataset itself declares about cause and effect; a file declares
    nothing. An interrupted run of the same question on the same data is resumed. The run stands in the trace
    ``trace_id`` (a new one); where that trace has this very run finished already, it is the answer as it is. Without
    ``keep_answer`` it is part of a larger answer that is kept as a whole.
    """
    graph = _graph_file(question)
    async with session.dataset_for(question) as staged:
        if declared is None:
            declared = staged.record.declared if question.data is None else {}
        request = impact_request(question, staged.record, declared, graph)
        study = await check_request(staged, request)
        dataset = await staged.commit()
    request = dataclasses.replace(request, dataset_id=dataset.dataset_id)
    digest = stable_sha256({"request": to_json(request), "data": dataset.content_sha256})
    plan = (understood or {}).get("plan")
    if trace_id is not None and (done := await session.runs.completed(digest, trace_id)) is not None:
        return Answer(done, dataset, _analysis(done))
    for interrupted in await session.runs.unfinished(digest):
        if interrupted.understood.get("plan") != plan:
            continue
        async with session.claim(interrupted.run_id) as mine:
            if mine and await _still_resumable(session, interrupted):
                session.on_progress("resuming an interrupted run")
                return await _finish(session, interrupted, dataset, request, keep_answer=keep_answer)
    told = {**(understood or {}), "units": _units(study)}
    run = _new_run(request, dataset, digest, told, trace_id=trace_id)
    async with session.claim(run.run_id):
        await session.runs.start(run)
        return await _finish(session, run, dataset, request, keep_answer=keep_answer)


async def check_request(staged: StagedDataset, request: ImpactRequest) -> Study:
    """The study a request asks for; refuses what its data cannot answer: wrong columns, constant treatment…"""
    if request.spec.estimator is not None:
        get_estimator(request.spec.estimator)
    loaded = await staged.load(request.filters)
    if loaded.frame.empty and request.filters:
        conditions = " and ".join(f"{one.column} {one.op} {one.value}" for one in request.filters)
        raise TooFewRows(f"the data has no rows with {conditions}")
    identification = identify(request.spec, list(loaded.frame.columns), causal_graph(request.graph))
    return await asyncio.to_thread(_checked_study, loaded.frame, request.spec, identification)


def _checked_study(frame: pd.DataFrame, spec: CausalSpec, identification: Identification) -> Study:
    """The study, encoded, with an unadjusted contrast: what fails here would fail before any estimate."""
    study = study_for(frame, spec, identification)
    power_report(study, None)
    naive_contrast(study)
    if study.spec.is_panel:
        panel_diagnostics(study)
    return study


def _units(study: Study) -> str:
    return effect_unit(study.spec, binary=study.is_binary, binary_outcome=study.outcome_kind is OutcomeKind.BINARY)


async def load_answer(session: Session, run_id: str) -> Answer:
    """A recorded run with its analysis; raises RunNotFound."""
    run = await session.runs.get(run_id)
    return Answer(run, await session.datasets.record(run.dataset_id), _analysis(run))


async def rerun_answer(session: Session, run_id: str) -> Comparison:
    """Answer the question of a run again on its dataset and compare every number bit for bit."""
    original = await session.runs.get(run_id)
    if original.status != "completed":
        raise RunNotFound(f"run {original.run_id} is {original.status}; only a completed run can be asked again")
    request = from_json(ImpactRequest, original.request)
    dataset = await _as_it_is_now(await session.datasets.record(request.dataset_id))
    run = _new_run(request, dataset, original.request_sha256, original.understood)
    async with session.claim(run.run_id):
        await session.runs.start(run)
        repeated = (await _finish(session, run, dataset, request)).run
    inputs = tuple(_changed_inputs(original, repeated))
    results = () if repeated.analysis == original.analysis else tuple(_changed_results(original, repeated))
    return Comparison(original, repeated, repeated.analysis == original.analysis, inputs + results)


async def resume_answers(session: Session, run_id: str | None, *, of_questions: Collection[str] = ()) -> list[Answer]:
    """Finish one interrupted run, or all; runs that another process is working on are left alone.

    So are those of the traces ``of_questions``: they are finished with the question they are part of.

    A run begun by other code is given up: half its numbers would be another version's.
    """
    if run_id is None:
        interrupted = await session.runs.unfinished()
    else:
        run = await session.runs.get(run_id)
        if run.status != "running":
            return [await load_answer(session, run.run_id)]
        interrupted = [run]
    answers = []
    for run in interrupted:
        if run.trace_id in of_questions:
            continue
        async with session.claim(run.run_id) as mine:
            if mine and await _still_resumable(session, run):
                dataset = await session.datasets.record(run.dataset_id)
                answers.append(await _finish(session, run, dataset, from_json(ImpactRequest, run.request)))
    return answers


async def _as_it_is_now(dataset: DatasetRecord) -> DatasetRecord:
    """The record with the hash of the bytes that are stored now, whatever was registered."""
    if dataset.kind == "table":
        return dataset
    digest = await asyncio.to_thread(file_sha256, stored_path(dataset))
    return dataclasses.replace(dataset, content_sha256=digest)


async def _still_resumable(session: Session, run: RunRecord) -> bool:
    """Whether the code that began a run is the code here; a run of other code is recorded as failed."""
    if run.code_version == code_version():
        return True
    await _give_up(session, run, ("Interrupted", "the code changed since the run was interrupted; ask again"))
    return False


def _graph_file(question: EffectQuestion) -> DeclaredGraph | None:
    if question.graph is None:
        return None
    graph = load_graph(question.graph)
    return DeclaredGraph(tuple(graph.edges), tuple(graph.latent), tuple(graph.time_invariant))


def _new_run(
    request: ImpactRequest,
    dataset: DatasetRecord,
    digest: str,
    understood: dict[str, Any],
    *,
    trace_id: str | None = None,
) -> RunRecord:
    return RunRecord(
        run_id=str(uuid7()),
        trace_id=trace_id or str(uuid7()),
        question=request.query,
        understood=understood,
        request=to_json(request),
        request_sha256=digest,
        dataset_id=dataset.dataset_id,
        data_sha256=dataset.content_sha256,
        code_version=code_version(),
        random_state=request.spec.random_state,
        versions=library_versions(),
        queries=[],
        status="running",
        verdict=None,
        analysis=None,
        error_type=None,
        error_message=None,
        started_at=datetime.now(UTC),
        ended_at=None,
    )


async def _finish(
    session: Session, run: RunRecord, dataset: DatasetRecord, request: ImpactRequest, *, keep_answer: bool = True
) -> Answer:
    deps = Deps(
        datasets=session.datasets,
        tracer=session.tracer,
        run_id=run.run_id,
        trace_id=run.trace_id,
        node_timeouts=session.budget.node_timeouts,
        on_progress=session.on_progress,
        audit=AuditChain(session.database, run.run_id),
    )
    try:
        async with asyncio.timeout(session.budget.timeout_seconds):
            with no_part_of_the_caller():
                result = await session.agent.run(request, deps)
            await rows(request, deps)
    except OUTAGES:
        raise  # the run stays unfinished and its checkpoints stay, so that it can be resumed
    except Exception as error:
        await _give_up(session, run, (type(error).__name__, str(error)[:2000]))
        raise
    return await _store(session, run, dataset, result, deps.workspace["query"], keep_answer=keep_answer)


async def _store(
    session: Session,
    run: RunRecord,
    dataset: DatasetRecord,
    result: ImpactResult,
    query: dict[str, Any],
    *,
    keep_answer: bool,
) -> Answer:
    await record_result(session.observations, run.run_id, run.request_sha256, result)
    if result.analysis is None:
        error = result.error
        problem = (error.type, error.message) if error else ("EstimationError", "the run ended without a result")
        await _give_up(session, run, problem)
        raise EstimationError(problem[1])
    await session.runs.finish(
        run.run_id,
        status="completed",
        ended_at=datetime.now(UTC),
        verdict=result.analysis.conclusion.verdict.value,
        analysis=to_json(result.analysis),
        queries=[query],
    )
    await session.forget(run.run_id)
    finished = await session.runs.get(run.run_id)
    if keep_answer:
        await keep(session.database, of_analysis(finished, result.analysis))
    kept = await keep_selection(session.database, finished, result.analysis, session.on_progress)
    return Answer(finished, dataset, _analysis(finished), kept)


async def _give_up(session: Session, run: RunRecord, problem: tuple[str, str]) -> None:
    """Record that a run failed, with (type, message), and delete its checkpoints."""
    await session.runs.finish(run.run_id, status="failed", ended_at=datetime.now(UTC), error=problem)
    await session.forget(run.run_id)


def _analysis(run: RunRecord) -> Analysis | None:
    return None if run.analysis is None else from_json(Analysis, run.analysis)


def _changed_inputs(original: RunRecord, repeated: RunRecord) -> list[str]:
    changed = []
    if original.data_sha256 != repeated.data_sha256:
        changed.append(f"the data changed ({original.data_sha256[:12]} → {repeated.data_sha256[:12]})")
    if original.code_version != repeated.code_version:
        changed.append(f"the code changed ({original.code_version} → {repeated.code_version})")
    for name in sorted(original.versions.keys() | repeated.versions.keys()):
        before, after = original.versions.get(name), repeated.versions.get(name)
        if before != after:
            changed.append(f"{name} changed ({before} → {after})")
    return changed


def _changed_results(original: RunRecord, repeated: RunRecord) -> list[str]:
    before, after = original.analysis or {}, repeated.analysis or {}
    return [
        f"result '{key}' differs" for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)
    ]
