"""Which panel is asked about? One of a given size in a folder of its own, made once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from src.app.generated_data import register_panel
from src.app.session import open_session
from src.mlops.opik_connector import reset_opik_connector

RANDOM_STATE = 42
MONTHS = 36


@contextlib.contextmanager
def asked_panel(rows: int, folder: Path | None) -> Iterator[None]:
    """While it is open the environment names ``folder`` (a new one that is deleted) and the panel is in its database.

    A folder that has a panel already keeps it.
    """
    with contextlib.ExitStack() as stack:
        kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="e2i-asking-")))
        os.environ |= {"E2I_VAR_DIR": str(kept.resolve()), "E2I_EMBEDDINGS": "none", "E2I_EVALUATION_RATE": "0"}
        asyncio.run(_filled(rows))
        yield
        reset_opik_connector()
        _stopped()


async def _filled(rows: int) -> None:
    async with open_session() as session:
        if not any(one.name == "hcp_month_panel" for one in await session.catalogue.list()):
            hcps = max(1, round(rows / MONTHS))
            await register_panel(session.catalogue, session.database, hcps, RANDOM_STATE, load=True)


def _stopped() -> None:
    from src.storage.embedded_postgres import embedded

    embedded().stop()
