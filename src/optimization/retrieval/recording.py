"""How does a search for retrieval settings appear in MLflow? One run; its steps are the settings tried, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from src.optimization.improver import Candidate, ImprovementTask
from src.storage.retrieval_configurations import RetrievalConfig

if TYPE_CHECKING:
    from src.mlops.mlflow_connector import MLflowConnector

EXPERIMENT = "retrieval_optimization"


@dataclass(frozen=True, slots=True)
class Valued:
    """Means over questions: nDCG at 10, tokens of the passages, and what both together are worth."""

    ndcg: float
    tokens: float
    worth: float

    def metrics(self) -> dict[str, float]:
        """By the names they have in MLflow."""
        return {"ndcg": self.ndcg, "context_tokens": self.tokens, "worth": self.worth}


async def recorded(
    connector: MLflowConnector | None,
    task: ImprovementTask,
    tried: Sequence[tuple[RetrievalConfig, Valued]],
    candidate: Candidate,
) -> Candidate:
    """The candidate with the id of its run; as it is without a connector, or where the store is away for now.

    Runs of processes that are gone are ended first, so that a search carried out again leaves none that seems to run.
    """
    if connector is None:
        return candidate
    experiment = await connector.get_or_create_experiment(EXPERIMENT)
    await connector.end_abandoned_runs(experiment)
    tags = {"component": task.current.component, "kind": "retrieval", "improved": candidate.variant is not None}
    async with connector.start_run(experiment, task.run_name, tags) as run:
        chosen: Mapping[str, Any] = {} if candidate.variant is None else candidate.variant.content
        await run.log_params(
            {
                **{f"before_{name}": value for name, value in task.current.content.items()},
                **{f"after_{name}": value for name, value in chosen.items()},
                "train_items": len(task.train),
                "validation_items": len(task.validation),
                "random_state": task.random_state,
            }
        )
        best = float("-inf")
        for step, (config, value) in enumerate(tried):
            best = max(best, value.worth)
            await run.log_metrics({**value.metrics(), "best_worth": best, "k": float(config.k)}, step)
        scores = {"validation_ndcg": candidate.validation_score, "baseline_ndcg": candidate.baseline_score}
        await run.log_metrics({name: value for name, value in scores.items() if value is not None}, len(tried))
    if run.run_id is None:
        return candidate
    return replace(candidate, artifacts={**candidate.artifacts, "mlflow_run_id": run.run_id})
