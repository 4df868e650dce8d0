"""What became of a registered model, and where does it go next? Reading the registry, and actions of model_deployer."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from src.agents.ml_foundation.model_deployer.request import check_approval, request_from
from src.agents.ml_foundation.model_deployer.result import Action, Approval, DeployRequest, DeployResult, ShadowEvidence
from src.app.agent_runs import run_deps, run_recorded
from src.app.model_card import ModelCard
from src.app.model_card.approval import approval_of
from src.app.model_card.card import CardApproval
from src.app.model_card.keeping import cards_folder, read_card
from src.app.report.pages import write_whole
from src.app.tracing import traced_database
from src.errors import ContractViolation, DataUnavailable, ModelNotFound, nearest_names
from src.mlops.mlflow_connector import MLflowConnector, get_mlflow_connector
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.deployments import Deployment, DeploymentRepository
from src.storage.model_registry import ModelOverview, ModelRegistryRepository, RegisteredModel
from src.storage.postgres_gateway import PostgresGateway
from src.storage.shap_analyses import ShapAnalysis, ShapRepository
from src.storage.training_runs import TrainingRun, TrainingRunRepository

if TYPE_CHECKING:
    import pandas as pd

ACTIVITY = "model_deployment"
WORKSTREAM = "WS1"
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A version, the training it comes from, what explains it, where it is served, and who let it through.

    ``unknown`` says what could not be found out.
    """

    model: RegisteredModel
    training: TrainingRun | None
    explanation: ShapAnalysis | None
    deployments: tuple[Deployment, ...]
    approval: CardApproval | None = None
    unknown: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "approval": None if self.approval is None else self.approval.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class Changed:
    """What model_deployer was asked and did."""

    request: DeployRequest
    result: DeployResult

    @property
    def ok(self) -> bool:
        """Whether all that was asked for was done."""
        return self.result.overall == "completed"

    def document(self) -> dict[str, Any]:
        """JSON form."""
        approval = self.request.approval
        waived = None if approval is None else {**asdict(approval), "waives": sorted(approval.waives)}
        return {"request": {**asdict(self.request), "approval": waived}, "result": asdict(self.result)}


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry's tables."""

    models: ModelRegistryRepository
    trainings: TrainingRunRepository
    deployments: DeploymentRepository
    explanations: ShapRepository

    async def chosen(self, name: str, version: int | None) -> RegisteredModel:
        """That version, otherwise the champion, otherwise the newest. Raises ModelNotFound."""
        if version is not None:
            return await self.models.version(name, version)
        versions = await self.models.versions(name)
        if not versions:
            known = [model.name for model in await self.models.models()]
            raise ModelNotFound(f"there is no model '{name}'; {nearest_names(name, known)}")
        return next((model for model in versions if model.is_champion), versions[0])

    async def training_of(self, model: RegisteredModel) -> TrainingRun | None:
        """The training that a version comes from."""
        return None if model.mlflow_run_id is None else await self.trainings.of_mlflow(model.mlflow_run_id)


def registry_on(database: Database) -> Registry:
    """The registry of a database."""
    gateway = PostgresGateway(database)
    return Registry(
        ModelRegistryRepository(gateway),
        TrainingRunRepository(gateway),
        DeploymentRepository(gateway),
        ShapRepository(gateway),
    )


@asynccontextmanager
async def _opened(on_progress: Step) -> AsyncIterator[tuple[Database, Registry]]:
    on_progress("opening the database")
    async with traced_database() as database:
        yield database, registry_on(database)


async def list_models(*, on_progress: Step = lambda _: None) -> list[ModelOverview]:
    """Every registered model by name."""
    async with _opened(on_progress) as (_, registry):
        return await registry.models.models()


