"""Where are experiments, runs and models kept? The one door to MLflow, honest about what it could not store."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from src.errors import ContractViolation, E2IError, ServiceOutage
from src.mlops.mlflow import reading, registry
from src.mlops.mlflow.abandoned import OWNER, end_abandoned
from src.mlops.mlflow.autolog import AutoLogger
from src.mlops.mlflow.calls import StoreCalls, completed
from src.mlops.mlflow.configuration import Framework, load_mlflow_config
from src.mlops.mlflow.failures import NotConfigured, StoreRefused
from src.mlops.mlflow.journal import Entry, Spool
from src.mlops.mlflow.models import checked_flavor, load_folder
from src.mlops.mlflow.recording import Recorder
from src.mlops.mlflow.replay import pending_entries, replay
from src.mlops.mlflow.results import (
    Evidence,
    Experiment,
    Health,
    LoggedModel,
    ModelStage,
    ModelVersion,
    ReplayReport,
    RunInfo,
    RunStatus,
    StageTransition,
    Waiver,
    Written,
)
from src.mlops.mlflow.runs import MLflowRun, Outcome, now_ms
from src.mlops.mlflow.store import ServerCommand, resolve_address, server_command
from src.mlops.mlflow.values import Masking, checked_model_name, prefixed, without_prefix
from src.mlops.mlflow.writing import DESCRIPTION, ensure_experiment
from src.mlops.processes import this_process
from src.resilience.circuit_breaker import CircuitBreaker, CircuitState
from src.resilience.outcomes import Spooled, Unavailable

__all__ = [
    "AutoLogger",
    "Evidence",
    "Experiment",
    "Health",
    "LoggedModel",
    "MLflowConnector",
    "MLflowRun",
    "ModelStage",
    "ModelVersion",
    "ReplayReport",
    "RunInfo",
    "RunStatus",
    "StageTransition",
    "StoreRefused",
    "Waiver",
    "Written",
    "get_mlflow_connector",
    "reset_mlflow_connector",
]

# The run around the caller, per task: what "nested" is nested in. Nothing is ever logged by way of it.
_around: ContextVar[MLflowRun | None] = ContextVar("e2i_mlflow_run", default=None)


class MLflowConnector:
    """Experiments, runs, artifacts and registered models in one MLflow store.

    Arguments win over the configuration file, the file over the defaults. Nothing is opened before the first
    call. Reads return ``Unavailable`` while the store is away; writes of runs go to a spool and ``replay_spool``
    brings them in later with their original times. What the store refuses raises StoreRefused.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        artifact_uri: str | None = None,
        experiment_prefix: str | None = None,
        config_path: Path | str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = load_mlflow_config(config_path).with_arguments(
            tracking_uri=tracking_uri, artifact_uri=artifact_uri, experiment_prefix=experiment_prefix
        )
        tracking = self.config.tracking
        self._address = (
            resolve_address(tracking.uri, tracking.artifact_location, timeout_s=tracking.request_timeout)
            if tracking.uri
            else None
        )
        self._now = now
        self._calls = StoreCalls(self.config, self._address, clock=clock)
        address = self._address.shown if self._address else ""
        self._spool = Spool(self.config.spool.folder, self.config.spool.max_bytes, address=address)
        self._masking = Masking(self.config.logging.mask_params)
        self._recorder = Recorder(self._calls, self._spool, self._masking, timeout_s=tracking.request_timeout)
        self._runs: weakref.WeakValueDictionary[str, MLflowRun] = weakref.WeakValueDictionary()
        self._experiments: dict[str, Experiment] = {}
        self._promoting = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether a store is configured; ``health_check`` says whether it answers."""
        return self._address is not None

    @property
    def tracking_uri(self) -> str:
        """The store's address as MLflow takes it, credentials included; empty when none is configured."""
        return self._address.uri if self._address else ""

    @property
    def experiment_prefix(self) -> str:
        """What experiment names begin with, without the underscore."""
        return self.config.experiments.prefix.rstrip("_")

    @property
    def circuit_breaker(self) -> CircuitBreaker:
        """The breaker every call passes."""
        return self._calls.breaker

    @property
    def autolog_frameworks(self) -> tuple[Framework, ...]:
        """Frameworks the configuration wants autologged."""
        return self.config.autolog.frameworks

    @property
    def request_timeout_s(self) -> int:
        """Seconds one request may take."""
        return self.config.tracking.request_timeout

    def model_name(self, experiment: str, algorithm: str) -> str:
        """The registered model of an experiment's algorithm."""
        pattern = self.config.registry.naming_pattern
        return checked_model_name(
            pattern.format(experiment=without_prefix(experiment, self.experiment_prefix), algorithm=algorithm)
        )

    def server_command(self, *, host: str = "127.0.0.1", port: int = 5000, ui: bool = True) -> ServerCommand:
        """The ``mlflow ui`` or ``mlflow server`` command for this store. Raises ConfigError where there is none."""
        if self._address is None:
            raise ContractViolation("MLflow is not configured: tracking.uri is empty")
        return server_command(self._address, host=host, port=port, ui=ui)

    async def get_or_create_experiment(
        self, name: str, tags: Mapping[str, Any] | None = None, artifact_location: str | None = None
    ) -> Experiment:
        """The experiment ``<prefix>_<name>``, created once however many ask at the same time.

        While the store is away the experiment comes without an id and its creation waits in the spool; runs may
        be started in it. Raises StoreRefused for a deleted experiment.
        """
        full = prefixed(name, self.experiment_prefix)
        if (known := self._experiments.get(full)) is not None:
            return known
        given = {**self.config.experiments.default_tags, **self._masking.texts(tags or {}, "tag")}
        location = artifact_location or self._location(full)
        try:
            stored = await self._calls.write(lambda client, _: ensure_experiment(client, full, given, location))
        except NotConfigured:
            return Experiment(full, None, location, given)
        except ServiceOutage:
            await self._keep_experiment(full, given, location)
            return Experiment(full, None, location, given)
        found = reading.experiment(stored)
        self._experiments[full] = found
        return found

    async def list_experiments(self) -> list[Experiment] | Unavailable:
        """Active experiments of this prefix, by name."""
        prefix = self.experiment_prefix
        return await self._calls.read_or_unavailable(lambda client: reading.read_experiments(client, prefix))

    @asynccontextmanager
    async def start_run(
        self,
        experiment_id: str | Experiment | None = None,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        nested: bool = False,
        parent_run_id: str | None = None,
    ) -> AsyncIterator[MLflowRun]:
        """A run that ends FINISHED, FAILED when the body raises, KILLED when it is cancelled.

        The body's exception leaves unchanged and is no outage. ``nested`` puts the run below the one around it in
        this task, or below ``parent_run_id``. Without an experiment it goes to ``<prefix>_default``.
        """
        experiment = await self._experiment(experiment_id)
        run = MLflowRun(self._recorder, local_id=uuid4().hex, experiment=experiment, run_name=run_name)
        around = _around.get()
        start, parent = self._start(run, tags, description, nested, parent_run_id, around)
        await self._opened(run, start, parent)
        self._runs[run.local_id] = run
        _around.set(run)
        try:
            yield run
        except BaseException as error:
            await self._close_after(error, run)
            raise
        else:
            await self._recorder.close(run, RunStatus.FINISHED, {})
            await self._caught_up(run)
        finally:
            _around.set(around)

    async def end_abandoned_runs(self, experiment: Experiment) -> list[str] | Unavailable:
        """End as KILLED the runs of an experiment that are called running, and whose process is certainly gone.

        Their ids; what still waits in the spool for the store is left to ``replay_spool``.
        """
        experiment_id = experiment.experiment_id
        if experiment_id is None:
            return []
        return await self._calls.read_or_unavailable(
            lambda client: end_abandoned(client, experiment_id, waits=lambda key: self._spool.file(key).exists())
        )

    async def get_run(self, run_id: str) -> RunInfo | Unavailable:
        """A run as the store has it. Raises RunNotFound."""
        return await self._calls.read_or_unavailable(lambda client: reading.read_run(client, run_id))

    async def search_runs(
        self,
        experiment_ids: Sequence[str] | None = None,
        filter_string: str = "",
        order_by: Sequence[str] = (),
        max_results: int = 100,
    ) -> list[RunInfo] | Unavailable:
        """Runs in MLflow's filter and order language; without ids, of all experiments of this prefix."""
        prefix = self.experiment_prefix

        def search(client: Any) -> list[RunInfo]:
            ids = experiment_ids
            if ids is None:
                ids = [e.experiment_id for e in reading.read_experiments(client, prefix) if e.experiment_id]
            return reading.read_runs(client, ids, filter_string, order_by, max_results)

        return await self._calls.read_or_unavailable(search)

    async def download_artifact(self, run_id: str, artifact_path: str, destination: Path) -> Path | Unavailable:
        """Copy a stored file or folder below ``destination``, a folder that is created; returns where it lies."""

        def download(client: Any) -> Path:
            destination.mkdir(parents=True, exist_ok=True)
            return Path(client.download_artifacts(run_id, artifact_path, str(destination)))

        return await self._calls.read_or_unavailable(download)

    async def log_param(self, name: str, value: Any, *, run_id: str) -> Outcome:
        """``MLflowRun.log_param`` for the run of that id."""
        return await (await self._named(run_id)).log_param(name, value)

    async def log_params(self, params: Mapping[str, Any], *, run_id: str) -> Outcome:
        """``MLflowRun.log_params`` for the run of that id."""
        return await (await self._named(run_id)).log_params(params)

    async def log_metric(self, name: str, value: Any, step: int = 0, *, run_id: str) -> Outcome:
        """``MLflowRun.log_metric`` for the run of that id."""
        return await (await self._named(run_id)).log_metric(name, value, step)

    async def log_metrics(self, metrics: Mapping[str, Any], step: int = 0, *, run_id: str) -> Outcome:
        """``MLflowRun.log_metrics`` for the run of that id."""
        return await (await self._named(run_id)).log_metrics(metrics, step)

    async def set_tags(self, tags: Mapping[str, Any], *, run_id: str) -> Outcome:
        """``MLflowRun.set_tags`` for the run of that id."""
        return await (await self._named(run_id)).set_tags(tags)

    async def log_artifact(self, local_path: Path | str, artifact_path: str | None = None, *, run_id: str) -> Outcome:
        """``MLflowRun.log_artifact`` for the run of that id."""
        return await (await self._named(run_id)).log_artifact(local_path, artifact_path)

    async def log_model(self, model: Any, *, run_id: str, **options: Any) -> LoggedModel | Spooled | Unavailable:
        """``MLflowRun.log_model`` for the run of that id."""
        return await (await self._named(run_id)).log_model(model, **options)

    async def register_model(
        self,
        run_id: str,
        model_name: str,
        model_path: str = "model",
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
    ) -> ModelVersion | Unavailable:
        """A new version, in development, of the model that ``run_id`` holds at ``model_path``. Raises ModelNotFound."""
        name, entry_id = checked_model_name(model_name), uuid4().hex
        given = self._masking.texts(tags or {}, "tag")
        return await self._calls.read_or_unavailable(
            lambda client: registry.register(
                client, run_id, name, model_path, tags=given, description=description, entry_id=entry_id
            )
        )

    async def transition_model_stage(
        self,
        name: str,
        version: int | str,
        stage: ModelStage | str,
        archive_existing: bool = True,
        approval: str | None = None,
        *,
        evidence: Evidence | None = None,
        waiver: Waiver | None = None,
        approval_reason: str | None = None,
    ) -> StageTransition:
        """Move a version if the rules of the configuration allow it; false, with every reason, if they do not.

        ``approval`` is the name of the person who approves production, ``approval_reason`` why. ``evidence`` adds
        what the run's metrics do not say. ``waiver`` sets rules aside. All are kept on the version. Raises
        ModelNotFound.
        """
        wish = registry.Promotion(
            checked_model_name(name),
            int(version),
            ModelStage(stage),
            archive_existing,
            approval,
            evidence or Evidence(),
            waiver,
            self._now(),
            None if approval_reason is None else self._masking.scrub(approval_reason),
        )
        rules = self.config.registry.stages

        def move(client: Any, _: bool) -> StageTransition:
            with self._promoting:
                return registry.transition(client, wish, rules)

        try:
            return await self._calls.write(move)
        except ServiceOutage as outage:
            return StageTransition(False, None, wish.to, f"{outage}; repeat it when the store is back")

    async def archive_expired(self, name: str) -> list[StageTransition] | Unavailable:
        """Archive the versions of a model that have been deprecated for ``deprecated.archive_after_days``."""
        rules, now = self.config.registry.stages, self._now()
        due = await self._calls.read_or_unavailable(
            lambda client: registry.expired(client, checked_model_name(name), rules, now)
        )
        if isinstance(due, Unavailable):
            return due
        return [await self.transition_model_stage(v.name, v.version, ModelStage.ARCHIVED) for v in due]

    async def get_latest_model_version(
        self, name: str, stage: ModelStage | str | None = None
    ) -> ModelVersion | Unavailable | None:
        """The version in ``stage``, or the newest; None when there is none."""
        wanted = None if stage is None else ModelStage(stage)
        checked = checked_model_name(name)
        return await self._calls.read_or_unavailable(lambda client: registry.latest_version(client, checked, wanted))

    async def get_model_versions(self, name: str) -> list[ModelVersion] | Unavailable:
        """All versions of a model, the newest first; empty for an unknown name."""
        checked = checked_model_name(name)
        return await self._calls.read_or_unavailable(lambda client: registry.versions(client, checked))

    async def download_model(self, uri: str, destination: Path) -> Path | Unavailable:
        """Copy the files of the model at ``uri`` (see ``load_model``) into the new folder ``destination``.

        Raises ModelNotFound.
        """

        def download(client: Any) -> Path:
            shutil.copytree(_downloaded(client, uri), destination)
            return destination

        return await self._calls.read_or_unavailable(download)

    async def load_model(self, uri: str, flavor: str | None = None) -> Any:
        """The model at ``models:/name/3``, ``models:/name@production``, ``models:/<model id>`` or
        ``runs:/<run id>/<name>``, in its own flavor unless another is named; ``Unavailable`` while the store is away.

        Loading runs code of the model: load what you trust. Raises ModelNotFound.
        """
        wanted = None if flavor is None else checked_flavor(flavor)

        def load(client: Any) -> Any:
            return load_folder(_downloaded(client, uri), wanted)

        return await self._calls.read_or_unavailable(load)

    async def health_check(self) -> Health:
        """Whether the store answers one small question now."""
        started = time.perf_counter()
        try:
            await self._calls.read(lambda client: client.search_experiments(max_results=1))
        except ServiceOutage as outage:
            return Health(False, None, self.circuit_breaker.state.value, str(outage))
        latency = (time.perf_counter() - started) * 1000
        return Health(True, latency, self.circuit_breaker.state.value)

    async def replay_spool(self) -> ReplayReport:
        """Bring everything that waits in the spool into the store, each entry once, with its original times.

        May be killed and repeated, and called from several processes. Raises SpoolUnusable.
        """
        return await self._replay(wait=True)

    async def get_metrics(self) -> dict[str, Any]:
        """Counts of this connector's writes, what waits in the spool, and the breaker, as JSON."""
        return {
            "enabled": self.enabled,
            "tracking_uri": self._address.shown if self._address else "",
            "writes": self._recorder.counts,
            "spool": await asyncio.to_thread(self._spool_state),
            "circuit_breaker": self.circuit_breaker.get_status(),
        }

    def _spool_state(self) -> dict[str, Any]:
        return {
            "path": str(self._spool.folder),
            "pending": pending_entries(self._spool),
            "bytes": self._spool.size_bytes(),
            "journals_of_other_stores": self._spool.foreign(),
        }

    async def _experiment(self, given: str | Experiment | None) -> Experiment:
        if given is None:
            return await self.get_or_create_experiment("default")
        if isinstance(given, str):
            return Experiment("", given)
        return self._experiments.get(given.name, given)

    def _start(
        self,
        run: MLflowRun,
        tags: Mapping[str, Any] | None,
        description: str | None,
        nested: bool,
        parent_run_id: str | None,
        around: MLflowRun | None,
    ) -> tuple[Entry, MLflowRun | None]:
        parent = around if nested and parent_run_id is None else None
        if nested and parent is None and parent_run_id is None:
            raise ContractViolation("nested=True needs a run around it, or parent_run_id")
        texts = {**self._masking.texts(tags or {}, "tag"), OWNER: this_process()}
        if description is not None:
            texts[DESCRIPTION] = self._masking.scrub(description)
        above = {"run_id": parent_run_id} if parent is None else _identity(parent)
        start = {
            "kind": "start",
            "at": run.started_at,
            **_identity(run),
            "run_name": run.run_name,
            "tags": texts,
            "parent": above if parent is not None or parent_run_id else None,
        }
        del start["run_id"]
        return start, parent

    async def _opened(self, run: MLflowRun, start: Entry, parent: MLflowRun | None) -> None:
        """Open the run; if the caller is cancelled meanwhile, no run is left open."""
        opening = asyncio.ensure_future(self._recorder.open(run, start, parent))
        try:
            await completed(opening)
        except asyncio.CancelledError:
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                await self._recorder.close(run, RunStatus.KILLED, {})
            raise

    async def _close_after(self, error: BaseException, run: MLflowRun) -> None:
        """End the run as the body's exception says; trouble in doing so never takes that exception's place."""
        killed = isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)
        tags = {"error_type": type(error).__name__, "error_message": self._masking.message(error)}
        try:
            await self._recorder.close(run, RunStatus.KILLED if killed else RunStatus.FAILED, {} if killed else tags)
            if not killed:
                await self._caught_up(run)
        except E2IError as trouble:
            error.add_note(f"its MLflow run could not be ended: {trouble}")

    async def _caught_up(self, run: MLflowRun) -> None:
        """A short outage heals itself at the end of the run; a long one waits for ``replay_spool``."""
        if run.spooled and self.circuit_breaker.state is CircuitState.CLOSED:
            await self._replay(wait=False)

    async def _replay(self, *, wait: bool) -> ReplayReport:
        report = await replay(self._spool, self._calls, wait=wait)
        for local_id, run_id in report.run_ids.items():
            if (run := self._runs.get(local_id)) is not None:
                await asyncio.to_thread(self._recorder.adopt, run, run_id)
        return report

    async def _named(self, run_id: str) -> MLflowRun:
        live = next((run for run in list(self._runs.values()) if run.run_id == run_id and not run.ended), None)
        if live is not None:
            return live
        key = "run-" + hashlib.sha256(run_id.encode()).hexdigest()[:32]
        run = MLflowRun(self._recorder, local_id=key, experiment=Experiment("", None), run_id=run_id, attached=False)
        run.spooled = await asyncio.to_thread(self._spool.file(key).exists)
        return run

    async def _keep_experiment(self, name: str, tags: Mapping[str, str], location: str | None) -> None:
        key = "experiment-" + hashlib.sha256(name.encode()).hexdigest()[:16]
        entry = {"kind": "experiment", "at": now_ms(), "name": name, "tags": dict(tags), "artifact_location": location}
        if not await asyncio.to_thread(self._spool.file(key).exists):
            await completed(asyncio.to_thread(self._spool.append, key, entry))

    def _location(self, experiment: str) -> str | None:
        root = self._address.artifact_root if self._address else None
        return None if root is None else f"{root.rstrip('/')}/{experiment}"


