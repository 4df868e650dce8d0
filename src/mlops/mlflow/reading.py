"""What does the store say about experiments and runs? MLflow's objects as the connector's results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from src.errors import RunNotFound
from src.mlops.mlflow.failures import StoreRefused, translated
from src.mlops.mlflow.results import Experiment, RunInfo, RunStatus
from src.mlops.mlflow.store import Client

_PAGE = 1000


def experiment(stored: Any) -> Experiment:
    """An experiment as a result."""
    return Experiment(stored.name, stored.experiment_id, stored.artifact_location, dict(stored.tags))


def run_info(stored: Any) -> RunInfo:
    """A run as a result."""
    info, data = stored.info, stored.data
    return RunInfo(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        run_name=info.run_name,
        status=RunStatus(info.status.lower()),
        start_time=_instant(info.start_time),
        end_time=None if info.end_time is None else _instant(info.end_time),
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        artifact_uri=info.artifact_uri,
    )


def read_run(client: Client, run_id: str) -> RunInfo:
    """One run. Raises RunNotFound."""
    try:
        with translated():
            return run_info(client.get_run(run_id))
    except StoreRefused as refusal:
        if refusal.absent or refusal.code == "INVALID_PARAMETER_VALUE":
            raise RunNotFound(f"MLflow has no run '{run_id}'") from refusal
        raise


def read_experiments(client: Client, prefix: str) -> list[Experiment]:
    """Active experiments whose names carry the prefix, by name."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        found += page
        if not (token := page.token):
            break
    lead = prefix.rstrip("_") + "_"
    return sorted((experiment(e) for e in found if e.name.startswith(lead)), key=lambda e: e.name)


def read_runs(
    client: Client, experiment_ids: Sequence[str], filter_string: str, order_by: Sequence[str], max_results: int
) -> list[RunInfo]:
    """Runs of the experiments in MLflow's filter and order language, at most ``max_results``."""
    found: list[Any] = []
    token = None
    while experiment_ids and len(found) < max_results:
        page = client.search_runs(
            list(experiment_ids),
            filter_string=filter_string,
            max_results=min(_PAGE, max_results - len(found)),
            order_by=list(order_by),
            page_token=token,
        )
        found += page
        if not (token := page.token):
            break
    return [run_info(stored) for stored in found]


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
