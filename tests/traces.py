"""A connector whose records stay in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.records import MemorySink


def memory_connector() -> tuple[OpikConnector, MemorySink]:
    """A connector on a spool of its own; ``await connector.flush()`` before looking into the sink."""
    sink = MemorySink()
    spool = Path(tempfile.mkdtemp(prefix="spool-", dir=os.environ["E2I_VAR_DIR"]))
    return OpikConnector(sinks=[sink], spool=spool), sink
