"""How good is a model with these hyperparameters? Objectives that report while they train, so that a trial which
leads nowhere is stopped early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import HPOError
from src.mlops.modelling.families import algorithm_named, default_params
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.forest import TREES_PER_ROUND
from src.mlops.modelling.metrics import metric_value, searchable
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.spaces import SearchSpace, checked_space
from src.mlops.optuna.summary import PATTERN, RESOURCE
from src.mlops.optuna.trials import NotFinite

if TYPE_CHECKING:
    from optuna.trial import Trial

    from src.mlops.optuna.trials import Objective

# Rounds without a better value on the validation rows after which boosting ends.
EARLY_STOPPING_ROUNDS = 30
# Steps of the longest training, unless the configuration of Hyperband says otherwise.
MAX_REPORTS = 100
_ROUNDS = "n_estimators"


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Fitting:
    """What all trials of a study have in common.

    The longest training has ``max_reports`` steps: ``every`` rounds are one, the same number in all trials, so that
    equal steps mean equal training.
    """

    algorithm: str
    problem_type: ProblemType
    space: SearchSpace
    metric: str
    fixed_params: Mapping[str, Any] = field(default_factory=dict)
    balanced: bool = False
    random_state: int = 42
    early_stopping_rounds: int | None = EARLY_STOPPING_ROUNDS
    max_reports: int = MAX_REPORTS

    def params(self, trial: Trial) -> dict[str, Any]:
        """The fixed parameters and those that the sampler chooses."""
        return {**self.fixed_params, **{name: part.suggest(trial, name) for name, part in self.space.items()}}

    @property
    def family(self) -> str:
        """linear, forest or boosting."""
        return algorithm_named(self.algorithm).family

    @property
    def every(self) -> int:
        """Boosting rounds, or groups of trees, per step."""
        most = self.space[_ROUNDS].bounds[1] if _ROUNDS in self.space else None
        return max(1, math.ceil(self.rounds_of({_ROUNDS: most} if most else {}) / self.max_reports))

    def rounds_of(self, params: Mapping[str, Any]) -> int:
        """Boosting rounds, or groups of trees, of a whole training; 1 for what is fitted in one go."""
        if self.family == "linear":
            return 1
        rounds = int({**default_params(self.algorithm), **self.fixed_params, **params}[_ROUNDS])
        return math.ceil(rounds / TREES_PER_ROUND) if self.family == "forest" else rounds

    def value(self, params: Mapping[str, Any], train: Labelled, validation: Labelled, report: Any = None) -> float:
        """Train on ``train`` with one thread; the metric on ``validation``."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            model = fit_model(
                self.algorithm,
                self.problem_type,
                params,
                train,
                validation=validation,
                metric=self.metric,
                early_stopping_rounds=None if self.family == "linear" else self.early_stopping_rounds,
                report=report,
                balanced=self.balanced,
                random_state=self.random_state,
                n_jobs=1,
            )
            scores = model.scores(validation.X)
        return metric_value(self.metric, self.problem_type, validation.y, scores)


