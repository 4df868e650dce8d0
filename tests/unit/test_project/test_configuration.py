"""Is every key of the configuration known, and does code read it?"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.agents.configuration import AgentsConfig, load_agents_config
from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.tiers import AGENT_TIERS
from src.domain import kpis
from src.domain.guards import Guards
from src.domain.vocabulary import Vocabulary
from src.errors import ConfigError
from src.feature_store.configuration import FeastFile
from src.llm.configuration import LLMSettings
from src.mlops.mlflow.configuration import MlflowConfig
from src.mlops.optuna.configuration import OptunaFile
from src.mlops.quality.configuration import DataQualityConfig
from src.mlops.tracing.configuration import ObservabilityConfig
from src.optimization.gepa.configuration import GepaConfig
from src.rag.configuration import RagConfig
from src.rag.heuristics.calibration import CalibrationFile
from src.rag.heuristics.evidence_weights import EvidenceWeights
from src.settings import CONFIG_DIR, ConfigModel, load_config
from tests.unit.test_project.checkout import attributes_read

MODELS: dict[str, type[ConfigModel]] = {
    "agents.yaml": AgentsConfig,
    "data_quality.yaml": DataQualityConfig,
    "domain_vocabulary.yaml": Vocabulary,
    "feast_materialization.yaml": FeastFile,
    "gepa_config.yaml": GepaConfig,
    "guards.yaml": Guards,
    "heuristic_calibration.yaml": CalibrationFile,
    "heuristic_weights.yaml": EvidenceWeights,
    "kpi_definitions.yaml": kpis._KpiFile,
    "llm.yaml": LLMSettings,
    "mlflow/mlflow.yaml": MlflowConfig,
    "observability.yaml": ObservabilityConfig,
    "optuna_config.yaml": OptunaFile,
    "rag.yaml": RagConfig,
    "self_improvement.yaml": SelfImprovementConfig,
}
# Keys that only readers of the file use so far. No key may join them; a key leaves when code reads it.
Place = tuple[str | int, ...]


def models_in(annotation: Any) -> list[type[ConfigModel]]:
    """Configuration models an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, ConfigModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def reachable(model: type[ConfigModel]) -> set[type[ConfigModel]]:
    inner = [found for info in model.model_fields.values() for found in models_in(info.annotation)]
    return {model}.union(*(reachable(found) for found in inner))


def places(model: type[ConfigModel], raw: Any, here: Place = ()) -> Iterator[tuple[type[ConfigModel], Place]]:
    """Where in the parsed file each model stands."""
    yield model, here
    for name, info in model.model_fields.items():
        if name not in raw or not (inner := models_in(info.annotation)):
            continue
        yield from within(inner[0], raw[name], info.annotation, (*here, name))


def within(
    model: type[ConfigModel], value: Any, annotation: Any, here: Place
) -> Iterator[tuple[type[ConfigModel], Place]]:
    if (kind := typing.get_origin(annotation)) in (dict, tuple, list):
        inner = typing.get_args(annotation)[1 if kind is dict else 0]
        for key, item in value.items() if kind is dict else enumerate(value):
            yield from within(model, item, inner, (*here, key))
    elif value is not None:
        yield from places(model, value, here)


def parsed(file: str) -> Any:
    """The file as keys and values, read by libyaml: some are long."""
    return yaml.load((CONFIG_DIR / file).read_text("utf-8"), yaml.CSafeLoader)


def first_places(file: str) -> dict[type[ConfigModel], Place]:
    raw = parsed(file)
    found: dict[type[ConfigModel], Place] = {}
    for model, place in places(MODELS[file], raw):
        found.setdefault(model, place)
    return found


def test_every_configuration_file_has_a_model() -> None:
    assert {str(path.relative_to(CONFIG_DIR)) for path in CONFIG_DIR.rglob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("file", MODELS)
def test_the_file_loads_and_uses_every_model(file: str) -> None:
    load_config(CONFIG_DIR / file, MODELS[file])
    assert set(first_places(file)) == reachable(MODELS[file])


@pytest.mark.parametrize(
    ("file", "place"),
    [
        pytest.param(file, place, id=f"{file}-{model.__name__}")
        for file in MODELS
        for model, place in first_places(file).items()
    ],
)
def test_an_unknown_key_is_refused_with_file_and_key(file: str, place: Place, tmp_path: Path) -> None:
    raw = parsed(file)
    target = raw
    for step in place:
        target = target[step]
    target["surprise"] = 1
    copy = tmp_path / Path(file).name
    copy.write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(copy, MODELS[file])
    assert str(caught.value) == f"{copy}: {'.'.join(map(str, (*place, 'surprise')))}: unknown key"


def test_code_reads_every_key() -> None:
    unread = {
        f"{model.__name__}.{name}"
        for top in MODELS.values()
        for model in reachable(top)
        for name in model.model_fields
        if name not in attributes_read()
    }
    assert unread == set()


def test_budgets_name_the_agents_and_their_nodes() -> None:
    agents = load_agents_config().agents
    assert set(agents) == set(AGENT_TIERS)
    for name, budget in agents.items():
        folder = f"ml_foundation.{name}" if AGENT_TIERS[name] == 0 else name
        graph = importlib.import_module(f"src.agents.{folder}.graph").build_graph()
        assert set(budget.node_timeouts) == set(graph.get_graph().nodes) - {"__start__", "__end__"}, name
