"""How is an answer kept, so that it can be scored, rated and learned from?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from src.agents.explainer.phrasing import confidence_word
from src.agents.orchestrator.agent import QueryResult
from src.agents.orchestrator.state import QueryRequest
from src.app.report.small_cells import hidden_segments
from src.causal_engine.results import Analysis, EffectEstimate, PanelDiagnostics, RefutationReport
from src.domain.disguises import plain
from src.domain.identifiers import without_identifiers
from src.errors import E2IError
from src.mlops.tracing.privacy import Redactor
from src.mlops.tracing.recorder import share
from src.rag.configuration import load_rag_config
from src.storage.database import Database
from src.storage.interaction_inputs import InteractionInputs
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.records import Json, RunRecord

_log = logging.getLogger(__name__)
CAUSAL_AGENT = "causal_impact"
RAG_AGENT = "orchestrator"
CONFIDENCE = {"high": 0.9, "moderate": 0.6, "low": 0.3}
"""The words of a conclusion on the scale of other answers: an order, no probability."""


def of_analysis(run: RunRecord, analysis: Analysis) -> Interaction:
    """The interaction of a finished causal analysis: what it said, and the computed facts it rests on."""
    evidence = [
        {"chunk_id": f"{run.run_id}#{number}", "score": None, "text": text}
        for number, text in enumerate(evidence_of(analysis), start=1)
    ]
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    return Interaction(
        trace_id=run.trace_id,
        run_id=run.run_id,
        query=run.question,
        answer=answer_words(analysis),
        contexts=evidence,
        citations=[{"run_id": run.run_id}],
        agents=[CAUSAL_AGENT],
        confidence=CONFIDENCE.get(analysis.conclusion.confidence),
        latency_ms=None if seconds is None else max(0.0, seconds * 1000),
        brand=run.understood.get("brand"),
        method="deterministic",
    )


def of_query(result: QueryResult, request: QueryRequest, retrieval_config_id: str | None = None) -> Interaction:
    """The interaction of a question that the orchestrator answered, asked back or declined.

    ``retrieval_config_id`` are the settings that found its passages.
    """
    told = [finding for finding in result.findings if finding.answered]
    evidence = {one.id: one.text for finding in told for one in finding.evidence}
    # What an answer says of itself is known too: how sure it is, and what is missing in it.
    evidence[f"trace:{result.meta.trace_id}"] = _about(result)
    return Interaction(
        trace_id=result.meta.trace_id,
        session_id=result.session_id,
        run_id=next((finding.run_id for finding in told if finding.run_id), None),
        query=request.query,
        answer=result.answer,
        contexts=[
            *({"chunk_id": name, "score": None, "text": text} for name, text in evidence.items()),
            *_retrieved(result, evidence),
        ],
        citations=[{"evidence_id": one} for one in result.citations],
        agents=[RAG_AGENT, *dict.fromkeys(one.agent for one in told)],
        prompt_versions=result.prompt_versions,
        retrieval_config_id=retrieval_config_id,
        confidence=result.confidence,
        latency_ms=result.meta.duration_ms,
        brand=request.brand or _brand_of(result),
        user_expertise=request.user_expertise,
        method="llm" if result.source == "llm" else "deterministic",
        declined=result.declined or result.clarification,
    )


def _retrieved(result: QueryResult, evidence: Mapping[str, str]) -> list[dict[str, Any]]:
    """Passages with the scores of their retrieval, but those that are evidence already."""
    return [
        {"chunk_id": one.chunk_id, "score": one.score, "text": one.text, "title": one.title}
        for one in result.contexts
        if one.chunk_id not in evidence and f"chunk:{one.chunk_id}" not in evidence
    ]


def _about(result: QueryResult) -> str:
    sure = "is not known" if result.confidence is None else f"is {confidence_word(result.confidence)}"
    missing = [f"{one.agent} {one.status}: {one.reason}" for one in result.findings if not one.answered]
    return " ".join((f"Confidence in this answer {sure}.", *(f"{one}." for one in (*missing, *result.meta.degraded))))


def _brand_of(result: QueryResult) -> str | None:
    parts = result.classification.parts if result.classification is not None else ()
    return next((one.understood.brand for one in parts if one.understood and one.understood.brand), None)


def answer_words(analysis: Analysis) -> str:
    """What a reader is told, as text."""
    conclusion = analysis.conclusion
    parts: tuple[tuple[str, Sequence[str]], ...] = (
        ("", (conclusion.headline,)),
        ("", conclusion.findings),
        ("Assumptions: ", conclusion.assumptions),
        ("Limitations: ", conclusion.limitations),
        ("Recommended: ", conclusion.recommendations),
        ("What would change this: ", conclusion.would_change),
        ("Warning: ", conclusion.warnings),
    )
    return "\n".join(f"{prefix}{line}" for prefix, lines in parts for line in lines)


def evidence_of(analysis: Analysis) -> list[str]:
    """The computed facts behind the words, one text per kind."""
    found = [_estimate(one, analysis) for one in (analysis.primary,) if one is not None]
    if analysis.naive is not None:
        found.append(f"Without any adjustment: {_estimate(analysis.naive, analysis)}")
    if analysis.panel is not None:
        found.append(_over_time(analysis.panel))
    found += [_segments(one, analysis) for one in (analysis.primary,) if one is not None and one.segments]
    if analysis.refutation is not None:
        found.append(_refutation(analysis.refutation))
    if analysis.sensitivity is not None:
        found.append(analysis.sensitivity.statement)
    identification = analysis.identification
    assumed = " ".join((*identification.assumptions, *identification.reasons)) or "nothing stated"
    adjusted = analysis.primary.adjusted_for if analysis.primary is not None else identification.adjustment_set
    found.append(
        f"Identification of {analysis.treatment} → {analysis.outcome}: {identification.strategy}; adjusted for "
        f"{', '.join(adjusted) or 'nothing'}. Assumed: {assumed}"
    )
    found.append(f"{analysis.n_rows:,} rows were used.")
    return found


def _estimate(one: EffectEstimate, analysis: Analysis) -> str:
    return (
        f"{one.estimator} estimates the {one.estimand} of {analysis.treatment} on {analysis.outcome} as "
        f"{one.value:.4g} (95 % interval {one.ci.lower:.4g} to {one.ci.upper:.4g}, standard error {one.std_error:.4g}, "
        f"p = {one.p_value:.3g}, n = {one.n:,})."
    )


def _over_time(panel: PanelDiagnostics) -> str:
    leads = "; ".join(f"{one.lead} ahead {one.value:.3g} (p = {one.p_value:.3g})" for one in panel.leads) or "none"
    parts = [f"{panel.n_units:,} units over {panel.n_periods} periods. Lead tests: {leads}."]
    if panel.pooled_elasticity is not None and panel.pooled_semi_elasticity is not None:
        parts.append(
            f"Pooled over all rows, without unit effects, the elasticity is {panel.pooled_elasticity:.3g} "
            f"(a log-rate change of {panel.pooled_semi_elasticity:.3g} per unit)."
        )
    return " ".join(parts)


def _segments(one: EffectEstimate, analysis: Analysis) -> str:
    hidden = hidden_segments(one.segments)
    lines = [
        f"{part.column} {part.segment}: {part.value:.4g} ({part.ci.lower:.4g} to {part.ci.upper:.4g}, n = {part.n:,})"
        for part in one.segments
        if (part.column, part.segment) not in hidden
    ]
    return f"Effect of {analysis.treatment} by segment. " + "; ".join(lines) + "."


def _refutation(report: RefutationReport) -> str:
    results = [
        f"{test.name} {'passed' if test.passed else 'failed'} ({test.detail})"
        for test in report.tests
        if test.applicable
    ]
    return f"Refutation tests, {report.gate.value}: {'; '.join(results)}."


def in_sample(trace_id: str) -> bool:
    """Whether the answer of a trace is in the share that is scored unasked; the same every time for one rate."""
    return share(trace_id) < load_rag_config().evaluation.sampling_rate


def without_persons(question: str) -> str:
    """A question without addresses, numbers, ids and names of persons, so far as patterns tell them.

    One that hides them in look-alike or invisible characters is kept in plain letters.
    """
    clean = Redactor().clean_text(without_identifiers(question))
    seen = plain(clean)
    revealed = Redactor().clean_text(without_identifiers(seen))
    return clean if revealed == seen else revealed


async def keep(database: Database, interaction: Interaction, inputs: Mapping[str, Json] | None = None) -> bool:
    """Store an answer, and the ``inputs`` of each component that may be asked for it once more.

    An answer that cannot be kept is still given: False, and the reason in the log. One without its inputs is kept: it
    is only not tried again with other instructions.
    """
    try:
        sampled = in_sample(interaction.trace_id)
        await InteractionRepository(database).add(replace(interaction, sampled=sampled))
    except (E2IError, psycopg.Error) as error:
        _log.warning("the answer of trace %s was not kept (%s)", interaction.trace_id, type(error).__name__)
        return False
    for component, given in (inputs or {}).items():
        try:
            await InteractionInputs(database).keep(interaction.interaction_id, component, given)
        except (ValueError, E2IError, psycopg.Error) as error:
            _log.warning(
                "what %s was given in trace %s was not kept (%s)",
                *(component, interaction.trace_id, type(error).__name__),
            )
    return True


def document(interaction: Interaction) -> dict[str, Any]:
    """JSON form without the evidence's full text."""
    return {
        "interaction_id": interaction.interaction_id,
        "trace_id": interaction.trace_id,
        "run_id": interaction.run_id,
        "query": interaction.query,
        "method": interaction.method,
        "declined": interaction.declined,
        "confidence": interaction.confidence,
        "evaluated_at": interaction.evaluated_at,
    }
