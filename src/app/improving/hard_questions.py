"""On which questions must a new prompt not sound surer than the one in use?

Those of the adversarial dataset: a wrong number, another brand, a claim nobody made, a passage beside the point, and
evidence that does not hold the answer. A prompt that drops its cautions does well on easy questions and shows here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from src.agents.explainer.state import ExplainRequest
from src.app.improving.inputs import EXPLAINER, RAG_ANSWER, DocumentsQuestion, KeptPassage
from src.causal_engine.serialise import to_json
from src.domain.findings import Evidence, Finding, FindingStatus, Statement, StatementKind
from src.domain.improvement import LearningItem
from src.rag.evaluation_datasets import get_adversarial_dataset
from src.rag.samples import EvaluationSample

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
SURE = 0.5


async def hard_questions(component: str) -> Sequence[LearningItem]:
    """The questions as ``component`` is given them; none for a component that cannot be tried on kept inputs."""
    if component not in (EXPLAINER, RAG_ANSWER):
        return []
    return [_item(component, number, one) for number, one in enumerate(get_adversarial_dataset(), start=1)]


def _item(component: str, number: int, sample: EvaluationSample) -> LearningItem:
    given: Any = _found(sample) if component == RAG_ANSWER else _to_explain(sample)
    return LearningItem(
        interaction_id=f"adversarial/{number}",
        trace_id=f"adversarial/{number}",
        component=component,
        query=sample.query,
        answer=sample.ground_truth or "",
        contexts=sample.scored_contexts,
        created_at=WRITTEN,
        brand=sample.metadata.get("brand"),
        inputs=to_json(given),
    )


def _found(sample: EvaluationSample) -> DocumentsQuestion:
    """The contexts as passages that retrieval found."""
    passages = tuple(
        KeptPassage(
            chunk_id=f"hard-{place}",
            document_id=f"hard-{place}",
            text=text,
            score=1.0 / place,
            title="Adversarial sample",
            source_type="document",
            source_id=f"hard-{place}",
            brand=sample.metadata.get("brand"),
        )
        for place, text in enumerate(sample.scored_contexts, start=1)
    )
    return DocumentsQuestion(sample.query, passages)


def _to_explain(sample: EvaluationSample) -> ExplainRequest:
    """The contexts as what an agent quoted from documents."""
    evidence = tuple(Evidence(f"run:hard#{place}", text) for place, text in enumerate(sample.scored_contexts, start=1))
    finding = Finding(
        agent="explainer",
        question=sample.query,
        status=FindingStatus.COMPLETED,
        headline=evidence[0].text,
        statements=tuple(Statement(StatementKind.FINDING, one.text, (one.id,)) for one in evidence),
        evidence=evidence,
        confidence=SURE,
    )
    return ExplainRequest(query=sample.query, results=(finding,))
