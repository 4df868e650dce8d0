"""Can LangGraph's command line open every graph of langgraph.json?"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from langgraph.pregel import Pregel
from langgraph_cli.config import validate_config_file

from src.agents.tiers import RUNNABLE
from src.settings import PROJECT_ROOT

CONFIG = PROJECT_ROOT / "langgraph.json"
GRAPHS: dict[str, str] = json.loads(CONFIG.read_text())["graphs"]


def test_the_command_line_accepts_the_file() -> None:
    assert validate_config_file(CONFIG)["graphs"] == GRAPHS


def test_every_agent_that_can_be_run_has_its_graph() -> None:
    assert set(GRAPHS) == set(RUNNABLE)


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_graph_opens(name: str) -> None:
    file, function = GRAPHS[name].split(":")
    spec = importlib.util.spec_from_file_location(f"langgraph_{name}", (PROJECT_ROOT / file).resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    graph = getattr(module, function)()
    assert isinstance(graph, Pregel)
    assert len(graph.nodes) > 2
    assert Path(file).suffix == ".py"