async def show_model(
    name: str, version: int | None = None, *, on_progress: Step = lambda _: None
) -> tuple[ModelDetails, list[RegisteredModel]]:
    """A version (default: the champion, otherwise the newest) and all versions. Raises ModelNotFound."""
    async with _opened(on_progress) as (_, registry):
        model = await registry.chosen(name, version)
        training = await registry.training_of(model)
        told = await registry.explanations.of_training(training.id) if training is not None else None
        served = [row for row in await registry.deployments.history(name) if row.model_registry_id == model.id]
        versions = await registry.models.versions(name)
    approval = await approval_of(get_mlflow_connector(), name, model.model_version)
    if isinstance(approval, Unavailable):
        away = f"who let it through and which rules were set aside is not known: {approval.reason}"
        return ModelDetails(model, training, told, tuple(served), unknown=(away,)), versions
    return ModelDetails(model, training, told, tuple(served), approval), versions


async def compare_models(
    wanted: Sequence[str], *, on_progress: Step = lambda _: None
) -> list[tuple[RegisteredModel, TrainingRun | None]]:
    """Versions side by side; ``wanted``: a model (all its versions) or "model:version".

    Raises ModelNotFound, ContractViolation for fewer than two versions.
    """
    async with _opened(on_progress) as (_, registry):
        models: list[RegisteredModel] = []
        for text in wanted:
            models += await _named(registry, text)
        unique = list({model.id: model for model in models}.values())
        if len(unique) < 2:
            raise ContractViolation("name at least two versions to compare, as in MODEL:1 MODEL:2")
        return [(model, await registry.training_of(model)) for model in unique]


async def _named(registry: Registry, text: str) -> list[RegisteredModel]:
    name, _, version = text.rpartition(":")
    if name:
        return [await registry.models.version(name, version)]
    found = await registry.models.versions(text)
    return found or [await registry.chosen(text, None)]


async def change(request: DeployRequest, *, on_progress: Step = lambda _: None) -> Changed:
    """Have model_deployer promote, serve or roll back; one ``agent_activities`` row says how that went.

    A refusal is a result. Raises ModelNotFound, ContractViolation, DataUnavailable when it takes too long.
    """
    from src.app.training_agents import deployer_on

    asked = request_from(request)
    async with _opened(on_progress) as (database, registry):
        await registry.chosen(asked.model_name, asked.version)
        agent = deployer_on(database, get_mlflow_connector())
        result = await run_recorded(
            agent,
            asked,
            run_deps(database, agent.agent_name, on_progress),
            database,
            activity_type=ACTIVITY,
            workstream=WORKSTREAM,
            records=lambda _: 1,
            too_slow="did not end within its time budget: try again",
        )
    return Changed(asked, result)


def approval_from(approver: str | None, reason: str | None, waives: Sequence[str]) -> Approval | None:
    """Who answers for a promotion, in the words of a command; None when nobody does.

    Raises ContractViolation for a waiver or a reason without a person, and for a rule that cannot be waived.
    """
    if approver is None:
        if waives or reason:
            raise ContractViolation("--waive and --reason need the name of the person who answers for it: --approver")
        return None
    if not reason:
        raise ContractViolation("--approver needs --reason: why is this version let through?")
    approval = Approval(approver, reason, datetime.now(UTC), frozenset(waives))
    check_approval(approval)
    return approval


def evidence_from(path: Path | None) -> ShadowEvidence | None:
    """What was seen in shadow, from a JSON file: hours, requests, error_rate, p99_ms. Raises ContractViolation."""
    if path is None:
        return None
    try:
        raw = json.loads(path.read_text("utf-8"))
        seen = ShadowEvidence(**raw)
        _require_figures(seen)
        return seen
    except (OSError, ValueError, TypeError) as error:
        raise ContractViolation(
            f"{path}: is no JSON object of numbers: hours, requests, error_rate and p99_ms ({type(error).__name__})"
        ) from error


def _require_figures(seen: ShadowEvidence) -> None:
    """Raise TypeError for what is no number, ValueError for one that is not finite, or for half a request."""
    figures = (seen.hours, seen.requests, seen.error_rate, seen.p99_ms)
    if not all(isinstance(figure, int | float) and not isinstance(figure, bool) for figure in figures):
        raise TypeError("no number")
    if not all(math.isfinite(figure) for figure in figures) or seen.requests != int(seen.requests):
        raise ValueError("no figure")


def stop_serving(endpoint: str) -> bool:
    """End the process of an endpoint; whether there was one."""
    from src.mlops.serving.endpoints import stop_endpoint

    return stop_endpoint(endpoint)


