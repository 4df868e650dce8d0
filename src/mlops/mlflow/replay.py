"""What waits in the spool, and how does it reach the store exactly once?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from src.errors import ServiceOutage
from src.mlops.mlflow.abandoned import WHY_KILLED
from src.mlops.mlflow.calls import StoreCalls
from src.mlops.mlflow.failures import StoreRefused
from src.mlops.mlflow.journal import CREATED, DELIVERED, Entry, Journal, Spool
from src.mlops.mlflow.results import ReplayReport, RunStatus
from src.mlops.mlflow.writing import create_run, ensure_experiment, find_run, write_entry

_POLL_S = 0.05


async def replay(spool: Spool, calls: StoreCalls, *, wait: bool = True) -> ReplayReport:
    """Deliver every journal, oldest run first; stops at the first outage and says what still waits.

    May be killed anywhere and repeated: runs and models are looked up before they are made, and all other
    writes have no effect the second time. One process replays at a time; with ``wait`` the others wait for it.
    """
    while True:
        with spool.replaying() as may:
            if may:
                return await _Replay(spool, calls).all()
        if not wait:
            return ReplayReport(pending=await asyncio.to_thread(pending_entries, spool), reason="a replay is running")
        await asyncio.sleep(_POLL_S)


def pending_entries(spool: Spool) -> int:
    """Entries that wait for the store."""
    return sum(spool.read(key).pending for key in spool.keys())  # noqa: SIM118 - a spool is no mapping


class _Replay:
    """One pass over the spool."""

    def __init__(self, spool: Spool, calls: StoreCalls) -> None:
        self._spool = spool
        self._calls = calls
        self._report = ReplayReport()

    async def all(self) -> ReplayReport:
        try:
            for journal in await asyncio.to_thread(self._journals):
                self._report = replace(self._report, damaged_lines=self._report.damaged_lines + journal.damaged)
                await self._one(journal)
        except ServiceOutage as outage:
            self._report = replace(self._report, reason=str(outage))
        return replace(self._report, pending=await asyncio.to_thread(pending_entries, self._spool))

    def _journals(self) -> list[Journal]:
        """Experiments before runs, parents before their children."""
        found = [self._spool.read(key) for key in self._spool.keys()]  # noqa: SIM118 - a spool is no mapping
        return sorted(found, key=lambda j: (j.start is not None or j.run_id is not None, _opened_at(j)))

    async def _one(self, journal: Journal) -> None:
        if journal.entries and journal.entries[0]["kind"] == "experiment":
            await self._experiment(journal)
            return
        run_id = journal.run_id or await self._created(journal)
        if run_id is not None:
            await self._deliver(journal, run_id)

    async def _experiment(self, journal: Journal) -> None:
        for entry in journal.entries:
            await self._try(journal.key, entry, None)
        await asyncio.to_thread(self._spool.settle, journal.key, len(journal.entries), "")

    async def _created(self, journal: Journal) -> str | None:
        start = journal.start
        if start is None:
            await self._refuse_all(journal, "the entry that opened the run is missing")
            return None
        try:
            parent = await self._parent(start)
            run = await self._calls.read(lambda client: create_run(client, start, parent, again=True))
        except StoreRefused as refusal:
            await self._refuse_all(journal, str(refusal))
            return None
        run_id = str(run.info.run_id)
        await asyncio.to_thread(self._spool.mark, journal.key, {"kind": CREATED, "run_id": run_id})
        self._report = replace(self._report, runs=self._report.runs + 1)
        return run_id

    async def _parent(self, start: Entry) -> str | None:
        parent = start["parent"]
        if parent is None:
            return None
        if parent["run_id"] is not None:
            return str(parent["run_id"])

        def search(client: object) -> str | None:
            wanted = parent["experiment"]
            experiment_id = (
                parent["experiment_id"]
                or ensure_experiment(client, wanted["name"], wanted["tags"], wanted["artifact_location"]).experiment_id
            )
            found = find_run(client, experiment_id, parent["local_id"])
            return None if found is None else str(found.info.run_id)

        return await self._calls.read(search)

    async def _deliver(self, journal: Journal, run_id: str) -> None:
        done = journal.delivered
        while True:
            for entry in journal.entries[done:]:
                await self._try(journal.key, entry, run_id)
                done += 1
                await asyncio.to_thread(self._spool.mark, journal.key, {"kind": DELIVERED, "count": done})
            left = await asyncio.to_thread(self._spool.settle, journal.key, done, run_id)
            if left in ("done", "live"):
                self._report = replace(self._report, run_ids={**self._report.run_ids, journal.key: run_id})
            if left == "abandoned":
                await asyncio.to_thread(self._spool.append, journal.key, _death(journal))
            elif left != "more":
                return
            journal = await asyncio.to_thread(self._spool.read, journal.key)

    async def _try(self, key: str, entry: Entry, run_id: str | None) -> None:
        if entry["kind"] == "start":
            return
        file = self._spool.folder / entry["file"] if "file" in entry else None
        try:
            await self._calls.read(lambda client: _write(client, entry, run_id, file))
        except StoreRefused as refusal:
            await self._refuse(key, entry, str(refusal))
        else:
            self._report = replace(self._report, entries=self._report.entries + 1)

    async def _refuse(self, key: str, entry: Entry, reason: str) -> None:
        await asyncio.to_thread(self._spool.refuse, key, entry, reason)
        self._report = replace(self._report, refused=self._report.refused + 1)

    async def _refuse_all(self, journal: Journal, reason: str) -> None:
        for entry in journal.entries:
            await self._refuse(journal.key, entry, reason)
        await asyncio.to_thread(self._spool.discard, journal.key)


def _write(client: object, entry: Entry, run_id: str | None, file: Path | None) -> None:
    if run_id is None:
        ensure_experiment(client, entry["name"], entry["tags"], entry["artifact_location"])
    else:
        write_entry(client, run_id, entry, file, again=True)


def _opened_at(journal: Journal) -> int:
    return int(journal.entries[0]["at"]) if journal.entries else 0


def _death(journal: Journal) -> Entry:
    """A process that died could not say how its run ended; its last sign of life is when it ended."""
    return {
        "kind": "end",
        "at": journal.last_at or time.time_ns() // 1_000_000,
        "status": RunStatus.KILLED.stored,
        "tags": WHY_KILLED,
    }
