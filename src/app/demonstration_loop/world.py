"""Where does the demonstration take place? In a database and a folder of its own, with servers that speak the wires of
a model's provider and of Opik."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from src.app.demonstration_loop.model import ObedientModel
from src.mlops.mlflow_connector import reset_mlflow_connector
from src.mlops.opik_connector import reset_opik_connector
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.opik import ScriptedOpik
from src.settings import var_dir
from src.storage.embedded_postgres import embedded

DATABASE = "e2i_demo_loop"
FOLDER = "demo-loop"
KEY = "scripted-demonstration-key"
_ELSEWHERE = (
    *("E2I_LLM_PROVIDER", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    *(
        "OPIK_ENABLED",
        "OPIK_ENDPOINT",
        "OPIK_URL_OVERRIDE",
        "OPIK_API_KEY",
        "MLFLOW_TRACKING_URI",
        "SUPABASE_URL",
        "SUPABASE_DB_URL",
    ),
    *("E2I_PAUSE_UPDATES", "E2I_ALERT_TO", "E2I_LLM_CACHE"),
    *("E2I_OPENAI_MODEL", "E2I_OPENAI_SMALL_MODEL", "E2I_OPENAI_OPTIMISING_JUDGE", "E2I_OWN_MODELS"),
    *("E2I_EVALUATION_CONCURRENCY", "E2I_EVALUATION_TIMEOUT"),
)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model behind an address that speaks OpenAI's chat format; by the name ``gate_judge`` it judges at the gate."""

    url: str
    name: str
    gate_judge: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes it the model of every purpose. One judgement at a time: a small machine answers in turn."""
        return {
            "E2I_LLM_PROVIDER": "openai",
            "OPENAI_BASE_URL": self.url,
            "E2I_OPENAI_MODEL": self.name,
            "E2I_OPENAI_OPTIMISING_JUDGE": self.name,
            "E2I_OPENAI_SMALL_MODEL": self.gate_judge,
            "E2I_OWN_MODELS": f"{self.name},{self.gate_judge}",
            "E2I_EVALUATION_CONCURRENCY": "1",
            "E2I_EVALUATION_TIMEOUT": "300",
        }


@dataclass(frozen=True)
class World:
    """The scripted model, None without one, and the Opik server."""

    model: ObedientModel | None
    opik: ScriptedOpik = field(repr=False)


@contextmanager
def own_world(
    *,
    with_model: bool,
    served: ServedModel | None = None,
    database_url: str | None = None,
    folder: Path | None = None,
) -> Iterator[World]:
    """The environment points to it while it is open; what the last demonstration left is deleted first.

    ``with_model`` is for the scripted one, which gives way to a ``served`` one. ``database_url`` is an empty, migrated
    or new database, by default one of the embedded server.
    """
    place = folder or var_dir() / FOLDER
    with ExitStack() as stack:
        if database_url is None:
            lease = stack.enter_context(embedded().attach())
            database_url = _new_database(lease.dsn)
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        opik = stack.enter_context(ScriptedOpik())
        model = ObedientModel() if with_model and served is None else None
        given = {
            "DATABASE_URL": database_url,
            "E2I_VAR_DIR": str(place),
            "E2I_EMBEDDINGS": "none",
            "E2I_EVALUATION_RATE": "1",
            "OPIK_ENABLED": "true",
            "OPIK_URL_OVERRIDE": opik.url,
        }
        given |= served.environment if served is not None else {}
        if model is not None:
            server = stack.enter_context(ScriptedAnthropic(model))
            given |= {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.base_url}
        stack.enter_context(_environment(given))
        yield World(model, opik)


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """The process works elsewhere: connectors that know the place before are let go of, and afterwards these."""
    before = {name: os.environ.get(name) for name in {*given, *_ELSEWHERE}}
    _let_go()
    for name in before:
        os.environ.pop(name, None)
    os.environ.update(given)
    try:
        yield
    finally:
        _let_go()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _let_go() -> None:
    reset_opik_connector()
    reset_mlflow_connector()


def _new_database(dsn: str) -> str:
    import psycopg
    from psycopg import sql

    with psycopg.connect(dsn, autocommit=True) as connection:
        name = sql.Identifier(DATABASE)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{DATABASE}"))
