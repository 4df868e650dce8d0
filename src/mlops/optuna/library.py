"""How is Optuna loaded? On first use, without its chatter; says what to install where it is missing."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from src.errors import ConfigError


def load_optuna() -> ModuleType:
    """The library. Raises ConfigError when it is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("Optuna is not installed: pip install 'e2i[training]'")
    import optuna

    # Its log repeats parameters and errors of trials; both are kept with the study.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
