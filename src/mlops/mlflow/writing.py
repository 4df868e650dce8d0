"""How does one write reach the store, now or in a later replay? Every write may be repeated without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from src.mlops.mlflow.failures import StoreRefused, translated
from src.mlops.mlflow.journal import Entry
from src.mlops.mlflow.models import push_model
from src.mlops.mlflow.registry import register
from src.mlops.mlflow.results import LoggedModel
from src.mlops.mlflow.store import Client

# Set with the creation of a run, so that a creation whose answer was lost is found instead of repeated.
LOCAL_ID = "e2i.local_id"
PARENT = "mlflow.parentRunId"
DESCRIPTION = "mlflow.note.content"

# What the store takes in one request.
_PARAMS, _TAGS, _METRICS = 100, 100, 1000

Item = TypeVar("Item")


def ensure_experiment(client: Client, name: str, tags: Mapping[str, str], artifact_location: str | None) -> Any:
    """The experiment ``name``, created if nobody has yet. Raises StoreRefused for a deleted one."""
    found = client.get_experiment_by_name(name) or _created_experiment(client, name, tags, artifact_location)
    if found.lifecycle_stage != "active":
        raise StoreRefused(
            f"experiment '{name}' was deleted; restore it (mlflow experiments restore -x {found.experiment_id}) "
            "or choose another name",
            "INVALID_STATE",
        )
    return found


def create_run(client: Client, start: Entry, parent_run_id: str | None, *, again: bool) -> Any:
    """The run an entry of kind ``start`` describes; ``again``: the one made before from it, if there is one."""
    experiment_id = start["experiment_id"]
    if experiment_id is None:
        wanted = start["experiment"]
        experiment_id = ensure_experiment(
            client, wanted["name"], wanted["tags"], wanted["artifact_location"]
        ).experiment_id
    if again and (made := find_run(client, experiment_id, start["local_id"])) is not None:
        return made
    tags = {**start["tags"], LOCAL_ID: start["local_id"]}
    if parent_run_id is not None:
        tags[PARENT] = parent_run_id
    return client.create_run(experiment_id, start_time=start["at"], tags=tags, run_name=start["run_name"])


def find_run(client: Client, experiment_id: str, local_id: str) -> Any | None:
    """The run created for ``local_id``, if there is one."""
    found = client.search_runs([experiment_id], filter_string=f"tags.`{LOCAL_ID}` = '{local_id}'", max_results=1)
    return found[0] if found else None


def write_entry(client: Client, run_id: str, entry: Entry, file: Path | None, *, again: bool) -> Any:
    """Write one entry to the store; ``file`` is the file or folder it carries, ``again`` says that it may be there.

    Returns a LoggedModel for entries of kind ``model``. Raises StoreRefused.
    """
    kind = entry["kind"]
    if kind == "params":
        _write_params(client, run_id, entry["params"])
    elif kind == "metrics":
        _write_metrics(client, run_id, entry)
    elif kind == "tags":
        _write_tags(client, run_id, entry["tags"])
    elif kind == "artifact":
        _write_artifact(client, run_id, _present(file), entry["artifact_path"])
    elif kind == "model":
        return _write_model(client, run_id, _present(file), entry, again=again)
    elif kind == "end":
        _write_tags(client, run_id, entry["tags"])
        client.set_terminated(run_id, status=entry["status"], end_time=entry["at"])
    return None


def _created_experiment(client: Client, name: str, tags: Mapping[str, str], artifact_location: str | None) -> Any:
    try:
        with translated():
            return client.get_experiment(
                client.create_experiment(name, artifact_location=artifact_location, tags=dict(tags))
            )
    except StoreRefused as refusal:
        # Somebody else was faster.
        if refusal.exists and (found := client.get_experiment_by_name(name)) is not None:
            return found
        raise


def _write_params(client: Client, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    for part in _parts([Param(name, value) for name, value in params.items()], _PARAMS):
        client.log_batch(run_id, params=part)


def _write_metrics(client: Client, run_id: str, entry: Entry) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(name, value, entry["at"], entry["step"]) for name, value in entry["metrics"].items()]
    for part in _parts(metrics, _METRICS):
        client.log_batch(run_id, metrics=part)
    if entry["tags"]:
        _write_tags(client, run_id, entry["tags"])


def _write_tags(client: Client, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    for part in _parts([RunTag(name, value) for name, value in tags.items()], _TAGS):
        client.log_batch(run_id, tags=part)


def _write_artifact(client: Client, run_id: str, file: Path, artifact_path: str | None) -> None:
    if file.is_dir():
        client.log_artifacts(run_id, str(file), "/".join(filter(None, (artifact_path, file.name))))
    else:
        client.log_artifact(run_id, str(file), artifact_path)


def _write_model(client: Client, run_id: str, folder: Path, entry: Entry, *, again: bool) -> LoggedModel:
    model = push_model(client, run_id, folder, entry, again=again)
    wanted, version = entry["registered_model_name"], None
    if wanted is not None:
        version = register(client, run_id, wanted, entry["name"], tags={}, description=None, entry_id=entry["id"])
    return LoggedModel(entry["name"], model.model_id, run_id, f"models:/{model.model_id}", entry["flavor"], version)


def _present(file: Path | None) -> Path:
    if file is None or not file.exists():
        raise StoreRefused(f"the file to store is gone: {file}", "INVALID_PARAMETER_VALUE")
    return file


def _parts(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
