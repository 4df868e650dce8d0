"""A connector whose records stay in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.records import MemorySink


def memory_connector() -> tuple[OpikConnector, MemorySink]:
    """A connector on a spool of its own; ``await connector.flush()`` before looking into the sink."""
    sink = MemorySink()
    return OpikConnector(sinks=[sink], spool=Path(tempfile.mkdtemp(prefix="e2i-spool-"))), sink
