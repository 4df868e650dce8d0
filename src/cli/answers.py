"""How are answers from documents, their scores and what people say of them printed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src.cli import output

if TYPE_CHECKING:
    from src.app.answer_evaluation import ScoredAnswer
    from src.rag.answers import RAGAnswer

_NOT_MEASURED = "not measured"


def answer_document(answer: RAGAnswer) -> dict[str, Any]:
    """An answer from documents as JSON."""
    import dataclasses

    return dataclasses.asdict(answer)


def print_answer(answer: RAGAnswer) -> None:
    """The answer, its sources, and what a reader should know of it."""
    from rich.text import Text

    lines = [Text(answer.answer)]
    if answer.citations:
        lines.append(Text())
    titles: dict[str, str] = {one.chunk_id: one.uri or one.source_id for one in answer.contexts}
    for one in answer.citations:
        lines.append(Text(f"[{one.marker}] {one.title} ({titles.get(one.chunk_id, one.chunk_id)}): “{one.quote}”"))
    notes = [
        f"the {one.arm} search gave {'a part only' if one.share else 'nothing'}: {one.reason}"
        for one in answer.degraded
    ]
    lines += [Text(f"! {note}", style="yellow") for note in (*answer.notes, *notes)]
    if answer.declined is None:
        lines.append(
            Text(f"Confidence {answer.confidence:.2f}, by {answer.method}; trace {answer.trace_id}", style="dim")
        )
    output.print_rich(*lines)


def scores_document(scored: ScoredAnswer) -> dict[str, Any]:
    """An answer's scores as JSON; None where it was not scored yet."""
    import dataclasses

    from src.app.interactions import document

    evaluation = None if scored.evaluation is None else dataclasses.asdict(scored.evaluation)
    return {"answer": document(scored.interaction), "user_rating": scored.rating, "evaluation": evaluation}


def print_scores(scored: ScoredAnswer) -> None:
    """Every metric and criterion with its reason, and what follows."""
    evaluation = scored.evaluation
    if evaluation is None:
        output.print_rich("This answer has not been scored yet; score it with: e2i evaluate pending")
        return
    reasons = evaluation.details.get("ragas", {}).get("reasons", {})
    table = output.grid("metric", "score", "why")
    for name, value in evaluation.ragas.items():
        why = reasons.get(name) or evaluation.unmeasured.get(name, "")
        output.add_row(table, name.replace("_", " "), _NOT_MEASURED if value is None else f"{value:.2f}", why)
    criteria = evaluation.details.get("rubric", {}).get("criteria", {})
    for name, value in evaluation.rubric.items():
        why = criteria.get(name, {}).get("reasoning", "") or evaluation.unmeasured.get(name, "")
        output.add_row(table, name.replace("_", " "), _NOT_MEASURED if value is None else f"{value:g} of 5", why)
    combined = _NOT_MEASURED if evaluation.combined_score is None else f"{evaluation.combined_score:.2f}"
    output.print_rich(
        table,
        f"Combined {combined}; metrics by {evaluation.method}, rubric by {evaluation.rubric_method}: "
        f"{evaluation.rubric_decision}. To improve: {evaluation.improvement_type} ({evaluation.improvement_priority}).",
    )
    if scored.rating is not None:
        output.print_rich(f"Somebody rated it {scored.rating} of 5.")
