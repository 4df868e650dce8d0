"""Does whoever waits for the spool learn that it refused something?"""

from __future__ import annotations

from pathlib import Path

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import load_observability_config


async def test_accepted_says_so_once_when_a_full_spool_refused_a_record(tmp_path: Path) -> None:
    config = load_observability_config(environ={}).changed({"fallback": {"max_mb": 0.001}})
    connector = OpikConnector(config, spool=tmp_path / "spool")
    with connector.trace_agent("orchestrator", input_data="x" * 5000):
        pass
    assert not await connector.accepted()
    assert await connector.accepted()
    assert connector.get_status()["refused"] == 1
    await connector.shutdown()
