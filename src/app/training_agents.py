"""Which parts do the agents of the model lifecycle work with? The one place where they are put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from src.agents.ml_foundation.feature_analyzer import services as analysis
from src.agents.ml_foundation.feature_analyzer.agent import FeatureAnalyzerAgent
from src.agents.ml_foundation.model_deployer import services as deployment
from src.agents.ml_foundation.model_deployer.agent import ModelDeployerAgent
from src.agents.ml_foundation.model_selector import services as selection
from src.agents.ml_foundation.model_selector.agent import ModelSelectorAgent
from src.agents.ml_foundation.model_trainer import services as trainer
from src.agents.ml_foundation.model_trainer.agent import ModelTrainerAgent
from src.agents.training_rows import TrainingRows
from src.app.prompts import open_prompts
from src.app.session import CatalogueDatasets
from src.app.training_rows import DatasetRows, FeatureStoreRows, FirstRows
from src.errors import DataUnavailable
from src.feature_store.feast_client import FeastClient
from src.mlops.hpo_pattern_memory import HPOPatternMemory, PostgresPatterns
from src.mlops.mlflow_connector import MLflowConnector, get_mlflow_connector
from src.mlops.optuna_optimizer import OptunaOptimizer
from src.storage.catalogue import Catalogue
from src.storage.connection_parts import postgres_parts
from src.storage.database import Database
from src.storage.deployments import DeploymentRepository
from src.storage.experiments import ExperimentRepository
from src.storage.hpo import HPORepository
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.model_registry import ModelRegistryRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.preparation import PreparationRepository
from src.storage.shap_analyses import ShapRepository
from src.storage.training_runs import TrainingRunRepository

STUDIES_SCHEMA = "optuna"
STORAGE_VARIABLE = "OPTUNA_STORAGE_URL"


@dataclass(frozen=True, slots=True)
class TrainingAgents:
    """The agents behind the gate, on one database and one MLflow store."""

    selector: ModelSelectorAgent
    trainer: ModelTrainerAgent
    analyzer: FeatureAnalyzerAgent
    deployer: ModelDeployerAgent
    connector: MLflowConnector
    experiments: ExperimentRepository
    optimizer: Callable[[str], OptunaOptimizer]

    def model_name(self, experiment: str, algorithm: str) -> str:
        """The registered model of an experiment's algorithm."""
        return self.connector.model_name(experiment, algorithm)

    async def experiment_row(self, name: str) -> str:
        """Id of the row of an experiment. Raises DataUnavailable where no training recorded one."""
        found = await self.experiments.get(name)
        if found is None:
            raise DataUnavailable(f"experiment '{name}' is not recorded; its training was not kept")
        return found.id

    async def require_study(self, name: str) -> None:
        """Raise HPOError with the nearest names where there is no search of that name, ServiceOutage."""
        await self.optimizer(name).load_study(name)


@asynccontextmanager
async def open_agents(database: Database, features: FeastClient) -> AsyncIterator[TrainingAgents]:
    """The agents on ``database``, rows from its catalogue and feature store. Raises ConfigError."""
    gateway = PostgresGateway(database)
    connector, rows = get_mlflow_connector(), training_rows(database, features)
    trainings, experiments = TrainingRunRepository(gateway), ExperimentRepository(gateway)
    storage = await studies_address(database)
    prompts = await open_prompts(database)
    narrator, made = analysis.narration_client(), list[OptunaOptimizer]()

    def optimizer(experiment: str) -> OptunaOptimizer:
        made.append(OptunaOptimizer(experiment, storage, connector))
        return made[-1]

    try:
        yield TrainingAgents(
            selector=ModelSelectorAgent(selection.Services(rows, connector, trainings)),
            trainer=ModelTrainerAgent(
                trainer.Services(
                    rows=rows,
                    optimizer=optimizer,
                    connector=connector,
                    patterns=HPOPatternMemory(PostgresPatterns(HPOPatternRepository(gateway))),
                    records=trainer.Records(experiments, trainings, HPORepository(gateway)),
                )
            ),
            analyzer=FeatureAnalyzerAgent(
                analysis.Services(FirstRows(rows), connector, ShapRepository(gateway), narrator, prompts)
            ),
            deployer=deployer_on(database, connector),
            connector=connector,
            experiments=experiments,
            optimizer=optimizer,
        )
    finally:
        await narrator.aclose()
        for opened in made:
            await opened.aclose()


def deployer_on(database: Database, connector: MLflowConnector) -> ModelDeployerAgent:
    """The agent that registers, promotes, serves and rolls back."""
    gateway = PostgresGateway(database)
    services = deployment.Services(
        connector,
        ModelRegistryRepository(gateway),
        DeploymentRepository(gateway),
        TrainingRunRepository(gateway),
    )
    return ModelDeployerAgent(services)


def training_rows(database: Database, features: FeastClient) -> Sequence[TrainingRows]:
    """Sources of rows, asked in turn."""
    datasets, splits = CatalogueDatasets(Catalogue(database)), PreparationRepository(PostgresGateway(database))
    return (FeatureStoreRows(datasets, splits, features), DatasetRows(datasets, splits))


async def studies_address(database: Database) -> str | None:
    """Where studies are kept: the database in use, in a schema of their own, so that several workers share them.

    None, which leaves it to the configuration, where OPTUNA_STORAGE_URL names another place.
    """
    if os.environ.get(STORAGE_VARIABLE):
        return None
    await database.execute(f"CREATE SCHEMA IF NOT EXISTS {STUDIES_SCHEMA}")
    parts = postgres_parts(database.dsn, "DATABASE_URL")
    user, password = quote(parts["user"], safe=""), quote(parts["password"], safe="")
    options = urlencode({"sslmode": parts["sslmode"], "options": f"-csearch_path={STUDIES_SCHEMA}"}, quote_via=quote)
    where = f"{parts['host']}:{parts['port']}/{quote(parts['database'], safe='')}"
    return f"postgresql://{user}:{password}@{where}?{options}"
