"""What can be recorded about one run, and what is known of it?"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from src.errors import UnreadableFile
from src.mlops.mlflow.journal import Entry, Owner
from src.mlops.mlflow.models import checked_flavor
from src.mlops.mlflow.results import Experiment, LoggedModel, RunStatus, Written
from src.mlops.mlflow.values import Masking, checked_model_name, split_finite
from src.resilience.outcomes import Spooled, Unavailable

Outcome = Written | Spooled | Unavailable


class Writer(Protocol):
    """Takes a run's entries to the store or to the spool."""

    masking: Masking

    async def write(self, run: MLflowRun, entry: Entry, file: Path | None = None) -> Any:
        """Store one entry."""
        ...

    async def write_model(self, run: MLflowRun, model: Any, entry: Entry, **saving: Any) -> Any:
        """Save a model and store it."""
        ...


class MLflowRun:
    """One run. Its log methods return ``Written``, ``Spooled`` while the server is away, or ``Unavailable``.

    ``run_id`` is the store's own id, or None as long as the store has given none. ``persisted`` says whether
    the store has everything recorded so far.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        local_id: str,
        experiment: Experiment,
        run_name: str | None = None,
        run_id: str | None = None,
        attached: bool = True,
    ) -> None:
        self.local_id = local_id
        # Whether it lives from start to end in this process, rather than being named by its id for one write.
        self.attached = attached
        self.experiment = experiment
        self.run_name = run_name
        self.run_id = run_id
        self.status = RunStatus.RUNNING
        self.started_at = now_ms()
        self.lost = 0
        # What the writer keeps with the run: whether entries wait in the spool, and the sign that it lives here.
        self.spooled = False
        self.owner: Owner | None = None
        self.lock = threading.Lock()
        self._writer = writer
        self._nonfinite: set[str] = set()

    @property
    def experiment_id(self) -> str | None:
        """The store's id of the experiment, or None as long as the store has given none."""
        return self.experiment.experiment_id

    @property
    def persisted(self) -> bool:
        """Whether the store has everything recorded so far."""
        return self.run_id is not None and not self.spooled and self.lost == 0

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.status is not RunStatus.RUNNING

    async def log_param(self, name: str, value: Any) -> Outcome:
        """Record one parameter; see ``log_params``."""
        return await self.log_params({name: value})

    async def log_params(self, params: Mapping[str, Any]) -> Outcome:
        """Record parameters as text of at most 500 characters, secrets masked.

        Raises StoreRefused for a second value of the same parameter, ContractViolation for a bad name.
        """
        texts = self._writer.masking.texts(params, "parameter")
        return await self._write({"kind": "params", "at": now_ms(), "params": texts})

    async def log_metric(self, name: str, value: Any, step: int = 0) -> Outcome:
        """Record one metric; see ``log_metrics``."""
        return await self.log_metrics({name: value}, step)

    async def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> Outcome:
        """Record metrics at ``step``, now. NaN and infinite values are left out and named in a tag of the run.

        Raises ContractViolation for what is no number.
        """
        finite, refused = split_finite(metrics)
        self._nonfinite.update(refused)
        tags = {"nonfinite_metric": ",".join(sorted(self._nonfinite))} if refused else {}
        entry = {"kind": "metrics", "at": now_ms(), "metrics": finite, "step": int(step), "tags": tags}
        outcome = await self._write(entry)
        return Written(outcome.component, outcome.operation, refused) if isinstance(outcome, Written) else outcome

    async def set_tag(self, name: str, value: Any) -> Outcome:
        """Set one tag."""
        return await self.set_tags({name: value})

    async def set_tags(self, tags: Mapping[str, Any]) -> Outcome:
        """Set tags, as text like parameters; the last value stays."""
        texts = self._writer.masking.texts(tags, "tag")
        return await self._write({"kind": "tags", "at": now_ms(), "tags": texts})

    async def log_artifact(self, local_path: Path | str, artifact_path: str | None = None) -> Outcome:
        """Store a file, or a folder under its own name, below ``artifact_path``. Raises UnreadableFile."""
        source = Path(local_path).resolve()
        if not source.exists():
            raise UnreadableFile(f"{local_path}: no such file or folder to store with the run")
        return await self._write({"kind": "artifact", "at": now_ms(), "artifact_path": artifact_path}, source)

    async def log_model(
        self,
        model: Any,
        artifact_path: str = "model",
        flavor: str = "sklearn",
        signature: Any = None,
        input_example: Any = None,
        registered_model_name: str | None = None,
    ) -> LoggedModel | Spooled | Unavailable:
        """Store a fitted model under the name ``artifact_path``, and register it when a name is given.

        Flavors: sklearn, xgboost, lightgbm, and pyfunc for anything with ``predict(frame)``. Raises
        ContractViolation when the flavor does not take the model, ConfigError when its package is missing.
        """
        entry = {
            "kind": "model",
            "at": now_ms(),
            "id": uuid4().hex,
            "name": checked_model_name(artifact_path),
            "flavor": checked_flavor(flavor),
            "registered_model_name": checked_model_name(registered_model_name) if registered_model_name else None,
        }
        stored: LoggedModel | Spooled | Unavailable = await self._writer.write_model(
            self, model, entry, signature=signature, input_example=input_example
        )
        return stored

    def to_dict(self) -> dict[str, Any]:
        """What is known of the run, as JSON."""
        return {
            "run_id": self.run_id,
            "experiment_id": self.experiment_id,
            "experiment_name": self.experiment.name,
            "run_name": self.run_name,
            "status": self.status.value,
            "persisted": self.persisted,
            "lost_writes": self.lost,
        }

    async def _write(self, entry: Entry, file: Path | None = None) -> Outcome:
        outcome: Outcome = await self._writer.write(self, entry, file)
        return outcome


def now_ms() -> int:
    """Milliseconds since 1970, as the store counts."""
    return time.time_ns() // 1_000_000