class Reports:
    """Tells the trial how the training goes and ends it when the pruner says so.

    ``rounds`` counts what was really trained. Where ``planned`` is reached nothing is left to be saved, and the
    trial is not pruned any more. A warm start never is: what it is worth here has to be known. ``over`` says after
    each round whether the search has ended: that breaks any trial off.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        every: int = 1,
        planned: int | None = None,
        reported: Callable[[int], bool] = lambda step: True,
        over: Callable[[], bool] = _never,
    ) -> None:
        self.rounds = 0
        self._trial = trial
        self._every = every
        self._planned = planned
        self._reported = reported
        self._over = over

    def __call__(self, index: int, value: float) -> None:
        """Take the metric after round ``index`` (from 0). Raises optuna.TrialPruned, NotFinite."""
        self.rounds = index + 1
        if not math.isfinite(value):
            raise NotFinite(f"the metric on the validation rows became {value} in round {self.rounds}")
        step, between = divmod(self.rounds, self._every)
        reported = not between and self._reported(step)
        if reported:
            self._trial.report(value, step)
        if self.rounds != self._planned and (self._over() or (reported and self._hopeless())):
            raise load_optuna().TrialPruned

    def _hopeless(self) -> bool:
        return PATTERN not in self._trial.user_attrs and self._trial.should_prune()


def worth_reporting(step: int) -> bool:
    """Powers of three, where halving pruners decide, and every tenth step, for the curve.

    A report and the pruner's look at it cost milliseconds in a database, more than a round of boosting.
    """
    if step % 10 == 0:
        return True
    while step % 3 == 0:
        step //= 3
    return step == 1


def fitting_of(
    algorithm: str, problem_type: ProblemType, search_space: Mapping[str, Any], metric: str, **others: Any
) -> Fitting:
    """The parts checked. Raises HPOError for a bad space, ContractViolation for a metric nothing can be searched by."""
    return Fitting(algorithm, problem_type, checked_space(search_space), searchable(metric, problem_type), **others)


@dataclass(frozen=True)
class ValidationObjective:
    """Trains on one split and judges on another; reports per boosting round or group of trees.

    A trial is broken off between two of them when ``over`` says so.
    """

    fitting: Fitting
    train: Labelled
    validation: Labelled
    over: Callable[[], bool] = _never

    def __call__(self, trial: Trial) -> float:
        """The metric on the validation rows."""
        fitting, params = self.fitting, self.fitting.params(trial)
        reports = Reports(
            trial,
            every=fitting.every,
            planned=fitting.rounds_of(params),
            reported=worth_reporting,
            over=self.over,
        )
        try:
            return fitting.value(params, self.train, self.validation, reports)
        finally:
            trial.set_user_attr(RESOURCE, reports.rounds)


@dataclass(frozen=True)
class CrossValidationObjective:
    """The mean over folds; reports the mean so far after each fold, and breaks off there when ``over`` says so."""

    fitting: Fitting
    data: Labelled
    folds: int
    over: Callable[[], bool] = _never

    def __call__(self, trial: Trial) -> float:
        """The mean of the metric over the folds."""
        params = self.fitting.params(trial)
        reports, values = Reports(trial, planned=self.folds, over=self.over), []
        try:
            for index, (train, validation) in enumerate(self._split()):
                values.append(self.fitting.value(params, train, validation))
                reports(index, sum(values) / len(values))
        finally:
            trial.set_user_attr(RESOURCE, len(values))
        return sum(values) / len(values)

    def _split(self) -> Iterator[tuple[Labelled, Labelled]]:
        from sklearn.model_selection import KFold, StratifiedKFold

        stratified = self.fitting.problem_type is not ProblemType.REGRESSION
        make = StratifiedKFold if stratified else KFold
        splitter = make(n_splits=self.folds, shuffle=True, random_state=self.fitting.random_state)
        for train, validation in splitter.split(self.data.X, self.data.y):
            yield _rows(self.data, train), _rows(self.data, validation)


def ended_by(objective: Objective, over: Callable[[], bool]) -> Objective:
    """``objective``, its trials breaking off once ``over`` is true; one that is not made here runs to its end."""
    if isinstance(objective, ValidationObjective | CrossValidationObjective):
        return replace(objective, over=over)
    return objective


def cross_validation(fitting: Fitting, data: Labelled, folds: int) -> CrossValidationObjective:
    """Raises HPOError when a class, or all rows, cannot be spread over so many folds."""
    if folds < 2:
        raise HPOError(f"cross-validation needs at least 2 folds, not {folds}")
    least = len(data.y) if fitting.problem_type is ProblemType.REGRESSION else int(data.y.value_counts().min())
    if least < folds:
        what = "rows" if fitting.problem_type is ProblemType.REGRESSION else "rows of the smallest class"
        raise HPOError(f"{least} {what} cannot be spread over {folds} folds")
    return CrossValidationObjective(fitting, data, folds)


def _rows(data: Labelled, positions: Any) -> Labelled:
    return Labelled(data.X.iloc[positions], data.y.iloc[positions])
