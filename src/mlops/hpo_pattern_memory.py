"""What did earlier searches teach: which hyperparameters are worth trying first on a problem like this one?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from src.domain.modelling import Direction, ProblemType
from src.errors import ContractViolation, HPOError
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import WarmStartSettings, load_optuna_config
from src.mlops.optuna.first_trials import alike
from src.mlops.optuna.results import EarlierSearch, TrialRecord, WarmStart
from src.mlops.optuna.spaces import clip_to_space
from src.mlops.scoring import TuningProblem, pattern_similarity, running_mean
from src.storage.gateway import Row
from src.storage.hpo_patterns import HPOPatternRepository

Space = Mapping[str, Mapping[str, Any]]
# Candidates looked at for each warm start wanted: some are left out as repetitions.
_SPARE = 3
# Problems whose similarity differs by less are the same one met again: what was found last is tried first.
_SAME_PROBLEM = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternQuery:
    """A search that is about to begin.

    ``class_balance`` is the share of the smallest class, ``target_scale`` the standard deviation of a numeric target,
    ``feature_types`` counts features by type; None is unknown. Raises HPOError for sizes that cannot be.
    """

    algorithm_name: str
    problem_type: ProblemType
    metric: str
    search_space: Space
    n_samples: int
    n_features: int
    n_classes: int | None = None
    class_balance: float | None = None
    target_scale: float | None = None
    feature_types: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        limits = {
            "n_samples": self.n_samples > 0,
            "n_features": self.n_features > 0,
            "n_classes": self.n_classes is None or self.n_classes >= 2,
            "class_balance": self.class_balance is None or 0 <= self.class_balance <= 1,
            "target_scale": self.target_scale is None or 0 < self.target_scale < math.inf,
        }
        if impossible := [name for name, possible in limits.items() if not possible]:
            raise HPOError(f"a search with {impossible[0]} = {getattr(self, impossible[0])} cannot be remembered")

    @property
    def problem(self) -> TuningProblem:
        """What similarity is computed from."""
        return TuningProblem(
            self.n_samples,
            self.n_features,
            self.class_balance,
            self.target_scale,
            self.feature_types,
            tuple(self.search_space),
        )


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """Hyperparameters that came after the best of their search, and what they gave."""

    params: Mapping[str, Any]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HPOPattern(PatternQuery):
    """The best of a finished search, the problem it was found on, and how it did when tried first elsewhere.

    ``runners_up``: what came next to the best, the better first.
    ``warmstart_improvement_avg`` is the arithmetic mean of all recorded improvements, None before the first.
    """

    direction: Direction
    best_params: Mapping[str, Any]
    best_value: float
    runners_up: tuple[RunnerUp, ...] = ()
    study_name: str | None = None
    pattern_id: str = field(default_factory=lambda: str(uuid4()))
    procedure_id: str | None = None
    times_used_as_warmstart: int = 0
    warmstart_improvement_avg: float | None = None
    last_used_at: datetime | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        PatternQuery.__post_init__(self)
        if not math.isfinite(self.best_value):
            raise HPOError(f"a best value of {self.best_value} is no result; nothing was remembered")

    @property
    def remembered(self) -> tuple[RunnerUp, ...]:
        """The best and its runners-up."""
        return (RunnerUp(self.best_params, self.best_value), *self.runners_up)


@dataclass(frozen=True, slots=True)
class SimilarPattern:
    """A pattern and how alike its problem is, 0–1."""

    pattern: HPOPattern
    similarity: float


@dataclass(frozen=True, slots=True)
class PatternStats:
    """What the memory holds; ``mean_improvement`` is over all recorded uses, None without any."""

    patterns: int
    by_algorithm: Mapping[str, int]
    used: int
    uses: int
    mean_improvement: float | None


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Patterns that were, or with ``dry_run`` would be, forgotten."""

    pattern_ids: tuple[str, ...]
    dry_run: bool


class PatternStore(Protocol):
    """Where patterns are kept."""

    async def add(self, pattern: HPOPattern) -> None:
        """Keep a pattern."""
        ...

    async def similar(self, query: PatternQuery, *, min_similarity: float, limit: int) -> list[SimilarPattern]:
        """Patterns of the same algorithm, problem type and metric, most alike first, the newer of equals first."""
        ...

    async def record_usage(self, pattern_id: str, improvement: float) -> float:
        """Count one use and return the mean improvement. Raises ContractViolation for an unknown id."""
        ...

    async def patterns(self) -> list[HPOPattern]:
        """All patterns, oldest first."""
        ...

    async def delete(self, pattern_ids: Sequence[str]) -> int:
        """Forget patterns and return how many there were."""
        ...


