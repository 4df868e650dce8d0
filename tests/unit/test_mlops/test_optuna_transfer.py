"""Does a search go on from what like ones tried: near what was good, by its own trials first, the same each time?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from src.domain.modelling import ProblemType
from src.mlops.optuna.configuration import OptunaConfig
from src.mlops.optuna.coordinates import Coordinates
from src.mlops.optuna.first_trials import begin
from src.mlops.optuna.results import EarlierSearch, TrialRecord, WarmStart
from src.mlops.optuna.shared_study import Assignment, work
from src.mlops.optuna.summary import earlier_searches, history
from src.mlops.optuna.transfer import propose
from src.mlops.optuna.transfer_model import TransferModel, Tried, standardised
from src.mlops.optuna_optimizer import OptunaOptimizer, StudySubject
from tests.unit.test_mlops.tuning import LINE, optimizer, parabola

Spaces = optuna.distributions
X = {"x": Spaces.FloatDistribution(-10.0, 10.0)}
SUBJECT = StudySubject.of("ridge", ProblemType.BINARY, "roc_auc", LINE, {})


def search(best: float, *, level: float = 0.0, sign: float = 1.0, among: Sequence[float] = range(-9, 10, 2)) -> Any:
    """A search over x that found ``best`` best."""
    return EarlierSearch("p", 1.0, tuple(({"x": float(x)}, level - sign * (x - best) ** 2) for x in among))


async def begun(
    earlier: Sequence[EarlierSearch], *, random_state: int = 1, **changes: Any
) -> tuple[OptunaOptimizer, optuna.Study]:
    """A study that tries x = -5 first and then the middle."""
    made = optimizer(limits={"stop_after_no_improvement": 99}, **changes)
    study = await made.create_study(subject=SUBJECT)
    starts = [WarmStart("p", 1.0, {"x": -5.0}, 0.0)]
    await asyncio.to_thread(begin, study, SUBJECT, starts, earlier, made.config, random_state)
    return made, study


async def tried(
    earlier: Sequence[EarlierSearch],
    n_trials: int,
    objective: Callable[[optuna.Trial], float] = parabola,
    **changes: Any,
) -> tuple[TrialRecord, ...]:
    made, study = await begun(earlier, **changes)
    await made.optimize(study, objective, n_trials=n_trials)
    return history(study)


def near(trials: Sequence[TrialRecord]) -> bool:
    """Whether most, but for those that explore, lie around what like searches found best."""
    return sum(abs(trial.params["x"] - 2) < 3 for trial in trials) >= len(trials) / 2


@dataclass(frozen=True)
class OnParabola:
    """What a worker on a shared study tries."""

    config: OptunaConfig
    random_state: int = 1

    def objective(self) -> Callable[[optuna.Trial], float]:
        return parabola


def falling(trial: optuna.Trial) -> float:
    """Each trial is worse than the one before, in all of its 30 steps."""
    trial.suggest_float("x", -10.0, 10.0)
    for step in range(1, 31):
        trial.report(-trial.number, step)
        if step < 30 and trial.should_prune():
            raise optuna.TrialPruned
    return -trial.number


# Where settings lie ---------------------------------------------------------------------------------

SPACE = {
    "rate": Spaces.FloatDistribution(0.01, 1.0, log=True),
    "share": Spaces.FloatDistribution(0.1, 0.9, step=0.1),
    "rounds": Spaces.IntDistribution(50, 400, step=50),
    "leaves": Spaces.IntDistribution(4, 128, log=True),
    "kind": Spaces.CategoricalDistribution(["a", "b", None]),
    "fixed": Spaces.IntDistribution(3, 3),
}


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("rate", 0.1, [0.5]),
        ("share", 0.1, [0.0]),
        ("rounds", 400, [1.0]),
        ("leaves", 4, [0.0]),
        ("kind", "b", [0.0, 0.5**0.5, 0.0]),
        ("fixed", 3, [0.5]),
    ],
)
def test_a_value_lies_at_its_share_of_the_range(name: str, value: Any, place: list[float]) -> None:
    assert Coordinates({name: SPACE[name]}).points([{name: value}])[0] == pytest.approx(place)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_every_point_of_the_cube_is_a_setting_of_the_space_that_lies_where_it_says(point: list[float]) -> None:
    cube = Coordinates(SPACE)
    assert cube.dimensions == len(point)
    setting = cube.setting(np.array(point))
    for name, part in SPACE.items():
        assert part._contains(part.to_internal_repr(setting[name]))
    again = cube.setting(cube.points([setting])[0])
    assert all(isinstance(again[name], type(value)) for name, value in setting.items())
    assert again.pop("rate") == pytest.approx(setting.pop("rate"))
    assert again == setting


def test_a_parameter_that_an_earlier_search_did_not_have_lies_in_the_middle() -> None:
    assert Coordinates({"rate": SPACE["rate"], "leaves": SPACE["leaves"]}).points([{"rate": 1.0}]).tolist() == [
        [1.0, 0.5]
    ]


# The model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 0.5, 0.7], [1.0, -1.0, 0.0]),
        ([5.0, 4.0, 3.0, 4.0, -99.0], [1.0, 0.0, -1.0, 0.0, -3.0]),
        ([0.5, 0.5, 0.5], None),
        ([0.9, 0.5], None),
        ([], None),
    ],
)
def test_values_are_told_by_the_usual_and_the_best_of_their_search(
    values: list[float], expected: list[float] | None
) -> None:
    found = standardised(values)
    assert (None if found is None else found.tolist()) == (expected and pytest.approx(expected))


def test_a_search_of_good_settings_only_does_not_make_much_of_small_differences() -> None:
    assert standardised([0.8, 0.9, 0.7], least=1.0) == pytest.approx([0.0, 0.1, -0.1])
    assert standardised([0.8, 0.9, 0.7], least=0.05) == pytest.approx([0.0, 1.0, -1.0])


def two_searches(n: int = 30) -> Tried:
    """Points of a plane; only the first coordinate matters, and the second search lies higher."""
    rng = np.random.default_rng(4)
    points, number = rng.random((n, 2)), np.repeat([0, 1], n // 2)
    return Tried(points, -3 * (points[:, 0] - 0.3) ** 2 + number + 0.1 * rng.normal(size=n), number)


def test_the_model_is_the_gaussian_process_it_says() -> None:
    given, point = two_searches(), np.array([[0.4, 0.9]])
    model = TransferModel(given, 1)
    (*lengths, signal, noise, own) = np.exp(model._fitted)

    def kernel(one: Any, other: Any) -> Any:
        r = np.sqrt(5 * (((one[:, None] - other[None]) / np.array(lengths)) ** 2).sum(-1))
        return signal * (1 + r + r**2 / 3) * np.exp(-r)

    same, here = given.search[:, None] == given.search, given.search == 1
    K = kernel(given.points, given.points) * (1 + own * same) + 4 * same
    K += noise * np.eye(len(same))
    k = kernel(point, given.points) * (1 + own * here) + 4 * here
    mean, deviation = model.predict(point)
    variance = signal * (1 + own) + 4 - (k @ np.linalg.solve(K, k.T))[0]
    assert mean == pytest.approx(k @ np.linalg.solve(K, given.values))
    assert deviation**2 == pytest.approx(variance, rel=1e-6)
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("moved", [0.0, 0.4])
def test_the_slope_of_the_probability_is_the_one_that_differences_give(moved: float) -> None:
    model = TransferModel(two_searches(), 0)
    at = model._priors()[:, 0] + moved
    _, slope = model._improbability(at)
    assert slope == pytest.approx(approx_fprime(at, lambda logs: model._improbability(logs)[0], 1e-6), abs=1e-3)


def test_the_expected_improvement_is_what_draws_gain_on_average() -> None:
    model, points = TransferModel(two_searches(), 0), np.array([[0.3, 0.5], [0.6, 0.2]])
    best = model.predict(two_searches().points[:15])[0].max()
    mean, deviation = model.predict(points)
    draws = mean + deviation * np.random.default_rng(0).normal(size=(200_000, 2))
    assert model.expected_improvement(points) == pytest.approx(np.maximum(draws - best, 0).mean(0), rel=0.05, abs=1e-6)


def test_draws_differ_as_the_predictions_of_settings_do() -> None:
    model, points = TransferModel(two_searches(), 1), np.array([[0.31, 0.52], [0.95, 0.05], [0.31, 0.52]])
    rng, (mean, deviation) = np.random.default_rng(0), model.predict(points)
    draws = np.array([model.draw(points, rng) for _ in range(2_000)])
    gained = draws[:, 0] - draws[:, 1]
    assert abs(gained.mean() - (mean[0] - mean[1])) < 2 * deviation.max()
    assert 0 < gained.std() < 4 * deviation.max()
    # The same setting is worth the same within one draw.
    assert draws[:, 0] == pytest.approx(draws[:, 2], abs=0.03)


# Proposals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_before_any_trial_the_proposal_lies_where_like_searches_found_their_best(sign: float) -> None:
    earlier = [search(4.0, sign=sign), search(4.5, level=1_000.0, sign=sign)]
    found = propose(X, [], earlier, sign, np.random.default_rng(0))
    assert found is not None
    assert abs(found["x"] - 4.25) < 1.5


def test_the_searchs_own_trials_say_more_than_those_of_others() -> None:
    here = [({"x": float(x)}, -((x + 6) ** 2)) for x in np.linspace(-9, 9, 12)]
    found = propose(X, here, [search(4.0)], 1.0, np.random.default_rng(0))
    assert found is not None
    assert abs(found["x"] + 6) < 1.5


def test_a_proposal_that_explores_lies_further_from_what_is_known() -> None:
    """Of the second parameter nothing is known but in its middle."""
    plane = X | {"y": Spaces.FloatDistribution(0.0, 1.0)}
    known = EarlierSearch("p", 1.0, tuple(({**point, "y": 0.5}, value) for point, value in search(4.0).trials))
    away = [
        [
            abs(found["y"] - 0.5)
            for seed in range(12)
            if (found := propose(plane, [], [known], 1.0, np.random.default_rng(seed), explore=explore))
        ]
        for explore in (False, True)
    ]
    assert len(away[0]) == len(away[1]) == 12
    assert max(away[0]) < max(away[1])
    assert sum(away[0]) < sum(away[1])


def test_where_nothing_can_be_learned_nothing_is_proposed() -> None:
    flat = EarlierSearch("p", 1.0, (({"x": 1.0}, 0.5),) * 5)
    assert propose(X, [], [flat], 1.0, np.random.default_rng(0)) is None


# Searches -------------------------------------------------------------------------------------------


async def test_a_search_begins_with_the_best_then_the_defaults_then_goes_on_from_like_searches() -> None:
    trials = await tried([search(2.5), search(1.5)], 8)
    assert [trial.params["x"] for trial in trials[:2]] == [-5.0, 0.0]
    assert near(trials[2:])
    assert max(trial.value for trial in trials if trial.value is not None) > -0.1


async def test_the_same_seed_gives_the_same_search_and_another_one_another() -> None:
    first, again, other = [
        [trial.params for trial in await tried([search(2.5)], 6, random_state=seed)] for seed in (1, 1, 2)
    ]
    assert first == again != other


async def test_failed_trials_teach_nothing() -> None:
    def failing(trial: optuna.Trial) -> float:
        value = parabola(trial)
        return float("inf") if trial.number == 0 else value

    trials = await tried([search(2.5)], 8, failing)
    assert (trials[0].state, trials[0].params) == ("FAIL", {"x": -5.0})
    assert near(trials[2:])


@pytest.mark.parametrize(
    "changes",
    [{"default_sampler": "random"}, {"warmstart": {"max_searches": 0}}, {"warmstart": {"enabled": False}}],
    ids=["another sampler", "no searches wanted", "switched off"],
)
async def test_a_search_is_guided_only_where_the_configuration_says_so(changes: dict[str, Any]) -> None:
    guided, cold = [[one.params for one in await tried(known, 8, **changes)] for known in ([search(2.5)], [])]
    assert guided == cold


async def test_no_more_searches_guide_than_configured() -> None:
    _, study = await begun([search(2.5), search(1.0), search(0.0)], warmstart={"max_searches": 2})
    assert [one.trials[0] for one in earlier_searches(study)] == [search(2.5).trials[0], search(1.0).trials[0]]


@pytest.mark.parametrize("pruner", ["hyperband", "median", "successive_halving"])
async def test_no_trial_of_a_guided_search_is_pruned_before_the_configured_step(pruner: str) -> None:
    settings = {"default_pruner": pruner, "warmstart": {"first_pruning_step": 12}}
    guided, cold = [await tried(known, 12, falling, **settings) for known in ([search(2.5)], [])]
    steps = [[max(one.intermediate_values) for one in found if one.state == "PRUNED"] for found in (guided, cold)]
    assert steps[0]
    assert min(steps[0]) >= 12 > min(steps[1])


async def test_every_worker_on_a_shared_study_is_guided(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    made, study = await begun([search(2.5)], storage_url=url)
    await made.aclose()
    task = OnParabola(OptunaConfig(default_pruner="none"))
    work(Assignment(url, study.study_name, task, "search", worker=1, last=6))
    loaded = await made.load_study(study.study_name)
    trials = history(loaded)
    await made.aclose()
    assert len(trials) == 6
    assert near(trials[2:])


async def test_a_study_that_is_resumed_goes_on_as_guided_as_it_began(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    made, study = await begun([search(2.5)], storage_url=url)
    await made.optimize(study, parabola, n_trials=3)
    await made.aclose()
    other = optimizer(storage_url=url)
    loaded = await other.load_study(study.study_name)
    await other.optimize(loaded, parabola, n_trials=3)
    trials = history(loaded)
    await other.aclose()
    assert near(trials[2:])
