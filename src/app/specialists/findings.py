"""How does what an agent returned become a finding that others can tell of?"""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.ml_foundation.observability_connector.agent import ObserveResult
from src.agents.specialists import Task
from src.agents.tool_composer.agent import CompositionResult
from src.app.interactions import CAUSAL_AGENT, CONFIDENCE, evidence_of
from src.app.report.small_cells import hidden_segments
from src.causal_engine.results import Analysis, EffectEstimate
from src.domain.figures import is_rounding, stated_numbers
from src.domain.findings import Evidence, Figure, Finding, FindingStatus, Statement, StatementKind
from src.rag.answers import RAGAnswer
from src.rag.embeddings.selection import SWITCHED_OFF
from src.storage.records import RunRecord

_OF_MODEL_AGENTS = {"completed": FindingStatus.COMPLETED, "partial": FindingStatus.PARTIAL}


def of_analysis(task: Task, run: RunRecord, analysis: Analysis) -> Finding:
    """The finding of a causal analysis: its conclusion, its estimate with interval, and the facts it rests on."""
    conclusion = analysis.conclusion
    evidence = [Evidence(f"run:{run.run_id}#{n}", text) for n, text in enumerate(evidence_of(analysis), start=1)]
    unit = str(run.understood.get("units", ""))
    kinds: tuple[tuple[StatementKind, Sequence[str]], ...] = (
        (StatementKind.FINDING, conclusion.findings),
        (StatementKind.CAVEAT, conclusion.limitations),
        (StatementKind.WARNING, conclusion.warnings),
        (StatementKind.RECOMMENDATION, conclusion.recommendations),
        (StatementKind.WOULD_CHANGE, conclusion.would_change),
        (StatementKind.ASSUMPTION, (*run.understood.get("assumptions", ()), *conclusion.assumptions)),
    )
    return Finding(
        agent=CAUSAL_AGENT,
        question=task.question,
        status=FindingStatus.COMPLETED,
        headline=f"{_selection(task)}: {conclusion.headline}",
        statements=tuple(Statement(kind, text, _rests_on(text, evidence)) for kind, texts in kinds for text in texts),
        figures=_figures_of(analysis, evidence[0].id, unit),
        evidence=tuple(evidence),
        confidence=CONFIDENCE.get(conclusion.confidence),
        follow_ups=_follow_ups(analysis),
        run_id=run.run_id,
        verdict=str(conclusion.verdict),
    )


def _selection(task: Task) -> str:
    """Which rows an effect is about: without it two effects of one answer could not be told apart."""
    asked = task.understood
    brand, region = (asked.brand, asked.region) if asked else (task.brand, task.region)
    parts = [brand or "All brands together", f"{region.title()}" if region else "all regions"]
    if asked is not None:
        parts += [f"{asked.specialty} HCPs"] if asked.specialty else []
        parts += [str(asked.period)] if asked.period else []
    return ", ".join(parts)


