"""How are the scores of an answer and what people say of it printed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src.cli import output

if TYPE_CHECKING:
    from src.app.answer_evaluation import ScoredAnswer

_NOT_MEASURED = "not measured"


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