class HPOPatternMemory:
    """Remembers the best of finished searches and says which are worth trying first.

    ``settings`` default to ``optuna.warmstart`` of the configuration.
    """

    def __init__(
        self,
        store: PatternStore,
        settings: WarmStartSettings | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    @property
    def settings(self) -> WarmStartSettings:
        """Threshold and number of warm starts."""
        return self._settings or load_optuna_config().optuna.warmstart

    async def store_hpo_pattern(self, pattern: HPOPattern) -> str:
        """Remember what was best in a finished search and return its id."""
        await self._store.add(pattern)
        return pattern.pattern_id

    async def find_similar_patterns(self, query: PatternQuery, limit: int = 5) -> list[SimilarPattern]:
        """The patterns most like ``query``, whatever their similarity; other algorithms, problems, metrics never."""
        return await self._store.similar(query, min_similarity=0.0, limit=limit)

    async def get_warmstart(
        self, query: PatternQuery, min_similarity: float | None = None, *, most: int | None = None
    ) -> list[WarmStart]:
        """What to try first: what was best on problems at least ``min_similarity`` alike, at most ``most`` of it.

        The most alike problem's best comes first, the newest of the same problem. Values are moved into the space of
        ``query``; what becomes equal is tried once. Empty where warm starts are switched off, or nothing is alike
        enough.
        """
        wanted = self.settings.max_import_trials if most is None else min(most, self.settings.max_import_trials)
        starts: list[WarmStart] = []
        for similar in await self._alike(query, min_similarity):
            pattern, params = similar.pattern, clip_to_space(similar.pattern.best_params, query.search_space)
            if params and not any(alike(params, start.params) for start in starts):
                starts.append(WarmStart(pattern.pattern_id, similar.similarity, params, pattern.best_value))
        return starts[:wanted]

    async def get_earlier_searches(
        self, query: PatternQuery, min_similarity: float | None = None
    ) -> list[EarlierSearch]:
        """What was tried, and what it gave, on problems at least ``min_similarity`` alike, in the order of the warm
        starts; at most ``max_searches``. Values are moved into the space of ``query``.
        """
        return [
            EarlierSearch(
                similar.pattern.pattern_id,
                similar.similarity,
                tuple((clip_to_space(one.params, query.search_space), one.value) for one in similar.pattern.remembered),
            )
            for similar in (await self._alike(query, min_similarity))[: self.settings.max_searches]
        ]

    async def _alike(self, query: PatternQuery, min_similarity: float | None) -> list[SimilarPattern]:
        """The most alike problem first, the newest of the same problem; none where warm starts are switched off."""
        settings = self.settings
        if not settings.enabled:
            return []
        least = settings.min_similarity if min_similarity is None else min_similarity
        found = await self._store.similar(query, min_similarity=least, limit=_SPARE * settings.max_import_trials)
        return sorted(
            found,
            key=lambda similar: (-round(similar.similarity / _SAME_PROBLEM), -similar.pattern.created_at.timestamp()),
        )

    async def record_warmstart_outcome(self, pattern_id: str, improvement: float) -> float:
        """Record how much better a study was for having tried a pattern first, and return the mean over all uses.

        ``improvement`` is in the metric's units, positive when better. Raises HPOError when it was not measured,
        ContractViolation for an unknown pattern.
        """
        if not math.isfinite(improvement):
            raise HPOError(f"an improvement of {improvement} was not measured and cannot be averaged")
        return await self._store.record_usage(pattern_id, improvement)

    async def get_pattern_stats(self) -> PatternStats:
        """How much is remembered, and whether it helped."""
        patterns = await self._store.patterns()
        uses = sum(pattern.times_used_as_warmstart for pattern in patterns)
        gained = sum(item.times_used_as_warmstart * (item.warmstart_improvement_avg or 0.0) for item in patterns)
        return PatternStats(
            patterns=len(patterns),
            by_algorithm=dict(sorted(Counter(pattern.algorithm_name for pattern in patterns).items())),
            used=sum(pattern.times_used_as_warmstart > 0 for pattern in patterns),
            uses=uses,
            mean_improvement=gained / uses if uses else None,
        )

    async def cleanup_old_patterns(self, days: int = 90, dry_run: bool = False) -> Cleanup:
        """Forget what was neither made nor used in the last ``days``; with ``dry_run`` only say what that is."""
        if days < 0:
            raise ValueError("days must not be negative")
        limit = self._clock() - timedelta(days=days)
        old = [
            pattern.pattern_id
            for pattern in await self._store.patterns()
            if max(pattern.created_at, pattern.last_used_at or pattern.created_at) < limit
        ]
        if old and not dry_run:
            await self._store.delete(old)
        return Cleanup(tuple(old), dry_run)


class InMemoryPatterns:
    """Patterns of this process only."""

    def __init__(self) -> None:
        self._patterns: dict[str, HPOPattern] = {}

    async def add(self, pattern: HPOPattern) -> None:
        """Keep a pattern."""
        self._patterns[pattern.pattern_id] = pattern

    async def similar(self, query: PatternQuery, *, min_similarity: float, limit: int) -> list[SimilarPattern]:
        """Patterns of the same algorithm, problem type and metric, most alike first, the newer of equals first."""
        wanted = (query.algorithm_name, query.problem_type, query.metric)
        scored = [
            SimilarPattern(pattern, pattern_similarity(pattern.problem, query.problem))
            for pattern in self._patterns.values()
            if (pattern.algorithm_name, pattern.problem_type, pattern.metric) == wanted
        ]
        scored = [similar for similar in scored if similar.similarity >= min_similarity]
        scored.sort(key=lambda similar: (-similar.similarity, -similar.pattern.created_at.timestamp()))
        return scored[:limit]

    async def record_usage(self, pattern_id: str, improvement: float) -> float:
        """Count one use and return the mean improvement. Raises ContractViolation for an unknown id."""
        if (pattern := self._patterns.get(pattern_id)) is None:
            raise ContractViolation(f"no pattern {pattern_id}")
        uses = pattern.times_used_as_warmstart
        mean = running_mean(pattern.warmstart_improvement_avg, uses, improvement)
        self._patterns[pattern_id] = replace(
            pattern,
            times_used_as_warmstart=uses + 1,
            warmstart_improvement_avg=mean,
            last_used_at=datetime.now(UTC),
        )
        return mean

    async def patterns(self) -> list[HPOPattern]:
        """All patterns, oldest first."""
        return sorted(self._patterns.values(), key=lambda pattern: (pattern.created_at, pattern.pattern_id))

    async def delete(self, pattern_ids: Sequence[str]) -> int:
        """Forget patterns and return how many there were."""
        return sum(self._patterns.pop(pattern_id, None) is not None for pattern_id in pattern_ids)


class PostgresPatterns:
    """Patterns in ``ml_hpo_patterns``, shared by all processes."""

    def __init__(self, repository: HPOPatternRepository) -> None:
        self._repository = repository

    async def add(self, pattern: HPOPattern) -> None:
        """Keep a pattern."""
        row = asdict(pattern)
        await self._repository.add(row | {"runners_up": list(row["runners_up"])})

    async def similar(self, query: PatternQuery, *, min_similarity: float, limit: int) -> list[SimilarPattern]:
        """Patterns of the same algorithm, problem type and metric, most alike first, the newer of equals first."""
        problem = {item.name: getattr(query, item.name) for item in fields(PatternQuery) if item.name != "n_classes"}
        found = await self._repository.similar(problem, min_similarity=min_similarity, limit=limit)
        return [SimilarPattern(_pattern(row), similarity) for row, similarity in found]

    async def record_usage(self, pattern_id: str, improvement: float) -> float:
        """Count one use and return the mean improvement. Raises ContractViolation for an unknown id."""
        return await self._repository.record_usage(pattern_id, improvement)

    async def patterns(self) -> list[HPOPattern]:
        """All patterns, oldest first."""
        return [_pattern(row) for row in await self._repository.patterns()]

    async def delete(self, pattern_ids: Sequence[str]) -> int:
        """Forget patterns and return how many there were."""
        return await self._repository.delete(pattern_ids)


def query_of(
    algorithm: str, problem_type: ProblemType, metric: str, search_space: Space, train: Labelled
) -> PatternQuery:
    """The query for a search on these training rows.

    A feature counts as binary (two values or one), whole (whole numbers only) or continuous.
    """
    shares = train.y.value_counts(normalize=True)
    numeric = problem_type is ProblemType.REGRESSION
    scale = float(train.y.std()) if numeric else None
    return PatternQuery(
        algorithm_name=algorithm,
        problem_type=problem_type,
        metric=metric,
        search_space=search_space,
        n_samples=len(train.X),
        n_features=train.X.shape[1],
        n_classes=None if numeric or len(shares) < 2 else len(shares),
        class_balance=None if numeric else float(shares.min()),
        target_scale=scale if scale and math.isfinite(scale) else None,
        feature_types=dict(sorted(Counter(_feature_type(train.X[name]) for name in train.X.columns).items())),
    )


def runners_up(
    trials: Sequence[TrialRecord], direction: Direction, best_params: Mapping[str, Any], most: int
) -> tuple[RunnerUp, ...]:
    """Up to ``most`` completed ``trials`` that differ from ``best_params`` and from one another, the better first."""
    sign = 1.0 if direction == "maximize" else -1.0
    complete = [(trial.value, trial) for trial in trials if trial.state == "COMPLETE" and trial.value is not None]
    complete.sort(key=lambda one: (-sign * one[0], one[1].number))
    found: list[RunnerUp] = []
    for value, trial in complete:
        known = (best_params, *(one.params for one in found))
        if len(found) < most and not any(alike(trial.params, params) for params in known):
            found.append(RunnerUp(dict(trial.params), value))
    return tuple(found)


def _feature_type(values: Any) -> str:
    distinct = values.unique()
    if len(distinct) <= 2:
        return "binary"
    return "whole" if (distinct == distinct.round()).all() else "continuous"


def _pattern(row: Row) -> HPOPattern:
    values = {item.name: row[item.name] for item in fields(HPOPattern)}
    known = tuple(RunnerUp(told["params"], told["value"]) for told in row["runners_up"])
    return HPOPattern(**values | {"problem_type": ProblemType(row["problem_type"]), "runners_up": known})
