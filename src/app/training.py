"""How does raw data become a registered, explained model? Five agents in one trace, stopped by the first refusal."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from src.agents.ml_foundation.data_preparer.layers import ABOUT_FEATURE, ABOUT_VIEW
from src.agents.ml_foundation.data_preparer.request import request_from
from src.agents.ml_foundation.data_preparer.source import filters_of, refuse_identifying
from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, AnalyzeResult
from src.agents.ml_foundation.model_deployer.result import Action, Approval, DeployRequest, DeployResult
from src.agents.ml_foundation.model_selector.registry import PROFILES
from src.agents.ml_foundation.model_selector.result import SelectRequest, SelectResult
from src.agents.ml_foundation.model_trainer.result import TrainRequest, TrainResult
from src.app.agent_runs import Agent, AgentResult, run_deps, run_recorded
from src.app.features import feature_client
from src.app.preparation import Prepared, prepare_on
from src.app.staging import stage
from src.app.tracing import traced_database
from src.app.training_checks import require_target
from src.app.training_order import Columns, TrainingOrder, columns_of, declared_contract
from src.app.training_rows import JoinedDatasets
from src.contracts.inference import INFERRED, infer_contract
from src.domain.modelling import TrainingData
from src.errors import ContractViolation, DataUnavailable, E2IError
from src.mlops.preparation.row_identity import OF_VIEW
from src.mlops.preparation.splitting import SPLIT_COLUMN
from src.mlops.tracing.ids import uuid7
from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.records import DatasetRecord

if TYPE_CHECKING:
    from src.agents.runtime import Deps
    from src.app.training_agents import TrainingAgents
    from src.feature_store.feast_client import FeastClient

WORKSTREAM = "WS1"
ACTIVITY = "model_training"
STAGED = "staging"
# Whatever algorithm is chosen, its model can have a name.
LONGEST_ALGORITHM = max(PROFILES, key=len)
Step = Callable[[str], None]
Asked = TypeVar("Asked")
Found = TypeVar("Found", bound=AgentResult)


@dataclass(frozen=True, slots=True)
class Trained:
    """What was asked, and how far it came. ``problems`` say why it is no success; with none, it is one.

    A step that was not reached is None. ``card``: the page of the model.
    """

    order: TrainingOrder
    columns: Columns
    dataset: DatasetRecord
    experiment: str
    trace_id: str
    started_at: datetime
    prepared: Prepared
    data: TrainingData | None = None
    selected: SelectResult | None = None
    trained: TrainResult | None = None
    analyzed: AnalyzeResult | None = None
    registered: DeployResult | None = None
    promoted: DeployResult | None = None
    card: Path | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for was done."""
        return not self.problems


@dataclass(slots=True)
class Workshop:
    """One order's open connections, and what has been found so far."""

    database: Database
    features: FeastClient
    agents: TrainingAgents
    order: TrainingOrder
    on_progress: Step
    trace_id: str = field(default_factory=lambda: str(uuid7()))

    def deps(self, agent: str) -> Deps:
        """What a run of ``agent`` works with; all runs of an order are one trace."""
        deps = run_deps(self.database, agent, lambda step: self.on_progress(f"{agent}: {step}"))
        return dataclasses.replace(deps, trace_id=self.trace_id)

    async def run(self, agent: Agent[Asked, Found], request: Asked, *, records: Callable[[Found], int]) -> Found:
        """One recorded run of an agent."""
        return await run_recorded(
            agent,
            request,
            self.deps(agent.agent_name),
            self.database,
            activity_type=ACTIVITY,
            workstream=WORKSTREAM,
            records=records,
            too_slow="did not end within its time budget: take fewer trials or rows",
        )


async def train(
    order: TrainingOrder,
    *,
    approval: Approval | None = None,
    promote: bool = True,
    on_progress: Step = lambda _: None,
) -> Trained:
    """Carry out an order (``training_order.checked``) on the configured database and MLflow store.

    A shut gate, a failed training and a refused promotion are in the result's ``problems``. Raises what cannot be
    started: DatasetNotFound, UnreadableFile, UnknownColumn, ContractViolation, HPOError (no such search),
    DatabaseUnavailable, MigrationError.
    """
    if approval is not None and approval.waives and not promote:
        raise ContractViolation("--waive sets rules of staging aside, and --no-stage asks for none: leave one out")
    from src.app.model_card.keeping import keep_card
    from src.app.training_agents import open_agents

    on_progress("opening the database")
    async with (
        traced_database() as database,
        feature_client(database) as features,
        open_agents(database, features) as agents,
    ):
        done = await _carried_out(Workshop(database, features, agents, order, on_progress), approval, promote)
        if done.trained is not None and done.trained.error is None:
            on_progress("writing the model card")
            done = await keep_card(done, database, agents.connector)
    return done


