"""Can a framework's fits be recorded without being asked for, and still in the right run?"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, get_args

from src.errors import ContractViolation
from src.mlops.mlflow.configuration import Framework
from src.mlops.mlflow.models import checked_flavor
from src.mlops.mlflow.runs import MLflowRun
from src.mlops.mlflow.store import load_library, quietly

Value = TypeVar("Value")

# MLflow keeps its patches and its default store once per process, and loses records of fits at the same time.
_switching = threading.Lock()
_fitting = threading.Lock()


class _Connector(Protocol):
    @property
    def tracking_uri(self) -> str: ...

    @property
    def autolog_frameworks(self) -> tuple[Framework, ...]: ...

    @property
    def request_timeout_s(self) -> int: ...


class AutoLogger:
    """Switches MLflow's autologging on and off, and runs fits so that they land in the run they belong to.

    MLflow's autologging writes to the active run of the thread. ``fit`` therefore gives each fit a thread whose
    active run is the one named; recorded fits take turns.
    """

    def __init__(self, connector: _Connector) -> None:
        self._connector = connector
        self._enabled: set[Framework] = set()

    @property
    def enabled(self) -> frozenset[Framework]:
        """Frameworks switched on."""
        return frozenset(self._enabled)

    def enable_autolog(self, framework: str | None = None) -> frozenset[Framework]:
        """Switch one framework on, or without a name those of ``autolog.frameworks``; returns those that are on.

        Raises ContractViolation for an unknown framework, ConfigError for one that is not installed.
        """
        wanted = self._connector.autolog_frameworks if framework is None else (_known(framework),)
        for name in wanted:
            checked_flavor(name)
            self._switch(name, off=False)
            self._enabled.add(name)
        return self.enabled

    def disable_autolog(self, framework: str | None = None) -> None:
        """Switch one framework off, or all."""
        for name in tuple(self._enabled) if framework is None else (_known(framework),):
            self._switch(name, off=True)
            self._enabled.discard(name)

    async def fit(self, run: MLflowRun, function: Callable[[], Value]) -> Value:
        """The value of ``function()``, run in a thread; what the frameworks log meanwhile belongs to ``run``.

        While the store is away the function runs unrecorded: the library writes by itself, past the spool.
        """
        if run.run_id is None or run.spooled or not self._enabled:
            return await asyncio.to_thread(function)
        return await asyncio.to_thread(self._fit, run.run_id, function)

    def _fit(self, run_id: str, function: Callable[[], Value]) -> Value:
        import mlflow

        with _fitting, mlflow.start_run(run_id=run_id):
            return function()

    def _switch(self, name: Framework, *, off: bool) -> None:
        with _switching, quietly():
            load_library(self._connector.request_timeout_s)
            import mlflow

            kept = os.environ.get("MLFLOW_TRACKING_URI")
            mlflow.set_tracking_uri(self._connector.tracking_uri)
            _restore("MLFLOW_TRACKING_URI", kept)
            # Models go through log_model, which names their requirements instead of inferring them.
            options: dict[str, Any] = {"disable": off, "silent": True, "log_models": False, "log_datasets": False}
            importlib.import_module(f"mlflow.{name}").autolog(**options)


def _known(framework: str) -> Framework:
    found = next((name for name in get_args(Framework) if name == framework), None)
    if found is None:
        raise ContractViolation(
            f"framework '{framework}' has no autologging; there is: {', '.join(get_args(Framework))}"
        )
    return found  # type: ignore[no-any-return]


def _restore(name: str, value: str | None) -> None:
    """MLflow writes its default store into the environment, where the next configuration would read it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
