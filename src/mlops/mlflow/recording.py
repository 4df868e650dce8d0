"""Where does a run's next entry go: to the store, or into the spool until the store is back?"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.errors import ServiceOutage, SpoolUnusable
from src.mlops.mlflow.calls import COMPONENT, StoreCalls, completed, unavailable
from src.mlops.mlflow.failures import NotConfigured
from src.mlops.mlflow.journal import Entry, Spool
from src.mlops.mlflow.models import save_model
from src.mlops.mlflow.results import RunStatus, Written
from src.mlops.mlflow.runs import MLflowRun, now_ms
from src.mlops.mlflow.store import load_library
from src.mlops.mlflow.values import Masking
from src.mlops.mlflow.writing import create_run, write_entry
from src.resilience.outcomes import Spooled, Unavailable


class Recorder:
    """Writes entries of runs. Once an entry of a run is in the spool, the later ones follow it there, in order,
    until a replay has delivered them all.
    """

    def __init__(self, calls: StoreCalls, spool: Spool, masking: Masking, *, timeout_s: int) -> None:
        self.masking = masking
        self._calls = calls
        self._spool = spool
        self._timeout_s = timeout_s
        self._counts = {"written": 0, "spooled": 0, "refused_by_spool": 0}

    @property
    def counts(self) -> dict[str, int]:
        """Entries by where they went."""
        return dict(self._counts)

    async def open(self, run: MLflowRun, start: Entry, parent: MLflowRun | None) -> None:
        """Create the run in the store, or begin its journal. Raises StoreRefused."""
        parent_id = start["parent"]["run_id"] if start["parent"] else None
        waits = parent is not None and parent_id is None
        if waits:
            await self._keep(run, start, None)
            return
        try:
            created = await self._calls.write(lambda client, again: create_run(client, start, parent_id, again=again))
        except NotConfigured:
            return
        except ServiceOutage:
            await self._keep(run, start, None)
            return
        run.run_id, run.run_name = created.info.run_id, created.info.run_name
        run.experiment = replace(run.experiment, experiment_id=created.info.experiment_id)

    async def write(self, run: MLflowRun, entry: Entry, file: Path | None = None) -> Any:
        """Write one entry; a cancellation meanwhile is delivered when it is known where the entry is."""
        return await completed(self._write(run, entry, file))

    async def write_model(self, run: MLflowRun, model: Any, entry: Entry, **saving: Any) -> Any:
        """Save ``model`` into a folder and write it."""
        with tempfile.TemporaryDirectory(prefix="e2i-model-") as folder:
            saved = Path(folder) / "model"
            await completed(asyncio.to_thread(self._save, model, entry, saved, saving))
            return await self.write(run, entry, saved)

    async def close(self, run: MLflowRun, status: RunStatus, tags: dict[str, str]) -> None:
        """End the run. It is over here also when the store says no, which is raised afterwards."""
        run.status = status
        if run.lost:
            tags = {**tags, "incomplete": f"{run.lost} writes were lost: the spool was full or unusable"}
        try:
            await self.write(run, {"kind": "end", "at": now_ms(), "status": status.stored, "tags": tags})
        finally:
            await asyncio.to_thread(self._let_go, run)

    def adopt(self, run: MLflowRun, run_id: str) -> None:
        """A replay delivered what waited for ``run``."""
        with run.lock:
            run.run_id = run_id
            run.spooled = run.owner is not None and self._spool.rejoin(run.local_id) is None

    async def _write(self, run: MLflowRun, entry: Entry, file: Path | None) -> Any:
        if run.spooled and not await asyncio.to_thread(self._rejoined, run):
            return await self._keep(run, entry, file)
        run_id = run.run_id
        if run_id is None:
            return unavailable(NotConfigured("MLflow is not configured: tracking.uri is empty"))
        try:
            value = await self._calls.write(lambda client, again: write_entry(client, run_id, entry, file, again=again))
        except ServiceOutage:
            return await self._keep(run, entry, file)
        self._counts["written"] += 1
        return Written(COMPONENT, entry["kind"]) if value is None else value

    async def _keep(self, run: MLflowRun, entry: Entry, file: Path | None) -> Spooled | Unavailable:
        try:
            await asyncio.to_thread(self._append, run, entry, file)
        except SpoolUnusable as error:
            run.lost += 1
            self._counts["refused_by_spool"] += 1
            return Unavailable(COMPONENT, str(error))
        self._counts["spooled"] += 1
        return Spooled(COMPONENT, str(self._spool.file(run.local_id)), entry["kind"])

    def _append(self, run: MLflowRun, entry: Entry, file: Path | None) -> None:
        with run.lock:
            if run.owner is None and run.attached:
                run.owner = self._spool.own(run.local_id)
            known = {} if run.run_id is None else {"run_id": run.run_id}
            self._spool.append(run.local_id, {**entry, **known}, copy=file)
            run.spooled = True

    def _rejoined(self, run: MLflowRun) -> bool:
        with run.lock:
            run_id = self._spool.rejoin(run.local_id)
            if run_id is not None:
                run.run_id, run.spooled = run_id, False
            return run_id is not None

    def _let_go(self, run: MLflowRun) -> None:
        if run.owner is None:
            return
        run.owner.release()
        run.owner = None
        if not run.spooled:
            self._spool.forget(run.local_id)

    def _save(self, model: Any, entry: Entry, folder: Path, saving: dict[str, Any]) -> None:
        load_library(self._timeout_s)
        save_model(model, entry["flavor"], folder, **saving)
