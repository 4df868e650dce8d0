"""Run the installed command as a user does, in a folder and a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

E2I = Path(sys.executable).with_name("e2i")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """``var`` holds everything the commands write, ``dsn`` is their database."""

    var: Path
    dsn: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "E2I_VAR_DIR": str(self.var), "DATABASE_URL": self.dsn, "COLUMNS": "120"}

    def __call__(self, *arguments: str, text: str | None = None) -> Finished:
        done = subprocess.run(
            [str(E2I), *arguments], env=self.environment, input=text, capture_output=True, text=True, timeout=240
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(E2I), *arguments], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def study_frame(n: int = 400, *, effect: float = 0.8, seed: int = 3) -> pd.DataFrame:
    """A small confounded study: x drives t and y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = (rng.uniform(size=n) < 1 / (1 + np.exp(-0.5 * x))).astype(int)
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(n // 4), 4),
            "month": np.tile(np.arange(4), n // 4),
            "t": t,
            "y": effect * t + 0.5 * x + rng.normal(size=n),
            "x": x,
            "name": [f"n{i}" for i in range(n)],
            "const": 1,
        }
    )
