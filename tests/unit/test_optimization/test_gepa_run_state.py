"""Do threads and the event loop share a run, is the budget remembered, and does a journal survive a kill?"""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

from src.errors import BudgetExhausted, DataUnavailable, HPOError
from src.llm.budget import Spending
from src.optimization.gepa.bridge import Bridge, LoopThread, RunStopped
from src.optimization.gepa.budget import RunBudget
from src.optimization.gepa.journal import Journal

_around: ContextVar[str] = ContextVar("around", default="nothing")


async def _where() -> tuple[int, str]:
    return threading.get_ident(), _around.get()


async def test_what_a_thread_asks_for_runs_on_the_loop_of_the_bridge() -> None:
    bridge = Bridge()
    ident, _ = await bridge.run_in_thread(lambda: bridge(_where()))
    assert ident == threading.get_ident()


async def test_calls_of_other_threads_belong_to_the_context_that_was_entered_last() -> None:
    bridge = Bridge()

    def work() -> list[str]:
        _around.set("generation 3")
        bridge.enter_context()
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(bridge(_where())[1]))
        thread.start()
        thread.join()
        return found

    assert await bridge.run_in_thread(work) == ["generation 3"]


async def test_a_stopped_bridge_cancels_what_is_waited_for_and_asks_nothing_more() -> None:
    bridge, asked = Bridge(), []
    why = RunStopped("the budget is spent")

    async def forever() -> None:
        asked.append(1)
        bridge.stop(why)
        await asyncio.sleep(3600)

    def work() -> None:
        with pytest.raises(RunStopped, match="budget"):
            bridge(forever())
        bridge(forever())

    with pytest.raises(RunStopped) as stopped:
        await bridge.run_in_thread(work)
    assert stopped.value is why
    assert asked == [1]


async def test_a_cancelled_caller_ends_the_thread_before_it_goes() -> None:
    bridge, ended, started = Bridge(), threading.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.sleep(3600)

    def work() -> None:
        try:
            bridge(forever())
        finally:
            ended.set()

    task = asyncio.create_task(bridge.run_in_thread(work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_the_loops_own_thread_is_not_made_to_wait_for_itself() -> None:
    with pytest.raises(RuntimeError, match="await the coroutine"):
        Bridge()(_where())


async def test_an_exception_of_the_work_leaves_unchanged() -> None:
    bridge = Bridge()

    async def fails() -> None:
        raise DataUnavailable("no inputs are kept")

    with pytest.raises(DataUnavailable, match="no inputs"):
        await bridge.run_in_thread(lambda: bridge(fails()))


def test_a_loop_thread_runs_every_call_on_one_loop() -> None:
    waiting = LoopThread("test-loop")
    first, second = waiting(_where())[0], waiting(_where())[0]
    waiting.close()
    assert first == second != threading.get_ident()


async def test_a_budget_counts_what_earlier_attempts_used() -> None:
    budget = RunBudget(100, 1.0, already=Spending(90, 0.5))
    with pytest.raises(BudgetExhausted, match="90 of 100 tokens"):
        await budget.reserve(20, 0.1, model="m")
    assert budget.refused is not None


async def test_a_call_that_fits_leaves_no_refusal_behind() -> None:
    budget = RunBudget(100, 1.0)
    budget.settle(await budget.reserve(20, 0.1, model="m"), Spending(15, 0.05))
    assert (budget.refused, budget.spent, budget.calls, budget.priced) == (None, Spending(15, 0.05), 1, True)


async def test_a_call_without_a_price_is_remembered() -> None:
    budget = RunBudget(100)
    await budget.reserve(20, None, model="local")
    assert not budget.priced


def test_a_journal_gives_back_what_was_put_into_it(tmp_path: Path) -> None:
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        journal.put("ran", "a", {"answer": "ä"}, tokens=5)
        journal.put("judged", "a", {"score": 1.0}, tokens=8)
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        assert (journal.get("ran", "a"), journal.get("judged", "a"), journal.get("ran", "b")) == (
            {"answer": "ä"},
            {"score": 1.0},
            None,
        )
        assert journal.last == {"tokens": 8}


@pytest.mark.parametrize("torn", [b'{"kind": "ran", "key": "b", "rep', b"\x00\x00\x00", b'{"kind": "ran"\n'])
def test_a_line_that_a_kill_cut_off_is_dropped_and_written_over(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        journal.put("ran", "a", {"answer": "1"})
    with open(file, "ab") as stream:
        stream.write(torn)
    with Journal(file) as journal:
        assert len(journal) == 1
        journal.put("ran", "b", {"answer": "2"})
    with Journal(file) as journal:
        assert journal.get("ran", "b") == {"answer": "2"}


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "run-7" / "journal.jsonl"), pytest.raises(HPOError, match=r"run-7.*another process"):
        Journal(tmp_path / "run-7" / "journal.jsonl")


def test_nobody_else_may_read_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert journal.file.stat().st_mode & 0o077 == 0
