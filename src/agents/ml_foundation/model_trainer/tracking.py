"""Where in MLflow is a training recorded, and how does its run end when the training does not?"""

from __future__ import annotations

import traceback
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.errors import E2IError
from src.mlops.mlflow.values import without_prefix

if TYPE_CHECKING:
    from src.mlops.mlflow.runs import MLflowRun
    from src.mlops.mlflow_connector import MLflowConnector


# What the result says while the run waits for the store.
WAITING = "mlflow: the store is away; the run and its model wait in the spool"


class TrainingBroke(E2IError):
    """A training ended by an error that nobody expected; the text of other libraries' errors may quote a row."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is open from the search for hyperparameters to the end of the training."""

    run: MLflowRun
    context: AbstractAsyncContextManager[MLflowRun]

    async def close(self, error: BaseException | None = None) -> None:
        """End it as FINISHED, with an error as FAILED, after a cancellation as KILLED. Raises StoreRefused."""
        if error is None:
            await self.context.__aexit__(None, None, None)
            return
        told = (
            error if isinstance(error, E2IError) or not isinstance(error, Exception) else TrainingBroke(told_of(error))
        )
        await self.context.__aexit__(type(told), told, told.__traceback__)


async def open_run(connector: MLflowConnector, request: TrainRequest, at: datetime, source: str) -> OpenRun:
    """A run of ``request`` in the experiment ``<prefix>_model_trainer_<id>``; spooled while the store is away.

    Runs that a training of the experiment left open when its process was killed are ended first.
    """
    experiment = await connector.get_or_create_experiment(experiment_name(request))
    await connector.end_abandoned_runs(experiment)
    context = connector.start_run(experiment, run_name=run_name(request, at), tags=_tags(request, source))
    return OpenRun(await context.__aenter__(), context)


def experiment_name(request: TrainRequest) -> str:
    """The experiment of the training and its trials; the store puts its prefix in front."""
    return f"model_trainer_{without_prefix(request.experiment_id, 'e2i')}"


def run_name(request: TrainRequest, at: datetime) -> str:
    """``<algorithm>_<utc>``, as MLflow and ``ml_training_runs`` name a training."""
    return f"{request.candidate.algorithm}_{at:%Y%m%dT%H%M%SZ}"


def told_of(error: BaseException) -> str:
    """What may be kept of an error: its text where it is ours, otherwise its type and place."""
    if isinstance(error, E2IError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the time budget was used up"
    places = traceback.extract_tb(error.__traceback__)
    where = f", at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"unexpected {type(error).__name__}{where}"


def _tags(request: TrainRequest, source: str) -> dict[str, str]:
    data = request.data
    told = {
        "agent": "model_trainer",
        "algorithm": request.candidate.algorithm,
        "problem_type": str(request.problem_type),
        "target": data.target,
        "dataset_id": data.dataset_id,
        "split_id": data.split_id,
        "rows_from": source,
        "resumed_study": request.resume_study,
        "brand": data.brand,
        "region": data.region,
    }
    return {name: value for name, value in told.items() if value is not None}
