"""Runs loads in forked children that a test can kill: prints "ready", then per command the child's pid and its end.

Commands on standard input, one JSON array a line: ["table", dsn, file] or ["file", dsn, file].
Forking from a process that has imported everything makes twenty kills cheap.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pyarrow.csv  # noqa: F401 - imported once, before the forks
import pyarrow.parquet  # noqa: F401

import src.contracts.pandera_builder as schemas
from src.contracts.tables import get_table
from src.storage.catalogue import Catalogue, register_file
from src.storage.database import Database
from src.storage.loading import load_table


async def _work(kind: str, dsn: str, file: str) -> None:
    async with Database.open(dsn) as db:
        if kind == "table":
            await load_table(Path(file), "business_metrics", db=db)
        else:
            await register_file(Catalogue(db), Path(file))


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _serve() -> None:
    schemas.build_pandera(get_table("business_metrics"))
    _say("ready")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_work(*json.loads(line)))
            os._exit(0)
        _say(pid)
        _, status = os.waitpid(pid, 0)
        _say(status)


if __name__ == "__main__":
    _serve()
