"""How do the trials of a study become runs in MLflow, without the study ever waiting for the store's health?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from src.errors import ContractViolation, E2IError, ServiceRefused
from src.mlops.optuna.results import TrialRecord

if TYPE_CHECKING:
    from src.mlops.mlflow.results import Experiment
    from src.mlops.mlflow.runs import MLflowRun
    from src.mlops.mlflow_connector import MLflowConnector

# Intermediate values kept of a trial; each is a call to the store.
MAX_POINTS = 10


class TrialFailed(E2IError):
    """Ends the run of a failed trial as FAILED."""


@dataclass
class TrialRuns:
    """The runs of one search. ``stored``, ``spooled`` and ``lost`` count them; ``refused`` says why the store took
    one not at all, by trial.
    """

    connector: MLflowConnector
    experiment: Experiment
    parent_run_id: str | None
    metric: str
    param_prefix: str
    stored: int = 0
    spooled: int = 0
    lost: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    async def record(self, trial: TrialRecord, tags: dict[str, str]) -> None:
        """One trial as a nested run. An absent store spools it; a refusal, and a name that no store takes, is kept."""
        try:
            run = await self._recorded(trial, tags)
        except (ServiceRefused, ContractViolation) as refusal:
            self.refused[trial.number] = f"{type(refusal).__name__}: {refusal}"
            return
        if run.persisted:
            self.stored += 1
        elif run.spooled:
            self.spooled += 1
        else:
            self.lost += 1

    async def _recorded(self, trial: TrialRecord, tags: dict[str, str]) -> MLflowRun:
        run: MLflowRun | None = None
        try:
            async with self.connector.start_run(
                self.experiment,
                run_name=f"trial_{trial.number:04d}",
                tags={"trial_number": trial.number, "state": trial.state, **tags},
                nested=True,
                parent_run_id=self.parent_run_id,
            ) as run:
                await self._write(run, trial)
                if trial.state == "FAIL":
                    raise TrialFailed(trial.error or "no reason is known")
        except TrialFailed:
            pass  # the run has ended as FAILED and holds the reason
        assert run is not None
        return run

    async def _write(self, run: MLflowRun, trial: TrialRecord) -> None:
        if trial.params:
            await run.log_params({f"{self.param_prefix}{name}": value for name, value in trial.params.items()})
        for step, value in _thinned(trial.intermediate_values).items():
            await run.log_metrics({self.metric: value}, step)
        known = {"value": trial.value, "duration_seconds": trial.duration_s}
        await run.log_metrics({name: value for name, value in known.items() if value is not None})


@asynccontextmanager
async def trial_runs(
    connector: MLflowConnector,
    experiment_name: str,
    study_name: str,
    *,
    parent_run_id: str | None,
    metric: str,
    param_prefix: str,
) -> AsyncIterator[TrialRuns]:
    """Where trials are recorded: below ``parent_run_id``, otherwise below a run of the study's own.

    That run lies below the one around the caller, where there is one, and ends with the body.
    """
    experiment = await connector.get_or_create_experiment(experiment_name)
    runs = TrialRuns(connector, experiment, parent_run_id, metric, param_prefix)
    if parent_run_id is not None:
        yield runs
        return
    name, tags = f"hpo_{study_name}", {"study_name": study_name}
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(connector.start_run(experiment, run_name=name, tags=tags, nested=True))
        except ContractViolation:  # no run is around the caller
            await stack.enter_async_context(connector.start_run(experiment, run_name=name, tags=tags))
        yield runs


def _thinned(values: Any) -> dict[int, float]:
    """At most MAX_POINTS of the values, evenly spread, the first and the last among them."""
    steps = sorted(values)
    if len(steps) <= MAX_POINTS:
        return {step: values[step] for step in steps}
    last = len(steps) - 1
    return {steps[at]: values[steps[at]] for at in (round(i * last / (MAX_POINTS - 1)) for i in range(MAX_POINTS))}
