"""Which algorithms can be chosen, what does each cost, and how well can a person follow it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.domain.modelling import Candidate, ProblemType
from src.errors import ContractViolation, nearest_names
from src.mlops.modelling.families import ALGORITHMS
from src.mlops.optuna.configuration import OptunaConfig

# From here on a person can follow how a prediction comes about: coefficients that can be read.
INTERPRETABLE = 0.7


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of an algorithm beside its parameters.

    ``interpretability`` and ``scalability`` are our judgements, 0–1: how directly a prediction can be read from the
    model, and how well training copes with millions of rows. ``latency_ms`` (one row scored by itself) and
    ``memory_gb`` (the whole process) were measured on one core with the default parameters, 5 000 training rows and
    20 numbers as features; they grow with the model.
    """

    interpretability: float
    scalability: float
    latency_ms: float
    memory_gb: float


PROFILES: Mapping[str, Profile] = {
    "logistic_regression": Profile(0.90, 0.85, 1.7, 0.20),
    "ridge": Profile(0.90, 0.90, 1.3, 0.20),
    "lasso": Profile(0.95, 0.85, 0.6, 0.20),
    "random_forest": Profile(0.45, 0.60, 15.0, 0.23),
    "xgboost": Profile(0.40, 0.95, 1.2, 0.21),
    "lightgbm": Profile(0.40, 1.00, 0.8, 0.20),
    "linear_dml": Profile(0.80, 0.70, 2.5, 0.39),
    "causal_forest": Profile(0.35, 0.45, 4.0, 0.40),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One algorithm of the catalogue for one type of problem; ``search_space`` is empty where nothing is searched."""

    name: str
    family: str
    problem_types: tuple[ProblemType, ...]
    class_paths: Mapping[ProblemType, str]
    profile: Profile
    default_params: Mapping[str, Any]
    search_space: Mapping[str, Mapping[str, Any]]

    def candidate(self, problem_type: ProblemType, score: float) -> Candidate:
        """The proposal of this algorithm."""
        path = self.class_paths[problem_type]
        return Candidate(self.name, self.family, path, score, dict(self.default_params), dict(self.search_space))


def catalogue(config: OptunaConfig) -> dict[str, Entry]:
    """Every algorithm by name; search spaces are those of ``config/optuna_config.yaml``."""
    return {name: _entry(name, config) for name in PROFILES}


def known(name: str) -> str:
    """``name`` if it is in the catalogue. Raises ContractViolation with the nearest names."""
    if name not in PROFILES:
        raise ContractViolation(f"there is no algorithm '{name}'; {nearest_names(name, PROFILES)}")
    return name


def _entry(name: str, config: OptunaConfig) -> Entry:
    algorithm = ALGORITHMS[name]
    space = config.search_space(name) if name in config.search_spaces else {}
    return Entry(
        name,
        algorithm.family,
        algorithm.problem_types,
        algorithm.class_paths,
        PROFILES[name],
        algorithm.defaults,
        space,
    )
