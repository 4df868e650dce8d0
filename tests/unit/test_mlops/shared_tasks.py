"""What workers of these tests try: small searches that die, fail or wait where they are told to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import DataUnavailable
from src.mlops.optuna.configuration import OptunaConfig


@dataclass(frozen=True)
class Parabola:
    """(x - 0.3)²; trials of some numbers end otherwise."""

    config: OptunaConfig
    random_state: int = 1
    dies_at: tuple[int, ...] = ()
    raises_at: tuple[int, ...] = ()
    nan_at: tuple[int, ...] = ()

    def objective(self) -> Any:
        def value(trial: Any) -> float:
            x = trial.suggest_float("x", 0, 1)
            if trial.number in self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if trial.number in self.raises_at:
                raise ValueError("no such luck")
            return float("nan") if trial.number in self.nan_at else (x - 0.3) ** 2

        return value


@dataclass(frozen=True)
class Waiting:
    """Says in a file that a trial began, and waits."""

    config: OptunaConfig
    folder: str
    random_state: int = 1

    def objective(self) -> Any:
        def value(trial: Any) -> float:
            (Path(self.folder) / str(trial.number)).touch()
            time.sleep(600)
            return 0.0

        return value


@dataclass(frozen=True)
class Together:
    """A trial ends when as many as ``others`` were begun."""

    config: OptunaConfig
    folder: str
    others: int
    random_state: int = 1

    def objective(self) -> Any:
        def value(trial: Any) -> float:
            (Path(self.folder) / str(trial.number)).write_text(str(os.getpid()))
            while len(list(Path(self.folder).iterdir())) < self.others:
                time.sleep(0.01)
            return trial.suggest_float("x", 0, 1)

        return value


@dataclass(frozen=True)
class Nothing:
    """There are no rows to try anything on."""

    config: OptunaConfig
    random_state: int = 1

    def objective(self) -> Any:
        raise DataUnavailable("the rows are not there")
