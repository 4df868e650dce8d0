"""The alternative to GEPA: MIPROv2 proposes wordings at once and chooses between them by Bayesian search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    watcher.on_optimization_start(
        {"seed_candidate": {PREDICTOR: text}, "trainset_size": len(train), "valset_size": len(validation)}
    )
    program = student(text, evaluations)
    text = instruction_of(program)
    scores = _Scores(text, evaluations, set(validation))
    trainset, valset = examples(train), examples(validation)
    stopped: RunStopped | None = None
    try:
        compile_by_mipro(program, scores.metric, trainset, valset, model, model, config, random_state)
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


def compile_by_mipro(
    program: Any,
    metric: Callable[..., float],
    trainset: Sequence[Any],
    valset: Sequence[Any],
    prompt_model: Any,
    task_model: Any,
    config: GepaConfig,
    random_state: int,
) -> Any:
    """The program with the best instructions that ``prompt_model`` proposed; no examples in the prompt."""
    optimizer = load_dspy().MIPROv2(
        metric=metric,
        prompt_model=prompt_model,
        task_model=task_model,
        auto=None,
        num_candidates=config.mipro.candidates,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=config.threads,
        max_errors=1,
        seed=random_state,
    )
    return optimizer.compile(
        program,
        trainset=list(trainset),
        valset=list(valset),
        num_trials=config.mipro.trials,
        minibatch=False,
        program_aware_proposer=False,
        fewshot_aware_proposer=False,
    )


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