def _identity(run: MLflowRun) -> Entry:
    """What finds a run and its experiment in the store, now or later."""
    experiment = run.experiment
    wanted = {
        "name": experiment.name,
        "tags": dict(experiment.tags),
        "artifact_location": experiment.artifact_location,
    }
    return {
        "run_id": run.run_id,
        "local_id": run.local_id,
        "experiment_id": experiment.experiment_id,
        "experiment": wanted,
    }


def _downloaded(client: Any, uri: str) -> str:
    """Where the files of the model at ``uri`` lie: in place, or copied to a folder kept until the process ends.

    Raises ModelNotFound.
    """
    import mlflow.artifacts

    place = registry.location(client, uri)
    if "://" not in place.removeprefix("file://") and not place.startswith("mlflow-artifacts:"):
        return place.removeprefix("file://")
    folder = tempfile.mkdtemp(prefix="e2i-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copied: str = mlflow.artifacts.download_artifacts(place, dst_path=folder, tracking_uri=client.tracking_uri)
    return copied


_creating = threading.Lock()
_connector: MLflowConnector | None = None


def get_mlflow_connector() -> MLflowConnector:
    """The connector of this process, made from config/mlflow/mlflow.yaml on first use. Raises ConfigError."""
    global _connector
    with _creating:
        if _connector is None:
            _connector = MLflowConnector()
        return _connector


def reset_mlflow_connector() -> None:
    """Forget the process's connector; the next ``get_mlflow_connector`` reads the configuration again."""
    global _connector
    with _creating:
        _connector = None
