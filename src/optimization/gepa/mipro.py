"""The alternative to GEPA: MIPROv2 proposes wordings at once and chooses between them by Bayesian search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from src.domain.improvement import LearningItem
from src.optimization.gepa.bridge import RunStopped
from src.optimization.gepa.configuration import GepaConfig
from src.optimization.gepa.evaluations import Evaluations
from src.optimization.gepa.generations import Search, Tried, Watcher
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.program import PREDICTOR, examples, instruction_of, student


def search_by_mipro(
    text: str,
    evaluations: Evaluations,
    train: Mapping[str, LearningItem],
    validation: Mapping[str, LearningItem],
    model: Any,
    config: GepaConfig,
    watcher: Watcher,
    *,
    random_state: int,
    accepted: Callable[[str], bool],
) -> Search:
    """Search in this thread; instructions only, no examples in the prompt.

    Each wording that was judged on all validation items and is ``accepted`` is a candidate; one generation. A stopped
    run gives what it found, perhaps nothing; raises its error when it has one.
    """
    dspy = load_dspy()
    watcher.on_optimization_start(
        {"seed_candidate": {PREDICTOR: text}, "trainset_size": len(train), "valset_size": len(validation)}
    )
    program = student(text, evaluations)
    text = instruction_of(program)
    scores = _Scores(text, evaluations, set(validation))
    optimizer = dspy.MIPROv2(
        metric=scores.metric,
        prompt_model=model,
        task_model=model,
        auto=None,
        num_candidates=config.mipro.candidates,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=config.threads,
        max_errors=1,
        seed=random_state,
    )
    stopped: RunStopped | None = None
    try:
        optimizer.compile(
            program,
            trainset=examples(train),
            valset=examples(validation),
            num_trials=config.mipro.trials,
            minibatch=False,
            program_aware_proposer=False,
            fewshot_aware_proposer=False,
        )
    except RunStopped as why:
        stopped = why
    if stopped is not None and stopped.error is not None:
        raise stopped.error
    found = scores.complete()
    if text not in found:
        return watcher.ended(stopped.reason if stopped else "the wording in use was not judged on every item")
    watcher.metric_calls = scores.calls
    for index, wording in enumerate([text, *(one for one in found if one != text and accepted(one))]):
        each = found[wording]
        mean = sum(each.values()) / len(each)
        watcher.add(Tried(index, {PREDICTOR: wording}, mean, (0,) if index else (), int(index > 0), each))
    watcher.complete(1, accepted=len(watcher.tried) > 1)
    return watcher.ended(stopped.reason if stopped else None)


class _Scores:
    """The metric as MIPROv2 calls it, and what it gave per wording and item."""

    def __init__(self, text: str, evaluations: Evaluations, validation: set[str]) -> None:
        self.calls = 0
        self._evaluations = evaluations
        self._validation = validation
        self._found: dict[str, dict[str, float]] = {text: {}}

    def metric(self, gold: Any, pred: Any, trace: Any = None) -> float:
        """What the judge says, a number."""
        self.calls += 1
        score = self._evaluations.judged(pred.wording, gold.item).score
        if gold.item in self._validation:
            self._found.setdefault(pred.wording, {})[gold.item] = score
        return score

    def complete(self) -> dict[str, dict[str, float]]:
        """Wordings that were judged on every validation item, in the order they were tried."""
        return {text: each for text, each in self._found.items() if set(each) == self._validation}