async def predict_rows(
    name: str, version: int | None, rows: Path, *, on_progress: Step = lambda _: None
) -> tuple[RegisteredModel, pd.DataFrame]:
    """Predictions for the rows of a file, in its order, by the champion, the newest or a given version.

    Raises ModelNotFound, UnreadableFile, UnknownColumn for a feature the file does not have, ContractViolation,
    and DataUnavailable while the store of models is away.
    """
    frame = await asyncio.to_thread(_read_rows, rows)
    async with _opened(on_progress) as (_, registry):
        model = await registry.chosen(name, version)
    on_progress(f"loading version {model.model_version}")
    bundle = await load_bundle(get_mlflow_connector(), model)
    return model, await asyncio.to_thread(bundle.predict, frame)


async def load_bundle(connector: MLflowConnector, model: RegisteredModel) -> Any:
    """The model of a version with its preparation. Raises DataUnavailable while the store is away."""
    from src.mlops.modelling.bundle import BUNDLE_FLAVOR, as_bundle

    loaded = await connector.load_model(f"models:/{model.model_name}/{model.model_version}", BUNDLE_FLAVOR)
    if isinstance(loaded, Unavailable):
        raise DataUnavailable(f"model '{model.model_name}' cannot be loaded: {loaded.reason}")
    return as_bundle(loaded)


def _read_rows(path: Path) -> pd.DataFrame:
    import pandas as pd

    from src.storage.tabular import read_table

    parts = [batch.to_pandas(date_as_object=False) for batch in read_table(path).batches]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


async def write_predictions(found: pd.DataFrame, out: Path, *, force: bool) -> int:
    """Write predictions to a .csv or .parquet file; returns the rows. Raises ContractViolation."""
    import pyarrow as pa

    from src.storage.export import write_export

    table = pa.Table.from_pandas(found, preserve_index=False)

    async def batches() -> AsyncIterator[Any]:
        for batch in table.to_batches():
            yield batch

    return await write_export(batches(), table.schema, out, force=force)


async def model_card(
    name: str, version: int | None, out: Path | None, *, on_progress: Step = lambda _: None
) -> tuple[ModelCard, Path]:
    """The card of a version, with its stage of today, and the page it was written to.

    Raises ModelNotFound, and DataUnavailable where none was stored or the store is away.
    """
    from src.app.model_card import render_model_card

    async with _opened(on_progress) as (_, registry):
        model = await registry.chosen(name, version)
    if model.mlflow_run_id is None:
        raise DataUnavailable(f"version {model.model_version} of '{name}' has no MLflow run, so there is no card")
    on_progress("reading the card")
    connector = get_mlflow_connector()
    stored = await read_card(connector, model.mlflow_run_id, model.model_version)
    approval = await approval_of(connector, name, model.model_version)
    known = stored.approval if isinstance(approval, Unavailable) else approval
    card = at_stage(stored, model).model_copy(update={"approval": known})
    page = out or cards_folder() / name / f"v{model.model_version}" / "model_card.html"
    return card, await asyncio.to_thread(write_whole, render_model_card(card), page)


def at_stage(card: ModelCard, model: RegisteredModel) -> ModelCard:
    """The card with the version and stage that the registry says today."""
    lineage = tuple((step, model.stage if step == "stage" else identity) for step, identity in card.lineage)
    return card.model_copy(update={"version": int(model.model_version), "stage": model.stage, "lineage": lineage})


def promotion(
    name: str,
    version: int | None,
    stage: str,
    approval: Approval | None,
    evidence: ShadowEvidence | None = None,
) -> DeployRequest:
    """A request to move a version to a stage."""
    return DeployRequest(
        action=Action.PROMOTE,
        model_name=name,
        version=version,
        target_stage=stage,
        approval=approval,
        shadow_evidence=evidence,
    )


def serving(name: str, version: int | None, environment: str, strategy: str, port: int | None) -> DeployRequest:
    """A request to serve a version on this machine."""
    plain = DeployRequest(action=Action.DEPLOY, model_name=name, version=version, port=port)
    return dataclasses.replace(plain, environment=cast(Any, environment), strategy=cast(Any, strategy))
