"""How does an optimiser that runs in threads call components, judges and models that belong to one event loop?"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

Value = TypeVar("Value")


class RunStopped(BaseException):
    """The run ends here, with what was found so far, or with ``error``.

    No Exception on purpose: dspy scores every Exception as a failed example and goes on.
    """

    def __init__(self, reason: str, error: Exception | None = None) -> None:
        self.reason = reason
        self.error = error
        super().__init__(reason)


class Bridge:
    """Runs coroutines on the loop it was made in, from any other thread, and waits for them.

    They run in the tracing context of whoever called ``enter_context`` last, also where dspy's own threads call.
    Once stopped, every call raises RunStopped: nothing more is asked or paid.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._home = threading.get_ident()
        self._context: Context = copy_context()
        self._waiting: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()
        self._stopped: RunStopped | None = None

    def enter_context(self) -> None:
        """What is called from now on belongs to the spans that are open in the caller's context."""
        self._context = copy_context()

    def __call__(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The coroutine's result, or its exception. Raises RunStopped, and RuntimeError in the loop's own thread."""
        if threading.get_ident() == self._home:
            work.close()
            raise RuntimeError("the event loop cannot wait for itself: await the coroutine instead")
        with self._lock:
            if self._stopped is not None:
                work.close()
                raise self._stopped
            future = self._context.copy().run(asyncio.run_coroutine_threadsafe, work, self._loop)
            self._waiting.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise self._stopped or RunStopped("the call was cancelled") from None
        finally:
            with self._lock:
                self._waiting.discard(future)

    def tell(self, what: Callable[[], None]) -> None:
        """Call something in the loop's thread, without waiting."""
        self._loop.call_soon_threadsafe(what)

    def stop(self, why: RunStopped) -> None:
        """Cancel what is waited for and let no further call through; the first reason stays."""
        with self._lock:
            self._stopped = self._stopped or why
            waiting = tuple(self._waiting)
        for future in waiting:
            future.cancel()

    async def run_in_thread(self, work: Callable[[], Value]) -> Value:
        """``work`` in a thread; a cancelled caller stops it and waits for its end."""
        task = asyncio.ensure_future(asyncio.to_thread(_outcome, work))
        try:
            value, stopped = await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop(RunStopped("the run was cancelled"))
            await task
            raise
        if stopped is not None:
            raise stopped
        assert value is not None
        return value[0]


def _outcome(work: Callable[[], Value]) -> tuple[tuple[Value] | None, RunStopped | None]:
    """A BaseException must not reach the event loop through a task."""
    try:
        return (work(),), None
    except RunStopped as stopped:
        return None, stopped


class LoopThread:
    """One event loop in a thread of its own, for callers that have none: clients belong to one loop for their life."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The coroutine's result, or its exception."""
        return asyncio.run_coroutine_threadsafe(work, self._started()).result()

    def close(self) -> None:
        """End the loop and its thread; another call begins a new one."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run_and_close, args=(self._loop,), name=self._name, daemon=True).start()
            return self._loop


def _run_and_close(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
