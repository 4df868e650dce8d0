"""What happened in a run, generation by generation, and who wants to know?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from src.optimization.improver import Spend


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was judged on all validation items. ``texts`` by predictor; scores are in 0–1."""

    index: int
    texts: Mapping[str, str]
    score: float
    parents: tuple[int, ...] = ()
    step: int = 0
    item_scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """The state after one turn; ``step`` 0 is the wording in use. ``pareto_size``: candidates best on some item."""

    step: int
    best_score: float
    mean_score: float
    pareto_size: int
    candidates: int
    metric_calls: int
    accepted: bool
    spend: Spend = Spend()

    def metrics(self) -> dict[str, float]:
        """As numbers by name; dollars only where they are known."""
        found = {
            "best_score": self.best_score,
            "mean_score": self.mean_score,
            "pareto_size": float(self.pareto_size),
            "candidates": float(self.candidates),
            "metric_calls": float(self.metric_calls),
            "accepted": float(self.accepted),
            "task_tokens": float(self.spend.task_tokens),
            "reflection_tokens": float(self.spend.reflection_tokens),
            "judge_tokens": float(self.spend.judge_tokens),
        }
        return found if self.spend.dollars is None else {**found, "dollars": self.spend.dollars}


@dataclass(frozen=True, slots=True)
class Search:
    """What a run came to. ``stopped`` says why it ended before its turns were used up."""

    tried: tuple[Tried, ...]
    generations: tuple[Generation, ...]
    metric_calls: int
    spend: Spend
    stopped: str | None = None

    @property
    def baseline(self) -> Tried:
        """The wording in use."""
        return self.tried[0]

    @property
    def best(self) -> Tried:
        """The best mean on the validation items; the earlier of two equal ones."""
        return max(self.tried, key=lambda one: (one.score, -one.index))


class Listener(Protocol):
    """Is told of a run while it goes on, in the optimiser's thread."""

    def on_optimization_start(self, texts: Mapping[str, str], train: int, validation: int) -> None:
        """Before anything is judged; the texts in use and the numbers of items."""
        ...

    def on_generation_start(self, step: int) -> None:
        """A turn begins."""
        ...

    def on_generation_complete(self, generation: Generation, new: Sequence[Tried]) -> None:
        """A turn ended; ``new`` are the candidates it added."""
        ...

    def on_optimization_complete(self, search: Search) -> None:
        """The run ended, with what it found."""
        ...


class Watcher:
    """gepa's callback: counts generations and candidates and tells the listeners.

    What a listener raises never ends a run that was paid for: it is kept in ``problems``.
    """

    def __init__(self, listeners: Sequence[Listener] = (), spend: Callable[[], Spend] = Spend) -> None:
        self.tried: list[Tried] = []
        self.generations: list[Generation] = []
        self.problems: list[str] = []
        self.metric_calls = 0
        self._listeners = tuple(listeners)
        self._spend = spend
        self._new: list[Tried] = []
        self._texts: Mapping[str, str] = {}

    def on_optimization_start(self, event: Mapping[str, Any]) -> None:
        """gepa begins: generation 0 judges the texts in use."""
        self._texts = dict(event["seed_candidate"])
        self._tell("on_optimization_start", self._texts, event["trainset_size"], event["valset_size"])
        self._tell("on_generation_start", 0)

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        """A candidate was judged on the validation items."""
        scores = {str(key): float(score) for key, score in event["scores_by_val_id"].items()}
        parents = tuple(one for one in event["parent_ids"] if one is not None)
        score, step = float(event["average_score"]), int(event["iteration"])
        self.add(Tried(int(event["candidate_idx"]), dict(event["candidate"]), score, parents, step, scores))
        if step == 0:
            self.metric_calls = max(self.metric_calls, len(scores))
            self.complete(0, accepted=True)

    def on_budget_updated(self, event: Mapping[str, Any]) -> None:
        """More answers were judged."""
        self.metric_calls = int(event["metric_calls_used"])

    def on_iteration_start(self, event: Mapping[str, Any]) -> None:
        """A turn begins."""
        self._tell("on_generation_start", int(event["iteration"]))

    def on_iteration_end(self, event: Mapping[str, Any]) -> None:
        """A turn ended."""
        self.complete(int(event["iteration"]), accepted=bool(event["proposal_accepted"]))

    def add(self, tried: Tried) -> None:
        """A candidate was judged on all validation items."""
        self.tried.append(tried)
        self._new.append(tried)

    def complete(self, step: int, *, accepted: bool) -> None:
        """A turn ended."""
        scores = [one.score for one in self.tried]
        new, self._new = tuple(self._new), []
        if not scores:
            return
        generation = Generation(
            step,
            max(scores),
            sum(scores) / len(scores),
            pareto_size(self.tried),
            len(self.tried),
            self.metric_calls,
            accepted,
            self._spend(),
        )
        self.generations.append(generation)
        self._tell("on_generation_complete", generation, new)

    def ended(self, stopped: str | None) -> Search:
        """The run is over."""
        search = Search(tuple(self.tried), tuple(self.generations), self.metric_calls, self._spend(), stopped)
        self._tell("on_optimization_complete", search)
        return search

    def _tell(self, what: str, *facts: Any) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, what)(*facts)
            except Exception as error:  # noqa: BLE001 - recorded; see the class
                self.problems.append(f"{type(listener).__name__}.{what}: {type(error).__name__}: {error}")


def pareto_size(tried: Sequence[Tried]) -> int:
    """How many candidates have the best score on at least one item."""
    items = {key for one in tried for key in one.item_scores}
    on_front = set[int]()
    for key in items:
        best = max(one.item_scores.get(key, float("-inf")) for one in tried)
        on_front |= {one.index for one in tried if one.item_scores.get(key) == best}
    return len(on_front)