async def _carried_out(shop: Workshop, approval: Approval | None, promote: bool) -> Trained:
    done = await _prepared(shop)
    for step in (_selected, _trained, _analyzed, _registered):
        if done.problems:
            return done
        done = await step(shop, done)
    if promote and not done.problems:
        done = await _promoted(shop, done, approval)
    return done


async def _prepared(shop: Workshop) -> Trained:
    """The data behind the gate; a file is in the catalogue only once its columns were found to be there."""
    order = shop.order
    shop.on_progress("reading the data")
    async with stage(Catalogue(shop.database), order) as staged:
        frame = (await staged.load(())).frame
        declared = declared_contract(staged.record.dataset_id)
        columns = columns_of(order, frame, declared)
        experiment = order.experiment or experiment_name(order, staged.record)
        request = request_from(_prepare_request(order, columns, staged.record, experiment))
        table = declared or infer_contract(frame, order.name, time=columns.time, unit=order.unit)
        refuse_identifying(request.scope, table)
        conditions = filters_of(request.scope, table)
        if conditions:
            scoped = (await staged.load(conditions)).frame
            if scoped.empty:
                raise DataUnavailable(f"{order.name}: no rows within the scope; widen brand, region or period")
            require_target(scoped[order.target], columns.problem, order.positive)
        shop.agents.model_name(experiment, order.algorithm or LONGEST_ALGORITHM)
        if order.resume is not None:
            await shop.agents.require_study(order.resume)
        record = await staged.commit()
    deps = _with_features(shop, shop.deps("data_preparer"), columns)
    prepared = await prepare_on(shop.database, shop.features, request, deps)
    started = prepared.result.meta.started_at
    done = Trained(order, columns, record, experiment, shop.trace_id, started, prepared)
    return _behind_gate(done)


def _with_features(shop: Workshop, deps: Deps, columns: Columns) -> Deps:
    """Features of the feature store are joined before the gate judges the rows."""
    refs = [name for name in columns.features if OF_VIEW in name]
    if not refs:
        return deps
    return dataclasses.replace(deps, datasets=JoinedDatasets(deps.datasets, shop.features, refs, columns.time))


def _behind_gate(done: Trained) -> Trained:
    result = done.prepared.result
    if not result.gate.passed:
        return _stopped(done, *(f"the gate is shut: {line}{_way_out(done, line)}" for line in result.gate.blockers))
    if lacking := _lacking(done):
        return _stopped(done, *(f"the data is not ready: {line}" for line in lacking))
    if result.splits is None:
        return _stopped(done, "the data is not ready: it was not split")
    order, columns = done.order, done.columns
    data = TrainingData(
        dataset_id=done.dataset.dataset_id,
        target=order.target,
        features=columns.features,
        split_id=result.splits.split_config_id,
        brand=order.brand,
        region=order.region,
        period=order.days,
        segments=_segments(order, done.dataset),
        positive=order.positive,
        time=columns.time,
    )
    return dataclasses.replace(done, data=data)


def _way_out(done: Trained, blocker: str) -> str:
    """What an order can do about a split that the rows brought along."""
    brought = SPLIT_COLUMN in done.dataset.columns and done.order.split_strategy is None
    if not (brought and blocker.startswith("splits: ")):
        return ""
    return f" (the rows bring their split in {SPLIT_COLUMN}; --split-strategy plans another)"


def _lacking(done: Trained) -> tuple[str, ...]:
    """What the rows lack; how fresh the online values of a view are says nothing of rows that come from a table."""
    of_store = any(OF_VIEW in name for name in done.columns.features)
    kinds = (ABOUT_FEATURE, ABOUT_VIEW) if of_store else (ABOUT_FEATURE,)
    return tuple(line for line in done.prepared.result.meta.warnings if line.startswith(kinds))


async def _selected(shop: Workshop, done: Trained) -> Trained:
    order = shop.order
    request = SelectRequest(
        experiment_id=done.experiment,
        problem_type=done.columns.problem,
        qc_gate=done.prepared.result.gate,
        data=done.data,
        include=(order.algorithm,) if order.algorithm else (),
        n_samples=done.dataset.n_rows,
        n_features=len(done.columns.features),
        random_state=order.random_state,
    )
    result = await shop.run(shop.agents.selector, request, records=lambda found: len(found.benchmark))
    done = dataclasses.replace(done, selected=result)
    if result.primary is None:
        return _stopped(done, f"no algorithm was chosen: {_why(result)}")
    return done


async def _trained(shop: Workshop, done: Trained) -> Trained:
    assert done.data is not None
    assert done.selected is not None
    assert done.selected.primary is not None
    order = shop.order
    request = TrainRequest(
        experiment_id=done.experiment,
        candidate=done.selected.primary,
        qc_gate=done.prepared.result.gate,
        problem_type=done.columns.problem,
        data=done.data,
        success_criteria=order.criteria,
        metric=order.metric,
        enable_hpo=order.trials > 0 or order.resume is not None,
        hpo_trials=max(order.trials, 1),
        hpo_timeout_s=order.timeout_s,
        workers=order.workers,
        resume_study=order.resume,
        random_state=order.random_state,
    )
    result = await shop.run(shop.agents.trainer, request, records=lambda found: sum(found.split_counts.values()))
    done = dataclasses.replace(done, trained=result)
    if result.error is not None or result.model_ref is None:
        return _stopped(done, f"the training failed: {_why(result)}")
    if not result.model_ref.persisted:
        return _stopped(
            done, "the model waits for MLflow in the journal: bring it there with e2i mlflow replay, then register it"
        )
    return done


