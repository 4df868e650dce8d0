"""A connector whose records stay in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.records import MemorySink

CLOSE_S = 2.0
_opened: list[OpikConnector] = []


def memory_connector() -> tuple[OpikConnector, MemorySink]:
    """A connector on a spool of its own, closed when the test or the module that asked for it ends.

    ``await connector.flush()`` before looking into the sink.
    """
    sink = MemorySink()
    spool = Path(tempfile.mkdtemp(prefix="spool-", dir=os.environ["E2I_VAR_DIR"]))
    connector = OpikConnector(sinks=[sink], spool=spool)
    _opened.append(connector)
    return connector, sink


def opened() -> int:
    """How many of these connectors are open."""
    return len(_opened)


def close_opened(but: int) -> None:
    """End all but the first ``but``, and with each of them its three threads."""
    while len(_opened) > but:
        _opened.pop().close(CLOSE_S)
