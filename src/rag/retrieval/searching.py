"""What did each arm find, how long did it take, and which one failed?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.rag.retrieval.arms import ArmUnavailable, Asked, Found, Hit, SearchArm
from src.rag.retrieval_results import Degraded
from src.storage.rag_chunks import CorpusState
from src.storage.retrieval_configurations import Arm

if TYPE_CHECKING:
    from src.mlops.opik_connector import OpikConnector

CALLER = "unknown"
# Loading a model or making an index anew may take long once; it is no reason to answer without the arm.
PREPARE_S = 120.0
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Searched:
    """What one arm gave; times in milliseconds. ``problem`` is None for an arm that searched everything.

    ``share`` in 0–1 is how much of the corpus it searched.
    """

    arm: Arm
    hits: tuple[Hit, ...] = ()
    problem: str | None = None
    share: float = 1.0
    prepare_ms: float = 0.0
    search_ms: float = 0.0

    @property
    def degraded(self) -> Degraded | None:
        """For the result's list of arms that failed, wholly or in part."""
        return None if self.problem is None else Degraded(self.arm, self.problem, self.share)


async def search_all(
    arms: Sequence[SearchArm],
    asked: Asked,
    state: CorpusState,
    timeouts: Mapping[Arm, float],
    tracer: OpikConnector | None,
) -> list[Searched]:
    """All arms at once, each within its own seconds."""
    return list(await asyncio.gather(*(_search(arm, asked, state, timeouts[arm.name], tracer) for arm in arms)))


async def _search(
    arm: SearchArm, asked: Asked, state: CorpusState, timeout_s: float, tracer: OpikConnector | None
) -> Searched:
    async with span(tracer, f"retrieve {arm.name}") as recorded:
        done = await _attempt(arm, asked, state, timeout_s)
        if recorded is not None:
            recorded.set_attribute("timings_ms", {"prepare": done.prepare_ms, "search": done.search_ms})
            recorded.set_attribute("found", len(done.hits))
            if done.problem is not None:
                recorded.set_attribute("degraded", done.problem)
        return done


async def _attempt(arm: SearchArm, asked: Asked, state: CorpusState, timeout_s: float) -> Searched:
    begun = time.perf_counter()
    ready: float | None = None
    found = Found((), share=0.0)
    problem = None
    try:
        async with asyncio.timeout(PREPARE_S):
            await arm.prepare(state)
        ready = time.perf_counter()
        async with asyncio.timeout(timeout_s):
            found = await arm.search(asked)
        problem = found.lacking
    except TimeoutError:
        problem = f"no answer within {timeout_s:g} s" if ready is not None else f"not ready within {PREPARE_S:g} s"
    except ArmUnavailable as reason:
        problem = str(reason)
    except Exception as error:  # noqa: BLE001 - the other arms answer; this one is listed with what went wrong
        problem = f"{type(error).__name__}: {_first_line(error)}"
    prepared = ready if ready is not None else time.perf_counter()
    times = (1000 * (prepared - begun), 1000 * (time.perf_counter() - prepared))
    return Searched(arm.name, tuple(found.hits), problem, found.share, *times)


@asynccontextmanager
async def span(tracer: OpikConnector | None, operation: str, asked: Any = None) -> AsyncIterator[Any]:
    """A tool's span below the one that is open; None without a tracer."""
    if tracer is None:
        yield None
        return
    from src.mlops.opik_connector import SpanType

    outer = tracer.current_span()
    agent = CALLER if outer is None else outer.agent_name
    async with tracer.trace_agent(agent, operation, input_data=asked, span_type=SpanType.TOOL) as opened:
        yield opened


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_SHOWN] if lines else "no message"