async def _analyzed(shop: Workshop, done: Trained) -> Trained:
    assert done.data is not None
    assert done.trained is not None
    assert done.trained.model_ref is not None
    request = AnalyzeRequest(
        experiment_id=done.experiment,
        data=done.data,
        problem_type=done.columns.problem,
        model_uri=done.trained.model_ref.uri,
        training_run_id=done.trained.training_run_id,
        random_state=shop.order.random_state,
    )
    result = await shop.run(shop.agents.analyzer, request, records=lambda found: found.shap.n_rows if found.shap else 0)
    done = dataclasses.replace(done, analyzed=result)
    if result.error is not None:
        return _stopped(done, f"the model could not be explained: {_why(result)}")
    return done


async def _registered(shop: Workshop, done: Trained) -> Trained:
    assert done.trained is not None
    assert done.trained.model_ref is not None
    assert done.selected is not None
    assert done.selected.primary is not None
    algorithm = done.selected.primary.algorithm
    try:
        request = DeployRequest(
            action=Action.REGISTER,
            model_name=shop.agents.model_name(done.experiment, algorithm),
            run_id=done.trained.model_ref.run_id,
            experiment_id=await shop.agents.experiment_row(done.experiment),
            training_run_id=done.trained.training_run_id,
            algorithm=algorithm,
        )
        result = await shop.run(shop.agents.deployer, request, records=lambda _: 1)
    except E2IError as error:
        # The model is trained by now: what was found is shown, and the order ends here.
        return _stopped(done, f"the model was not registered: {error}")
    done = dataclasses.replace(done, registered=result)
    if result.registered is None:
        return _stopped(done, f"the model was not registered: {_why(result)}")
    if done.trained is not None and done.trained.criteria_met is False:
        told = ", ".join(f"{name} {bound:g}" for name, bound in done.order.criteria.items())
        return _stopped(done, f"the model does not meet the criteria ({told}): it stays in development")
    return done


async def _promoted(shop: Workshop, done: Trained, approval: Approval | None) -> Trained:
    assert done.registered is not None
    assert done.registered.registered is not None
    model = done.registered.registered
    request = DeployRequest(
        action=Action.PROMOTE,
        model_name=model.name,
        version=model.version,
        target_stage=STAGED,
        environment="development",
        approval=approval,
    )
    try:
        result = await shop.run(shop.agents.deployer, request, records=lambda _: 1)
    except E2IError as error:
        return _stopped(done, f"promotion to {STAGED} failed: {error}")
    done = dataclasses.replace(done, promoted=result)
    if result.promotion is None or not result.promotion.ok:
        reasons = result.promotion.refused_because if result.promotion is not None else (_why(result),)
        return _stopped(done, *(f"promotion to {STAGED} was refused: {reason}" for reason in reasons))
    return done


def experiment_name(order: TrainingOrder, record: DatasetRecord) -> str:
    """The name of the experiment that trainings of the same target on the same data share."""
    parts = (record.name.removeprefix("table:"), order.target, order.brand, order.region)
    return re.sub(r"\W+", "_", "_".join(part for part in parts if part)).strip("_").lower()[:120]


def _prepare_request(
    order: TrainingOrder, columns: Columns, record: DatasetRecord, experiment: str
) -> Mapping[str, Any]:
    declared = declared_contract(record.dataset_id)
    start, end = order.days
    period = {key: day for key, day in (("start", start), ("end", end)) if day is not None}
    return {
        "experiment_id": experiment,
        "data_source": record.dataset_id,
        "suite": None if declared is not None else INFERRED,
        "scope": {
            "target": order.target,
            "required_features": list(columns.features),
            "brand": order.brand,
            "region": order.region,
            "period": period or None,
            "known_at": {},
        },
        "split_strategy": order.split_strategy,
        "time": order.time,
        "unit": order.unit,
    }


def _segments(order: TrainingOrder, record: DatasetRecord) -> tuple[str, ...]:
    """Brand and region, where the data has them and is not of one only."""
    chosen = (("brand", order.brand), ("geographic_region", order.region), ("region", order.region))
    return tuple(name for name, only in chosen if name in record.columns and only is None)


def _stopped(done: Trained, *problems: str) -> Trained:
    return dataclasses.replace(done, problems=(*done.problems, *(problems or ("it is not known why",))))


def _why(result: AgentResult) -> str:
    if result.error is not None:
        return result.error.message
    return "; ".join((*result.meta.degraded, *result.meta.warnings)) or "no reason was given"
