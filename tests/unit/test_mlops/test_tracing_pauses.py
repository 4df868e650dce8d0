"""How long does the delivery wait for a sink that does not take records?"""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from src.mlops.tracing import courier
from src.mlops.tracing.courier import LONGEST_PAUSE_S, pause_s
from src.resilience.retry import RetryPolicy
from tests.unit.test_mlops.recorded import StubbornSink, connector_on

POLICY = RetryPolicy(first_delay_s=1.0, max_delay_s=30.0)
A_DAY = 86_400


def overloaded(retry_after: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://opik.local")
    response = httpx.Response(503, headers={"Retry-After": str(retry_after)}, request=request)
    return httpx.HTTPStatusError("overloaded", request=request, response=response)


@pytest.mark.parametrize(("asked", "waited"), [(20, 20.0), (300, 300.0), (301, 300.0), (A_DAY, LONGEST_PAUSE_S)])
@pytest.mark.parametrize("failures", [1, 2, 4])
def test_a_retry_after_is_kept_up_to_the_longest_pause(asked: int, waited: float, failures: int) -> None:
    assert pause_s(failures, overloaded(asked), POLICY, retries=3, rest_s=20.0) == waited


@pytest.mark.parametrize(("failures", "least", "most"), [(1, 0.5, 1.0), (3, 2.0, 4.0), (4, 30.0, 30.0), (5, 0.5, 1.0)])
def test_pauses_grow_and_every_burst_ends_with_a_rest(failures: int, least: float, most: float) -> None:
    assert least <= pause_s(failures, OSError("away"), POLICY, retries=3, rest_s=30.0) <= most


def test_a_sink_that_asks_for_a_day_is_tried_again_after_the_longest_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 0.05)
    refusals = [overloaded(A_DAY)]
    sink = StubbornSink(lambda _: refusals.pop() if refusals else None)
    connector = connector_on(tmp_path, sink)
    with connector.trace_agent("explainer", "run"):
        pass
    # Not flushed: whoever flushes does not wait for pauses.
    deadline = time.monotonic() + 30
    while not sink.records and time.monotonic() < deadline:
        time.sleep(0.01)
    connector.close()
    assert (sink.attempts, [span["operation_type"] for span in sink.spans]) == (2, ["run"])
