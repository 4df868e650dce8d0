"""What did finished causal analyses answer? One text per completed run, in the words of its conclusion."""

from __future__ import annotations

from src.causal_engine.results import Analysis, EffectEstimate, Verdict
from src.causal_engine.serialise import from_json
from src.domain.identifiers import find_identifiers
from src.errors import ContractViolation
from src.rag.corpus.ingestion import Unreadable
from src.rag.corpus.insights.wording import Names, listed, number
from src.rag.corpus.labels import Labeller
from src.rag.corpus.reading.contents import joined, tidy
from src.rag.documents import SourceDocument, SourceType
from src.storage.gateway import Row

_LONGEST_TITLE = 160
# A number that is no effect must not be found as one.
_INTRODUCTION = {
    Verdict.SUPPORTED: "Estimated effect",
    Verdict.ASSOCIATION_ONLY: "Association, not shown to be an effect,",
    Verdict.NO_DETECTABLE_EFFECT: "Estimate without a detectable effect",
    Verdict.UNDERPOWERED: "Estimate, too imprecise to act on,",
    Verdict.NOT_IDENTIFIED: "Difference that is not identified as an effect",
}


def run_report(row: Row, names: Names, labeller: Labeller) -> SourceDocument | Unreadable:
    """The text of a row of ``analysis_runs``; one that names persons or is of another version is not told."""
    source = f"run {row['run_id']}"
    try:
        analysis = from_json(Analysis, row["analysis"])
    except ContractViolation as error:
        return Unreadable(source, f"its result cannot be read: {error}")
    question = tidy(row["question"])
    text, sections = joined(_parts(question, row, analysis, names))
    if found := find_identifiers(f"{question}\n{text}"):
        return Unreadable(source, f"it holds what looks like a person's {found[0].kind}; it stays out of the corpus")
    labels = labeller.label(question, None, None)
    return SourceDocument(
        source_type=SourceType.RUN_REPORT,
        source_id=str(row["run_id"]),
        title=f"Answer of {row['ended_at']:%Y-%m-%d}: {question}"[:_LONGEST_TITLE],
        sections=sections,
        brand=labels.brand,
        region=labels.region,
        effective_date=row["ended_at"].date(),
        uri=f"e2i:run/{row['run_id']}",
        metadata={"verdict": row["verdict"], "dataset": row["dataset_id"]},
    )


def _parts(question: str, row: Row, analysis: Analysis, names: Names) -> list[tuple[tuple[str, ...], str]]:
    conclusion = analysis.conclusion
    answer = [
        f"Question: {question}",
        f"Answer: {conclusion.headline}",
        f"Verdict: {conclusion.verdict.value}. Confidence: {conclusion.confidence}.",
        *_estimate(analysis, names),
    ]
    if analysis.refutation is not None:
        answer.append(f"Refutation tests: {analysis.refutation.gate.value.replace('_', ' ')}.")
    if analysis.sensitivity is not None:
        answer.append(analysis.sensitivity.statement)
    return [
        (("Answer",), "\n".join(answer)),
        (("Findings",), "\n".join(conclusion.findings)),
        (("Assumptions",), "\n".join(conclusion.assumptions)),
        (("Limitations",), "\n".join((*conclusion.limitations, *conclusion.warnings))),
        (("What would change the answer",), "\n".join(conclusion.would_change)),
        (("Recommendations",), "\n".join(conclusion.recommendations)),
    ]


def _estimate(analysis: Analysis, names: Names) -> list[str]:
    primary = analysis.primary
    if primary is None:
        return [f"No effect of {names.of(analysis.treatment)} on {names.of(analysis.outcome)} was estimated."]
    return [
        f"{_INTRODUCTION[analysis.conclusion.verdict]} of {names.of(analysis.treatment)} on"
        f" {names.of(analysis.outcome)}:"
        f" {number(primary.value)} (95 % interval {number(primary.ci.lower)} to {number(primary.ci.upper)}),"
        f" by {primary.estimator.replace('_', ' ')} on {primary.n:,} rows{_adjusted(primary, names)}."
    ]


def _adjusted(primary: EffectEstimate, names: Names) -> str:
    adjusted = [names.of(column) for column in primary.adjusted_for]
    return f", adjusted for {listed(adjusted)}" if adjusted else ""
