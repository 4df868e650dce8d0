"""Which method proposes trials, and which one stops those that lead nowhere?"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

from src.errors import ConfigError, HPOError, nearest_names
from src.mlops.optuna.configuration import OptunaConfig, PrunerName, PrunerSettings, SamplerName
from src.mlops.optuna.library import load_optuna

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SAMPLERS: tuple[str, ...] = get_args(SamplerName)
PRUNERS: tuple[str, ...] = get_args(PrunerName)


class SamplerFactory:
    """Makes samplers as the configuration says."""

    @staticmethod
    def create(name: str, config: OptunaConfig, *, random_state: int | None = None) -> BaseSampler:
        """``tpe``, ``random`` or ``cmaes``; ``random_state`` replaces the configured seed. Raises HPOError."""
        optuna = load_optuna()
        seed = config.random_state if random_state is None else random_state
        made: BaseSampler
        if name == "tpe":
            made = optuna.samplers.TPESampler(
                n_startup_trials=config.n_startup_trials, multivariate=config.multivariate, seed=seed
            )
        elif name == "random":
            made = optuna.samplers.RandomSampler(seed=seed)
        elif name == "cmaes":
            made = _cmaes(config.n_startup_trials, seed)
        else:
            raise HPOError(f"no sampler '{name}'; {nearest_names(name, SAMPLERS)}")
        return made


class PrunerFactory:
    """Makes pruners as the configuration says."""

    @staticmethod
    def create(name: str, config: OptunaConfig) -> BasePruner:
        """``hyperband``, ``median``, ``successive_halving`` or ``none``. Raises HPOError."""
        optuna, settings = load_optuna(), config.pruners
        made: BasePruner
        if name == "hyperband":
            made = _hyperband_class()(settings)
        elif name == "median":
            made = optuna.pruners.MedianPruner(settings.median.n_startup, settings.median.n_warmup_steps)
        elif name == "successive_halving":
            halving = settings.successive_halving
            made = optuna.pruners.SuccessiveHalvingPruner(halving.min_resource, halving.reduction_factor)
        elif name == "none":
            made = optuna.pruners.NopPruner()
        else:
            raise HPOError(f"no pruner '{name}'; {nearest_names(name, PRUNERS)}")
        return made


def seed_of(random_state: int, trials_before: int) -> int:
    """The seed for a study that has ``trials_before``: the same one would draw its first trials again."""
    return (random_state + 7919 * trials_before) % 2**32


def method_name(method: object) -> str:
    """The configured name of a sampler or pruner, or that of its class."""
    return _NAMES.get(type(method).__name__, type(method).__name__)


_NAMES = {
    "TPESampler": "tpe",
    "RandomSampler": "random",
    "CmaEsSampler": "cmaes",
    "TransferSampler": "transfer",
    "Hyperband": "hyperband",
    "HyperbandPruner": "hyperband",
    "MedianPruner": "median",
    "SuccessiveHalvingPruner": "successive_halving",
    "NopPruner": "none",
}


def _cmaes(n_startup_trials: int, seed: int) -> Any:
    import importlib.util

    if importlib.util.find_spec("cmaes") is None:
        raise ConfigError("the sampler 'cmaes' needs its package: pip install 'e2i[training]'")
    return load_optuna().samplers.CmaEsSampler(
        n_startup_trials=n_startup_trials, seed=seed, warn_independent_sampling=False
    )


@cache
def _hyperband_class() -> type[Any]:
    """Hyperband (Li et al. 2018) over Optuna's asynchronous successive halving, with two differences.

    A trial's bracket depends on its number alone, not on the study's name, so that a search can be repeated;
    and the sampler learns from the trials of all brackets, where Optuna would show it those of one and so begin
    with random ones in each.
    """
    optuna = load_optuna()

    class Brackets(optuna.pruners.HyperbandPruner):  # type: ignore[name-defined, misc, unused-ignore]
        def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
            return int(super()._get_bracket_id(SimpleNamespace(study_name="e2i"), trial))

    class Hyperband(optuna.pruners.BasePruner):  # type: ignore[name-defined, misc, unused-ignore]
        def __init__(self, settings: PrunerSettings) -> None:
            hyperband = settings.hyperband
            self._brackets = Brackets(hyperband.min_resource, hyperband.max_resource, hyperband.reduction_factor)

        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            return bool(self._brackets.prune(study, trial))

    return Hyperband
