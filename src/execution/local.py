"""How do several processes of this machine share the work, so that the death of one costs its task only?"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from src.execution.executor import Outcome, answer, failure, outcome_of, task_lost

_END_WITHIN_S = 5.0
# What a process says before it does a task.
_BEGUN = b"begun"


@asynccontextmanager
async def open_local(workers: int) -> AsyncIterator[LocalProcesses]:
    """``workers`` processes, each started when there is work for it and ended with the body."""
    executor = LocalProcesses(workers)
    try:
        yield executor
    finally:
        await executor.close()


class LocalProcesses:
    """Processes made anew (spawned), so that no thread or connection of this one is copied into them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._places = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._running: set[asyncio.Task[Outcome]] = set()
        self._closed = False

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self._workers

    async def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> AsyncIterator[Outcome]:
        """Outcomes as the tasks end. Whoever stops listening ends the tasks that are running.

        Raises PicklingError, AttributeError or TypeError, before anything is run, for a task that cannot be sent;
        RuntimeError when the executor is closed, also while tasks run.
        """
        self._refuse_if_closed()
        tasks = [bytes(ForkingPickler.dumps((function, argument))) for argument in arguments]
        running = [asyncio.create_task(self._do(index, task)) for index, task in enumerate(tasks)]
        self._running.update(running)
        try:
            for done in asyncio.as_completed(running):
                try:
                    outcome = await done
                except asyncio.CancelledError:
                    # Ours, unless it is the caller who is cancelled.
                    if not _is_cancelled():
                        self._refuse_if_closed()
                    raise
                yield outcome
        finally:
            await _cancelled(running)
            self._running.difference_update(running)

    async def close(self) -> None:
        """End the processes, also those that work for somebody who has stopped listening without saying so."""
        self._closed = True
        await _cancelled(list(self._running))
        waiting, self._idle = self._idle, []
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in waiting))

    async def _do(self, index: int, task: bytes) -> Outcome:
        """One task in a process of its own for the time being."""
        async with self._places:
            self._refuse_if_closed()
            while (worker := self._waiting()) is not None:
                if (outcome := await self._on(worker, index, task)) is not None:
                    return outcome
            return await self._on(_Worker(), index, task) or task_lost(index, "it died before it began")

    async def _on(self, worker: _Worker, index: int, task: bytes) -> Outcome | None:
        """What the worker makes of the task; None when it was dead before."""
        try:
            outcome = await worker.do(index, task)
        except BaseException:
            worker.kill()
            raise
        if outcome is None or outcome.worker_lost or self._closed:
            worker.kill()
        else:
            self._idle.append(worker)
        return outcome

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("the executor is closed; run tasks in the body of open_executor")

    def _waiting(self) -> _Worker | None:
        return self._idle.pop() if self._idle else None


class _Worker:
    """A process of ours and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        # The exit of this process ends a daemon rather than waiting for it.
        self._process = context.Process(target=_serve, args=(self._theirs,), daemon=True)
        self._starting = threading.Lock()
        self._over = False

    async def do(self, index: int, task: bytes) -> Outcome | None:
        """Run one task there; None when the process died before it began, as one may while it waits."""
        await asyncio.to_thread(self._start)
        begun, answered = False, None
        # The pipe of a process that died is broken or at its end.
        with suppress(EOFError, OSError):
            await asyncio.to_thread(self._pipe.send_bytes, task)
            begun = await self._received() == _BEGUN
            answered = await self._received()
        if begun and answered is not None:
            return await asyncio.to_thread(outcome_of, index, answered)
        return task_lost(index, await asyncio.to_thread(self._how_it_ended)) if begun else None

    async def _received(self) -> bytes:
        await _readable(self._pipe.fileno(), self._process.sentinel)
        if not self._pipe.poll():
            raise EOFError
        return await asyncio.to_thread(self._pipe.recv_bytes)

    def end(self) -> None:
        """Let it finish: without a pipe it has nothing to wait for."""
        self._pipe.close()
        self._process.join(_END_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """End it now, whatever it does."""
        with self._starting:
            self._over = True
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._pipe.close()
        self._theirs.close()

    def _start(self) -> None:
        with self._starting:
            if self._process.pid is None and not self._over:
                self._process.start()
                # Only the child holds its end now, so that its death is the end of the pipe.
                self._theirs.close()

    def _how_it_ended(self) -> str:
        self._process.join(_END_WITHIN_S)
        code = self._process.exitcode
        if code is None:
            return "it closed its pipe"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


async def _cancelled(tasks: Sequence[asyncio.Task[Outcome]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_cancelled() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


async def _readable(*descriptors: int) -> None:
    """Wait until one of the descriptors has something to say."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    for descriptor in descriptors:
        loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


def _serve(pipe: Connection) -> None:
    """The child: does what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked as well, and decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv_bytes()
            pipe.send_bytes(_BEGUN)
            pipe.send_bytes(_answer(task))
        except (EOFError, OSError):
            return  # nobody asks or listens any more


def _answer(task: bytes) -> bytes:
    try:
        function, argument = ForkingPickler.loads(task)
    except Exception as error:  # noqa: BLE001 - the edge of the process: the failure is the answer
        return failure(error)
    return answer(function, argument)


def _die_with_parent() -> None:
    """A parent that is killed cannot end its children."""
    if (parent := parent_process()) is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
