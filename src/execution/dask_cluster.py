"""How is work spread over the workers of a Dask cluster?"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from src.errors import ConfigError, ServiceOutage
from src.execution.executor import Outcome, answer, outcome_of, task_failed, task_lost

CONNECT_TIMEOUT_S = 10


@asynccontextmanager
async def open_dask(address: str) -> AsyncIterator[DaskCluster]:
    """The cluster of the scheduler at ``address``, such as tcp://10.0.0.5:8786; it goes on after the body.

    Raises ConfigError where Dask is not installed or the address is none, ServiceOutage when nothing answers there
    or no worker has joined.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError("Dask is not installed: pip install 'e2i[distributed]'")
    distributed: Any = importlib.import_module("distributed")
    # Each lost worker is reported in the outcome of its task.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    client = distributed.Client(address, asynchronous=True, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    try:
        async with _answering(address):
            await client
        yield DaskCluster(client, await _threads(client, address))
    finally:
        await client.close()


@asynccontextmanager
async def _answering(address: str) -> AsyncIterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"'{address}' is no address of a Dask scheduler (tcp://host:port)") from error
    except (OSError, TimeoutError) as error:
        raise ServiceOutage(
            f"the Dask scheduler at {address} does not answer; start it or unset E2I_DASK_SCHEDULER"
        ) from error


class DaskCluster:
    """Tasks run in the workers' processes. A task that is running there cannot be ended from here."""

    def __init__(self, client: Any, workers: int) -> None:
        self._client = client
        self._workers = workers

    @property
    def workers(self) -> int:
        """How many tasks run at once: the workers' threads."""
        return self._workers

    async def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> AsyncIterator[Outcome]:
        """Outcomes as the tasks end. Whoever stops listening withdraws the tasks that have not begun."""
        distributed: Any = importlib.import_module("distributed")
        names = [f"e2i-{uuid4().hex}" for _ in arguments]
        futures = {
            self._client.submit(_once, function, argument, name, key=name, pure=False): index
            for index, (argument, name) in enumerate(zip(arguments, names, strict=True))
        }
        try:
            async for future in distributed.as_completed(list(futures), loop=self._client.loop):
                yield await _outcome(futures[future], future)
        finally:
            await self._client.cancel(list(futures))
            for name in names:
                await self._client.scheduler.event_clear(name=name)


async def _outcome(index: int, future: Any) -> Outcome:
    from distributed.scheduler import KilledWorker

    if future.status == "finished":
        try:
            return outcome_of(index, await future.result())
        except (KilledWorker, _BegunBefore):
            return task_lost(index, "its process is gone, and what it found with it")
    if future.status != "error":
        return task_lost(index, f"the scheduler says '{future.status}'")
    error = await future.exception()
    if isinstance(error, KilledWorker | _BegunBefore):
        return task_lost(index, "its process is gone")
    return task_failed(index, type(error).__name__, str(error))


async def _threads(client: Any, address: str) -> int:
    known = await client.scheduler.identity(n_workers=-1)
    threads = sum(int(worker["nthreads"]) for worker in known["workers"].values())
    if not threads:
        raise ServiceOutage(f"the Dask scheduler at {address} has no worker; start one with `dask worker {address}`")
    return threads


class _BegunBefore(Exception):
    """A worker died under the task; the cluster gave it to another one."""


def _once(function: Callable[[Any], Any], argument: Any, name: str) -> bytes:
    """Run a task, unless it was begun before: the cluster repeats what a dead worker left, we do not."""
    distributed: Any = importlib.import_module("distributed")
    begun = distributed.Event(name)
    if begun.is_set():
        raise _BegunBefore(name)
    begun.set()
    return answer(function, argument)
