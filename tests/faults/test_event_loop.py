"""Does tracing a busy program leave its event loop free?

Measured in a process of its own: the stores of the other tests run in this one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import load_observability_config
from src.settings import PROJECT_ROOT
from tests.faults.harness import Rig

PER_SECOND, SECONDS = 1000, 5.0
LIMIT_MS = 5.0
INPUT = {"question": "why did it fall? " * 12}
# A loop that is late without tracing too says that others use the machine.
ATTEMPTS, BUSY_FACTOR = 3, 2.0


@pytest.mark.slow
async def test_the_loop_is_late_by_less_than_five_milliseconds_at_a_thousand_spans_a_second(rig: Rig) -> None:
    seen = []
    for attempt in range(ATTEMPTS):
        idle = await lag_p99_ms(rig, attempt, traced=False)
        traced = await lag_p99_ms(rig, attempt, traced=True)
        seen.append((idle, traced))
        if traced < max(LIMIT_MS, BUSY_FACTOR * idle):
            return
    pytest.fail(f"p99 of the loop's lag in ms, without and with tracing: {seen}")


async def lag_p99_ms(rig: Rig, attempt: int, *, traced: bool) -> float:
    arguments = {"spool": f"{rig.spool}-{attempt}", "dsn": rig.dsn, "settings": rig.settings(), "traced": traced}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.test_event_loop", json.dumps(arguments)),
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return float(said)


async def _measure(spool: str, dsn: str, settings: dict[str, dict[str, object]], traced: bool) -> float:
    sizes = {"batching": {"max_batch_size": 100}, "fallback": {"segment_mb": 8.0}}
    config = load_observability_config(environ={}).changed({**settings, **sizes})
    connector = OpikConnector(config, spool=Path(spool)) if traced else OpikConnector(config, sinks=[])
    if traced:
        connector.use_database(lambda: dsn)
    lags: list[float] = []
    ticking = asyncio.create_task(_tick(lags))
    began, logged = time.monotonic(), 0
    while (passed := time.monotonic() - began) < SECONDS:
        while logged < passed * PER_SECOND:
            with connector.trace_agent("orchestrator", "work", input_data=INPUT):
                logged += 1
        await asyncio.sleep(0.002)
    ticking.cancel()
    await connector.shutdown()
    return sorted(lags)[int(len(lags) * 0.99)]


async def _tick(lags: list[float]) -> None:
    """How many milliseconds later than asked the loop comes back, again and again."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - began - 0.001) * 1000)


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(_measure(**json.loads(sys.argv[1])))))
