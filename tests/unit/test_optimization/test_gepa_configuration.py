"""Is config/gepa_config.yaml read as it stands, and is what cannot be meant refused?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from src.errors import ConfigError
from src.optimization.gepa.configuration import GEPA_FILE, GepaConfig, load_gepa_config
from src.settings import PROJECT_ROOT, var_dir

SHIPPED = yaml.safe_load(GEPA_FILE.read_text("utf-8"))


def changed(**changes: Any) -> GepaConfig:
    return GepaConfig.model_validate({**SHIPPED, **changes})


@pytest.mark.parametrize(
    ("agent", "calls"), [("explainer", 2000), ("rag_answer", 2000), ("tool_composer", 500), ("feedback_learner", 500)]
)
def test_budgets_are_those_of_the_agents(agent: str, calls: int) -> None:
    assert load_gepa_config(environ={}).metric_calls(agent) == calls


def test_versions_lie_in_the_folder_for_generated_files() -> None:
    assert load_gepa_config(environ={}).versioning.folder == var_dir() / "optimized_modules"


def test_another_path_is_below_the_project() -> None:
    folder = changed(versioning={"path": "somewhere/else", "keep": 1}).versioning.folder
    assert folder == PROJECT_ROOT / "somewhere/else"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"agents": {"x": {"budget": "light", "metric": "standard", "weights": {"accuracy": 1.0}}}}, "consists of"),
        (
            {"agents": {"x": {"budget": "light", "metric": "standard", "weights": {"accuracy": 0.5, "latency": 0.4}}}},
            "sum to 1",
        ),
        ({"ab_test": {**SHIPPED["ab_test"], "max_hours": 1}}, "max_hours"),
        ({"threads": 0}, "threads"),
        ({"something": 1}, "something"),
        ({"mipro": {"candidates": 1, "trials": 3}}, "candidates"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        changed(**changes)


def test_an_unknown_agent_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="agents has no 'nobody'"):
        load_gepa_config(environ={}).metric_calls("nobody")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_gepa_config(tmp_path / "nowhere.yaml")


def test_importing_the_package_loads_neither_dspy_nor_gepa() -> None:
    modules = ("improver", "optimizer", "learner_optimizer", "ab_test", "versioning", "judging", "mipro")
    script = f"import sys; {'; '.join(f'import src.optimization.gepa.{one}' for one in modules)}; "
    script += "print([name for name in ('dspy', 'gepa', 'litellm', 'mlflow', 'ragas') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT_ROOT, check=True)
    assert found.stdout.strip() == "[]"
