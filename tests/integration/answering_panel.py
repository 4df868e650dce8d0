"""A database with a small panel, its tables and a few documents, shared by the tests of one module."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from src.app.generated_data import read_truth, register_panel
from src.app.session import open_session
from src.mlops.opik_connector import reset_opik_connector
from tests.shared_database import cloned_database

HCPS = 400
RANDOM_STATE = 42


@dataclass(frozen=True)
class AnsweringPanel:
    """Where the panel is, and what is true of it."""

    dsn: str
    var: Path
    truth: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.dsn, "E2I_VAR_DIR": str(self.var), "E2I_EMBEDDINGS": "none"}

    def effect(self, treatment: str, outcome: str, brand: str | None, region: str | None) -> float:
        wanted = (treatment, outcome, brand, region)
        names = ("treatment", "outcome", "brand", "region")
        (found,) = [one for one in self.truth["effects"] if tuple(one[name] for name in names) == wanted]
        return float(found["effect"])


@contextmanager
def answering_panel(dsn: str, template: str, name: str, var: Path, *, hcps: int = HCPS) -> Iterator[AnsweringPanel]:
    """The panel of ``hcps`` in a new database; the environment names both while it is open."""
    with cloned_database(dsn, template, name) as url:
        made = AnsweringPanel(url, var, {})
        with mock.patch.dict(os.environ, made.environment):
            truth = asyncio.run(_fill(hcps))
            yield AnsweringPanel(url, var, truth)
            reset_opik_connector()


async def _fill(hcps: int) -> dict[str, Any]:
    async with open_session() as session:
        made = await register_panel(session.catalogue, session.database, hcps, RANDOM_STATE, load=True)
        return read_truth(made.record)
