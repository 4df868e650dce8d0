"""Do local processes and a Dask cluster run every task once, and does a death cost one task only?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from src.errors import ConfigError, ServiceOutage
from src.execution.executor import Executor, Outcome, open_executor
from tests.unit.test_execution import tasks

WORKERS = 2


@pytest.fixture(scope="module")
def dask_cluster() -> Iterator[Any]:
    """Processes of this machine as a Dask cluster, without its dashboard."""
    import distributed

    with distributed.LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address=None,
        silence_logs=60,
    ) as cluster:
        yield cluster


@pytest.fixture
def dask_scheduler(dask_cluster: Any) -> str:
    """Its address, when the workers that earlier tests killed are replaced."""
    dask_cluster.wait_for_workers(WORKERS)
    return str(dask_cluster.scheduler_address)


@pytest.fixture(params=["local", "dask"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    scheduler = request.getfixturevalue("dask_scheduler") if request.param == "dask" else ""
    async with open_executor(WORKERS, scheduler=scheduler) as opened:
        yield opened


@pytest.fixture
async def local() -> AsyncIterator[Executor]:
    async with open_executor(WORKERS, scheduler="") as opened:
        yield opened


async def outcomes(executor: Executor, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Outcome]:
    found = [outcome async for outcome in executor.run(function, arguments)]
    return sorted(found, key=lambda outcome: outcome.index)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_every_task_runs_once_in_another_process(executor: Executor) -> None:
    assert executor.workers == WORKERS
    found = await outcomes(executor, tasks.square, range(7))
    assert found == [Outcome(index, index * index) for index in range(7)]
    pids = {outcome.value for outcome in await outcomes(executor, tasks.own_pid, range(4))}
    assert os.getpid() not in pids
    assert len(pids) <= WORKERS


async def test_no_task_is_no_outcome(executor: Executor) -> None:
    assert await outcomes(executor, tasks.square, []) == []


async def test_tasks_run_at_the_same_time(executor: Executor, tmp_path: Path) -> None:
    found = await outcomes(executor, tasks.meet, [(str(tmp_path), WORKERS)] * WORKERS)
    assert len({outcome.value for outcome in found}) == WORKERS


async def test_a_task_that_raises_says_so_and_the_others_go_on(executor: Executor) -> None:
    found = await outcomes(executor, tasks.fail_on_odd, range(4))
    assert [outcome.ok for outcome in found] == [True, False, True, False]
    assert (found[1].error_type, found[1].error_message) == ("ValueError", "1 is odd")
    assert not found[1].worker_lost


async def test_a_killed_worker_costs_its_task_only_and_is_replaced(executor: Executor) -> None:
    found = await outcomes(executor, tasks.die_on_odd, range(4))
    assert [outcome.worker_lost for outcome in found] == [False, True, False, True]
    assert [outcome.value for outcome in found] == [0, None, 2, None]
    assert found[1].error_type == "WorkerLost"
    assert all(outcome.ok for outcome in await outcomes(executor, tasks.square, range(4)))


async def test_a_task_whose_worker_died_is_not_begun_again(executor: Executor, tmp_path: Path) -> None:
    (outcome,) = await outcomes(executor, tasks.count_then_die, [str(tmp_path)])
    assert outcome.worker_lost
    assert len(list(tmp_path.iterdir())) == 1


async def test_two_batches_at_once_keep_their_own_outcomes(executor: Executor) -> None:
    first, second = await asyncio.gather(
        outcomes(executor, tasks.square, range(5)), outcomes(executor, tasks.fail_on_odd, [2, 4])
    )
    assert [outcome.value for outcome in first] == [0, 1, 4, 9, 16]
    assert [outcome.value for outcome in second] == [2, 4]


@pytest.mark.parametrize(
    ("function", "words"),
    [(tasks.exit_now, "exit code 3"), (tasks.count_then_die, "signal SIGKILL")],
)
async def test_a_lost_worker_is_described(
    local: Executor, tmp_path: Path, function: Callable[[Any], Any], words: str
) -> None:
    (outcome,) = await outcomes(local, function, [str(tmp_path)])
    assert words in (outcome.error_message or "")


async def test_a_worker_killed_while_it_waits_costs_nothing(local: Executor) -> None:
    for outcome in await outcomes(local, tasks.own_pid, range(WORKERS)):
        if alive(outcome.value):
            os.kill(outcome.value, signal.SIGKILL)
    assert all(outcome.ok for outcome in await outcomes(local, tasks.square, range(3)))


async def test_a_result_that_cannot_be_sent_is_a_failure_of_its_task(local: Executor) -> None:
    (outcome,) = await outcomes(local, tasks.unsendable, [0])
    assert not outcome.ok
    assert not outcome.worker_lost


async def test_a_result_that_cannot_be_read_here_is_a_failure_of_its_task(executor: Executor) -> None:
    found = await outcomes(executor, tasks.unreadable_if_odd, range(4))
    assert [outcome.value for outcome in found] == [0, None, 2, None]
    assert [outcome.worker_lost for outcome in found] == [False] * 4
    assert (found[1].error_type, found[1].error_message) == (
        "UnpicklingError",
        "its result cannot be read here: LookupError: not here",
    )


async def test_a_task_that_cannot_be_sent_is_refused_before_anything_runs(local: Executor, tmp_path: Path) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        await outcomes(local, tasks.meet, [(str(tmp_path), 1), lambda: None])
    assert list(tmp_path.iterdir()) == []


async def test_a_large_task_and_its_large_result_pass(local: Executor) -> None:
    (outcome,) = await outcomes(local, bytes, [b"x" * 3_000_000])
    assert outcome.value == b"x" * 3_000_000


async def test_cancelling_ends_the_processes_that_were_started(local: Executor, tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    batch = asyncio.create_task(outcomes(local, tasks.say_and_sleep, list(map(str, files))))
    while not all(file.exists() for file in files):
        await asyncio.sleep(0.02)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert not any(alive(int(file.read_text())) for file in files)
    assert all(outcome.ok for outcome in await outcomes(local, tasks.square, range(2)))


async def test_whoever_stops_listening_ends_what_is_running(local: Executor, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    async with aclosing(local.run(_either, [None, str(file)])) as running:
        assert (await anext(running)).index == 0
        while not file.exists():
            await asyncio.sleep(0.02)
    assert not alive(int(file.read_text()))


async def test_the_end_of_the_executor_is_the_end_of_its_processes() -> None:
    async with open_executor(1, scheduler="") as executor:
        (outcome,) = await outcomes(executor, tasks.own_pid, [0])
        assert alive(outcome.value)
    assert not alive(outcome.value)


async def test_a_closed_executor_leaves_no_process_to_whoever_stopped_listening(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    async with open_executor(WORKERS, scheduler="") as executor:
        held = executor.run(_either, [None, str(file)])
        assert (await anext(held)).index == 0
        while not file.exists():
            await asyncio.sleep(0.02)
    assert not alive(int(file.read_text()))
    with pytest.raises(RuntimeError, match="the executor is closed"):
        await anext(held)
    with pytest.raises(RuntimeError, match="the executor is closed"):
        await outcomes(executor, tasks.square, [1])


def _either(path: str | None) -> None:
    if path is not None:
        tasks.say_and_sleep(path)


async def test_the_scheduler_of_the_environment_is_used(dask_scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2I_DASK_SCHEDULER", dask_scheduler)
    async with open_executor(1) as executor:
        assert type(executor).__name__ == "DaskCluster"
        assert executor.workers == WORKERS
    monkeypatch.delenv("E2I_DASK_SCHEDULER")
    async with open_executor(1) as executor:
        assert type(executor).__name__ == "LocalProcesses"


def test_no_worker_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 workers"):
        open_executor(0)


async def test_a_scheduler_that_does_not_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.execution.dask_cluster.CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(ServiceOutage, match=r"tcp://127\.0\.0\.1:9 does not answer"):
        async with open_executor(1, scheduler="tcp://127.0.0.1:9"):
            pass


async def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="'nowhere:at all' is no address"):
        async with open_executor(1, scheduler="nowhere:at all"):
            pass
