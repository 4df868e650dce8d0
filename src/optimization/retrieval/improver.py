"""Which retrieval settings find more of what answers people's questions?

No model is needed: questions have labels, every arm is asked once, and settings are tried on what the arms found.
Chosen is what is best on the validation questions among the best on the training questions; whether it holds on others
is for the gate to say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from src.domain.improvement import ChangeKind, Lesson, Variant
from src.domain.vocabulary import Vocabulary
from src.errors import HPOError
from src.optimization.configuration import LoopSettings
from src.optimization.improver import Candidate, ImprovementTask
from src.optimization.retrieval.labels import LabelledQuery, labelled
from src.optimization.retrieval.measures import ranking_scores
from src.optimization.retrieval.recorded_search import RecordedSearch, SearchRecorder, patient
from src.optimization.retrieval.recording import Valued, recorded
from src.optimization.retrieval.replay import context_tokens
from src.optimization.retrieval.search_space import SettingsSpace
from src.optimization.retrieval.settings import config_of
from src.rag.configuration import RagConfig
from src.rag.embeddings.provider import EmbeddingProvider
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.retrieval_configurations import RetrievalConfig

if TYPE_CHECKING:
    from src.mlops.mlflow_connector import MLflowConnector

LEAST_TRAIN, LEAST_VALIDATION = 10, 5
PRICE_OF_1000_TOKENS = 0.01
"""nDCG that a thousand tokens more in the context of an answer must bring."""
FINALISTS = 5
_SEARCHING, _TRYING = 0.7, 0.3


class RetrievalImprover:
    """An ``Improver`` of k, the arms' weights and re-ranking by Optuna. The same task gives the same candidate."""

    def __init__(
        self,
        database: Database,
        config: RagConfig,
        settings: LoopSettings,
        *,
        embeddings: EmbeddingProvider | Unavailable,
        vocabulary: Vocabulary,
        mlflow: MLflowConnector | None = None,
    ) -> None:
        """``mlflow`` keeps every search as a run."""
        self._recorder = SearchRecorder(database, patient(config), embeddings, vocabulary)
        self._settings = settings
        self._context_tokens = context_tokens(config)
        self._mlflow = mlflow

    @property
    def kind(self) -> ChangeKind:
        """Retrieval."""
        return ChangeKind.RETRIEVAL

    async def improve(self, task: ImprovementTask) -> Candidate:
        """Raises HPOError for too few labelled questions, DataUnavailable where nothing can be searched,
        ContractViolation for settings that are none."""
        current = config_of(task.current.content)
        train = [query for query in map(labelled, task.train) if query is not None]
        validation = [query for query in map(labelled, task.validation) if query is not None]
        _check_enough(train, validation)
        task.on_progress("searching", 0.0)
        search = await self._recorder.record(
            [*train, *validation], lambda share: task.on_progress("searching", _SEARCHING * share)
        )
        train, validation = (
            [query for query in queries if query.item_id in search.found] for queries in (train, validation)
        )
        _check_enough(train, validation)
        space = SettingsSpace(current, [*search.missing])
        tried = await self._tried(task, search, space, train)
        best_first = [config for config, _ in sorted(tried, key=lambda one: -one[1].worth)]
        candidate = self._chosen(task, search, current, best_first, validation)
        return await recorded(self._mlflow, task, tried, candidate)

    async def _tried(
        self, task: ImprovementTask, search: RecordedSearch, space: SettingsSpace, train: Sequence[LabelledQuery]
    ) -> list[tuple[RetrievalConfig, Valued]]:
        """Every setting that was tried, in order, each once, with its value on the training questions."""
        from src.mlops.optuna_optimizer import OptunaOptimizer

        values: dict[RetrievalConfig, Valued] = {}
        parameters = space.parameters()

        def objective(trial: Any) -> float:
            config = space.config(OptunaOptimizer.suggest_from_search_space(trial, parameters))
            if config not in values:
                values[config] = valued(search, config, train)
            return values[config].worth

        trials = self._settings.improvement.retrieval_trials
        optimizer = OptunaOptimizer(
            "retrieval",
            storage_url="memory",
            config={
                "random_state": task.random_state,
                "default_pruner": "none",
                "limits": {"stop_after_no_improvement": trials},
            },
        )
        try:
            study = await optimizer.create_study(task.run_name, "maximize")
            await optimizer.optimize(
                study,
                objective,
                n_trials=trials,
                n_jobs=1,
                on_progress=lambda one: task.on_progress("trying", _SEARCHING + _TRYING * one.done / one.planned),
            )
        finally:
            await optimizer.aclose()
        return [*values.items()]

    def _chosen(
        self,
        task: ImprovementTask,
        search: RecordedSearch,
        current: RetrievalConfig,
        tried: Sequence[RetrievalConfig],
        validation: Sequence[LabelledQuery],
    ) -> Candidate:
        baseline = valued(search, current, validation)
        most_tokens = max(self._context_tokens, baseline.tokens)
        known_bad = _failed(task.lessons)
        finalists = [
            (valued(search, config, validation), config)
            for config in tried
            if config != current and _variant(task, config).sha256 not in known_bad
        ][:FINALISTS]
        affordable = [one for one in finalists if one[0].tokens <= most_tokens]
        said = "".join(f"; {arm} could not search ({why}) and keeps its share" for arm, why in search.missing.items())
        best, config = max(affordable, key=lambda one: one[0].worth, default=(baseline, current))
        least = self._settings.gate.retrieval_min_gain
        if best.ndcg - baseline.ndcg < least or best.worth <= baseline.worth:
            reason = f"none of {len(tried)} settings gained {least:g} nDCG on {len(validation)} validation questions"
            return Candidate(None, reason + said, baseline_score=baseline.ndcg)
        reason = (
            f"nDCG {best.ndcg:.3f} instead of {baseline.ndcg:.3f} on {len(validation)} validation questions, with "
            f"{best.tokens:.0f} instead of {baseline.tokens:.0f} tokens of context; {len(tried)} settings tried{said}"
        )
        return Candidate(_variant(task, config), reason, validation_score=best.ndcg, baseline_score=baseline.ndcg)


def valued(search: RecordedSearch, config: RetrievalConfig, queries: Sequence[LabelledQuery]) -> Valued:
    """What settings are worth on these questions."""
    rankings = [search.ranking(query.item_id, config) for query in queries]
    scores = [
        ranking_scores([piece.document for piece in ranking], query.relevant).ndcg
        for ranking, query in zip(rankings, queries, strict=True)
    ]
    ndcg, tokens = fmean(scores), fmean(sum(piece.tokens for piece in ranking) for ranking in rankings)
    return Valued(ndcg, tokens, ndcg - PRICE_OF_1000_TOKENS * tokens / 1000)


def _variant(task: ImprovementTask, config: RetrievalConfig) -> Variant:
    return Variant(task.current.component, ChangeKind.RETRIEVAL, config.settings)


def _failed(lessons: Sequence[Lesson]) -> Collection[str]:
    """Digests of settings that failed before."""
    return {one.change_sha256 for one in lessons if one.lesson_type == "failure" and one.change_sha256 is not None}


def _check_enough(train: Sequence[LabelledQuery], validation: Sequence[LabelledQuery]) -> None:
    if len(train) < LEAST_TRAIN or len(validation) < LEAST_VALIDATION:
        raise HPOError(
            f"{len(train)} training and {len(validation)} validation questions have labels of retrieval; at least "
            f"{LEAST_TRAIN} and {LEAST_VALIDATION} are needed: rate answers, or add documents with 'e2i corpus add'"
        )
