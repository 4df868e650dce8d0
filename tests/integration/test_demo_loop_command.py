"""The demonstration of the loop with a model behind an address: wrong addresses, and a whole turn of the circle."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.app.demonstration_loop.circle import open_circle
from src.app.demonstration_loop.model import ObedientModel
from src.app.demonstration_loop.serving import show_served
from src.app.demonstration_loop.showing import Shown
from src.app.demonstration_loop.world import ServedModel, own_world
from src.app.models import QUESTION
from src.cli.main import app
from src.errors import E2IError
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.replies import Prompt, Reply, Script, Scripted
from tests.mlflow_store import template
from tests.shared_database import cloned_database


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model-url", "localhost:8080"], "'localhost:8080' is no address of a server"),
        (["--model-url", "ftp://127.0.0.1/v1"], "is no address of a server"),
        (["--model-url", "http://127.0.0.1:1/v1", "--no-model"], "contradict one another"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused_before_anything_is_made(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    with pytest.raises(E2IError, match=said):
        CliRunner().invoke(app, ["demo", "loop", *options], catch_exceptions=False, standalone_mode=False)
    assert not (tmp_path / "var").exists()


def _turn(dsn: str, folder: Path, script: Script, questions: int) -> list[Shown]:
    shutil.copyfile(template(), folder / "mlflow.db")

    async def run() -> list[Shown]:
        with ScriptedOpenAI(script) as server:
            served = ServedModel(server.base_url, "small", "small-judge")
            with own_world(with_model=True, served=served, database_url=dsn, folder=folder) as world:
                async with open_circle(world.model, served=served) as circle:
                    return [one async for one in show_served(circle, world, questions)]

    return asyncio.run(run())


def _obedient() -> Scripted:
    model = ObedientModel()

    def reply(prompt: Prompt) -> Reply | str:
        return '{"word": "ready"}' if QUESTION in prompt.text else model(prompt)

    return reply


@pytest.mark.slow
def test_a_served_model_goes_round_the_whole_circle(postgres_dsn: str, template_database: str, tmp_path: Path) -> None:
    with cloned_database(postgres_dsn, template_database, "served") as dsn:
        steps = _turn(dsn, tmp_path, _obedient(), 16)
    assert all(one.holds for one in steps), steps
    assert "the model worded 16 of the answers" in steps[1].said[0]
    tried = next(one for one in steps if one.title.startswith("A share"))
    assert "retrieval: applied" in tried.said or "retrieval: rolled_back" in tried.said


@pytest.mark.slow
def test_a_model_that_talks_nonsense_changes_no_prompt_and_breaks_nothing(
    postgres_dsn: str, template_database: str, tmp_path: Path
) -> None:
    with cloned_database(postgres_dsn, template_database, "nonsense") as dsn:
        steps = _turn(dsn, tmp_path, lambda prompt: "the the the", 6)
    assert all(one.holds for one in steps), steps
    assert "Version 2 of the explainer's prompt is in use." in steps[-1].said