def _rests_on(text: str, evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """The evidence that has the numbers of a sentence; for one without numbers, or with others, the estimate itself."""
    said = stated_numbers(text)
    found = [
        one.id
        for one in evidence
        if any(is_rounding(number, known.value) for number in said for known in stated_numbers(one.text))
    ]
    return tuple(found) or (evidence[0].id,)


def _figures_of(analysis: Analysis, evidence: str, unit: str) -> tuple[Figure, ...]:
    figures = [Figure("rows used", float(analysis.n_rows), "rows", evidence)]
    if (primary := analysis.primary) is not None:
        figures.insert(0, _effect(primary, unit, evidence))
        hidden = hidden_segments(primary.segments)
        figures += [
            Figure(f"effect, {one.column} {one.segment}", one.value, unit, evidence, one.ci.lower, one.ci.upper)
            for one in primary.segments
            if (one.column, one.segment) not in hidden
        ]
    if (sensitivity := analysis.sensitivity) is not None:
        figures.append(Figure("E-value of the interval's end", sensitivity.e_value_limit, "risk ratio", evidence))
    return tuple(figures)


def _effect(primary: EffectEstimate, unit: str, evidence: str) -> Figure:
    return Figure("effect", primary.value, unit, evidence, primary.ci.lower, primary.ci.upper)


def _follow_ups(analysis: Analysis) -> tuple[str, ...]:
    """Questions that this system can answer next."""
    asked = [f"Does the effect of {analysis.treatment} differ by specialty?"]
    if analysis.primary is not None:
        asked.append(f"What if {analysis.treatment} rose by one unit?")
    return tuple(one.replace("_", " ") for one in asked)


def of_composition(task: Task, result: CompositionResult) -> Finding:
    """The finding of a composition; without a synthesis it says why there is none."""
    if (said := result.synthesis) is None:
        reason = result.error.message if result.error is not None else "no step gave a result"
        return failed(task, reason)
    return Finding(
        agent=result.meta.agent_name,
        question=task.question,
        status=_OF_MODEL_AGENTS.get(result.meta.status, FindingStatus.FAILED),
        headline=said.headline,
        statements=said.statements,
        figures=said.figures,
        evidence=said.evidence,
        confidence=said.confidence,
        reason=result.error.message if result.error is not None else "",
        degraded=result.meta.degraded,
        prompt_versions=result.prompt_versions,
    )


def of_documents(task: Task, answer: RAGAnswer, *, agent: str) -> Finding:
    """The finding of an answer from documents; a declined one says what is missing."""
    if answer.declined is not None:
        return Finding(agent, task.question, FindingStatus.DECLINED, reason=answer.declined)
    ids = {one.marker: f"chunk:{one.chunk_id}#{one.marker}" for one in answer.citations}
    failing = [one for one in answer.degraded if SWITCHED_OFF.reason not in one.reason]
    return Finding(
        agent=agent,
        question=task.question,
        status=FindingStatus.PARTIAL if failing else FindingStatus.COMPLETED,
        headline=answer.sentences[0].text,
        statements=tuple(
            Statement(StatementKind.FINDING, one.text, tuple(ids[marker] for marker in one.markers))
            for one in answer.sentences
        ),
        evidence=tuple(Evidence(ids[one.marker], f"{one.title}: {one.quote}") for one in answer.citations),
        confidence=answer.confidence,
        degraded=(*(f"the {one.arm} search: {one.reason}" for one in failing), *answer.notes),
        prompt_versions=tuple(answer.prompt_versions.items()),
    )


def of_health(task: Task, result: ObserveResult) -> Finding:
    """How the platform does, from its spans; none recorded is no answer."""
    if (metrics := result.metrics) is None:
        return failed(task, result.reason or "no span was recorded in the window", FindingStatus.UNAVAILABLE)
    evidence = Evidence(f"spans:{metrics.window}", f"{metrics.sample_size:,} spans of the last {metrics.window}")
    worst = sorted(((rate, name) for name, rate in metrics.error_rate.items() if rate > 0), reverse=True)
    figures = [
        Figure("spans", float(metrics.sample_size), "spans", evidence.id),
        Figure("success rate", metrics.success_rate, "share", evidence.id),
        *(Figure(f"error rate of {name}", rate, "share", evidence.id) for rate, name in worst),
    ]
    statements = [
        Statement(StatementKind.WARNING, f"{name}: {rate:.1%} of its spans failed.", (evidence.id,))
        for rate, name in worst
    ]
    for name, times in sorted(metrics.latency.get("agent", {}).items()):
        figures += [Figure(f"p95 of {name}", times.p95, "ms", evidence.id)]
        statements.append(
            Statement(
                StatementKind.FINDING, f"{name}: 95 % of its spans end within {times.p95:,.0f} ms.", (evidence.id,)
            )
        )
    return Finding(
        agent=result.meta.agent_name,
        question=task.question,
        status=FindingStatus.COMPLETED,
        headline=f"{metrics.success_rate:.1%} of {metrics.sample_size:,} spans of the last {metrics.window} succeeded.",
        statements=tuple(statements),
        figures=tuple(figures),
        evidence=(evidence,),
        confidence=1.0,
    )


def together(task: Task, told: Sequence[Finding]) -> Finding:
    """What was found before, as it was: several findings as one, as sure as the least sure of them."""
    if len(told) == 1:
        return told[0]
    sure = [one.confidence for one in told if one.confidence is not None]
    verdicts = {one.verdict for one in told}
    return Finding(
        agent=task.agent,
        question=task.question,
        status=FindingStatus.COMPLETED,
        headline=" ".join(one.headline for one in told),
        statements=tuple(statement for one in told for statement in one.statements),
        figures=tuple(figure for one in told for figure in one.figures),
        evidence=tuple(evidence for one in told for evidence in one.evidence),
        confidence=min(sure, default=None),
        run_id=next((one.run_id for one in told if one.run_id), None),
        verdict=verdicts.pop() if len(verdicts) == 1 else "",
    )


def failed(task: Task, reason: str, status: FindingStatus = FindingStatus.FAILED) -> Finding:
    """A finding that says why there is none."""
    return Finding(task.agent, task.question, status, reason=" ".join(reason.split()))
