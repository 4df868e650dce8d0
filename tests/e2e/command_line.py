"""Run the installed command as a user does, in a folder and a database of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.app.provenance import code_version
from src.cli.main import main
from src.mlops.opik_connector import reset_opik_connector

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
        own = {"E2I_VAR_DIR": str(self.var), "DATABASE_URL": self.dsn, "COLUMNS": "120"}
        return {**os.environ, **own, "E2I_TEST_CODE_VERSION": code_version()}

    def __call__(self, *arguments: str, text: str | None = None) -> Finished:
        done = subprocess.run(
            [str(E2I), *arguments], env=self.environment, input=text, capture_output=True, text=True, timeout=240
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(E2I), *arguments], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@dataclass(frozen=True)
class SameProcess(CommandLine):
    """The command's own ``main`` in this process: the libraries are loaded once for many calls."""

    def __call__(self, *arguments: str, text: str | None = None) -> Finished:
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["e2i", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(text or ""))
            reset_opik_connector()
            try:
                with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                    main()
            finally:
                reset_opik_connector()
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        code = ended.value.code
        return Finished(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


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
