"""How does a search go on from what like ones before it tried? What it proposes, and when it gives a trial up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from src.mlops.optuna.configuration import OptunaConfig
from src.mlops.optuna.coordinates import Coordinates
from src.mlops.optuna.factories import PrunerFactory, SamplerFactory, method_name
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.results import EarlierSearch
from src.mlops.optuna.summary import METHODS, direction_of, earlier_searches
from src.mlops.optuna.transfer_model import TransferModel, Tried, lead, standardised

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.samplers import BaseSampler
    from optuna.study import Study

    Floats = NDArray[np.float64]
    Space = Mapping[str, Any]

# Settings looked at before one is proposed: near the most promising of those tried, as far off as the steps (shares
# of a range) say; like them but for some parameters, each drawn anew with this chance; and anywhere.
_NEAR, _PARTLY, _ANYWHERE = 500, 300, 100
_STEPS = (0.05, 0.1, 0.2)
_ANEW = 0.25
# One proposal of so many explores.
_EXPLORES = 4
# Share of the usual lead of the earlier searches' bests: a smaller one here is told as if it were that.
_LEAST_LEAD = 0.25
# The most promising tried settings by the model, and the best of this search as it was measured.
_PROMISING, _BEST = 8, 2


def equip(study: Study, config: OptunaConfig, random_state: int) -> None:
    """Give the study the configured sampler and pruner; what like searches tried guides both where it is known.

    A study whose configured sampler is TPE then follows a ``TransferModel``: after the same trials the proposals are
    the same. Among settings that all are good the first steps of a training do not tell which is better: the
    pruner waits for ``warmstart.first_pruning_step``. Raises HPOError.
    """
    sampler = SamplerFactory.create(config.default_sampler, config, random_state=random_state)
    earlier = earlier_searches(study)
    if earlier:
        if config.default_sampler == "tpe":
            sampler = _transfer_class()(sampler, earlier, random_state)
        config = _patient(config)
    study.sampler, study.pruner = sampler, PrunerFactory.create(config.default_pruner, config)


def name_methods(study: Study) -> None:
    """Keep with the study how it is searched."""
    study.set_user_attr(METHODS, [method_name(study.sampler), method_name(study.pruner)])


def _patient(config: OptunaConfig) -> OptunaConfig:
    """``config`` with pruners that decide no earlier than a search with earlier ones wants."""
    first, pruners = config.warmstart.first_pruning_step, config.pruners
    hyperband, median, halving = pruners.hyperband, pruners.median, pruners.successive_halving
    later = {
        "hyperband": {"min_resource": min(max(hyperband.min_resource, first), hyperband.max_resource)},
        "median": {"n_warmup_steps": max(median.n_warmup_steps, first)},
        "successive_halving": {"min_resource": max(halving.min_resource, first)},
    }
    return config.changed(pruners=later)


def propose(
    space: Space,
    here: Sequence[tuple[Mapping[str, Any], float]],
    earlier: Sequence[EarlierSearch],
    sign: float,
    rng: np.random.Generator,
    *,
    explore: bool = False,
) -> dict[str, Any] | None:
    """A promising setting; None where the trials so far tell nothing.

    With ``explore`` it is the best by one draw from the posterior (Thompson sampling): searches that only ever took
    the largest expected improvement, as this one does otherwise, would all stay where the first of them was.
    ``here``: settings and values of this search; ``sign`` is 1 where more is better, -1 where less is.
    """
    coordinates = Coordinates(space)
    tried = _tried(coordinates, here, earlier, sign)
    if tried is None:
        return None
    model = TransferModel(tried, search=len(earlier))
    promising = tried.points[np.argsort(-model.predict(tried.points)[0], kind="stable")[:_PROMISING]]
    best = sorted(here, key=lambda one: -sign * one[1])[:_BEST]
    parents = np.vstack([promising, coordinates.points([setting for setting, _ in best])])
    settings = [coordinates.setting(point) for point in _candidates(parents, rng)]
    points = coordinates.points(settings)
    return settings[int(np.argmax(model.draw(points, rng) if explore else model.expected_improvement(points)))]


def _tried(
    coordinates: Coordinates,
    here: Sequence[tuple[Mapping[str, Any], float]],
    earlier: Sequence[EarlierSearch],
    sign: float,
) -> Tried | None:
    searches = [*(one.trials for one in earlier), here]
    given = [[sign * value for _, value in trials] for trials in searches]
    leads = [found for one in given[:-1] if (found := lead(one)) > 0]
    least = [0.0] * len(earlier) + [_LEAST_LEAD * float(np.median(leads)) if leads else 0.0]
    points, values, search = [], [], []
    for number, (trials, told) in enumerate(zip(searches, given, strict=True)):
        if (known := standardised(told, least[number])) is not None:
            points.append(coordinates.points([setting for setting, _ in trials]))
            values.append(known)
            search.append(np.full(len(known), number))
    return Tried(np.vstack(points), np.concatenate(values), np.concatenate(search)) if points else None


def _candidates(parents: Floats, rng: np.random.Generator) -> Floats:
    near = parents[rng.integers(len(parents), size=_NEAR)]
    near = near + rng.choice(_STEPS, size=(_NEAR, 1)) * rng.normal(size=near.shape)
    # Reflected at the ends: cut off, every second one would lie on them.
    near = 1 - np.abs(1 - np.abs(near))
    partly = parents[rng.integers(len(parents), size=_PARTLY)]
    anew = rng.random(partly.shape) < _ANEW
    # One at least: the setting itself has been tried.
    anew[np.arange(_PARTLY), rng.integers(partly.shape[1], size=_PARTLY)] = True
    partly = np.where(anew, rng.random(partly.shape), partly)
    found: Floats = np.clip(np.vstack([near, partly, rng.random((_ANYWHERE, parents.shape[1]))]), 0, 1)
    return found


@cache
def _transfer_class() -> type[Any]:
    optuna = load_optuna()

    class TransferSampler(optuna.samplers.BaseSampler):  # type: ignore[name-defined, misc, unused-ignore]
        def __init__(self, without: BaseSampler, earlier: Sequence[EarlierSearch], random_state: int) -> None:
            self._without, self._earlier, self._random_state = without, earlier, random_state

        def infer_relative_search_space(self, study: Study, trial: Any) -> dict[str, Any]:
            found: dict[str, Any] = self._without.infer_relative_search_space(study, trial)
            return found

        def sample_relative(self, study: Study, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            from threadpoolctl import threadpool_limits

            done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            here = [(one.params, one.value) for one in done if one.value is not None]
            sign = 1.0 if direction_of(study) == "maximize" else -1.0
            rng = np.random.default_rng([self._random_state, trial.number])
            with threadpool_limits(limits=1):
                found = self._proposed(search_space, here, sign, rng, trial.number) if search_space else None
            return self._without.sample_relative(study, trial, search_space) if found is None else found

        def _proposed(self, space: Space, here: Any, sign: float, rng: Any, number: int) -> dict[str, Any] | None:
            # What is learned by looking elsewhere serves this search and the ones after it.
            return propose(space, here, self._earlier, sign, rng, explore=number % _EXPLORES == 0)

        def sample_independent(self, study: Study, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return self._without.sample_independent(study, trial, param_name, param_distribution)

        def before_trial(self, study: Study, trial: Any) -> None:
            self._without.before_trial(study, trial)

        def after_trial(self, study: Study, trial: Any, state: Any, values: Sequence[float] | None) -> None:
            self._without.after_trial(study, trial, state, values)

        def reseed_rng(self) -> None:
            self._without.reseed_rng()

    return TransferSampler
