"""Which evaluations of answers were made, over which samples, and what came out?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import Json

DATASETS = "rag_evaluation_datasets"
RUNS = "rag_evaluation_runs"
SCORES = "rag_evaluation_scores"


class RagEvaluationRepository:
    """Writes and reads ``rag_evaluation_datasets``, ``rag_evaluation_runs`` and ``rag_evaluation_scores``.

    Rows are given and come as the tables have them. A run without aggregates has not ended.
    """

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add_dataset(self, dataset_hash: str, name: str, samples: Sequence[Json]) -> None:
        """Keep a version of a dataset; a version that is there stays as it is."""
        if await self.dataset(dataset_hash) is not None:
            return
        row = {"dataset_hash": dataset_hash, "name": name, "samples": list(samples), "sample_count": len(samples)}
        # Two runs may begin with a new version at once: the second writes the same.
        await self._gateway.upsert(DATASETS, [row], on_conflict=["dataset_hash"])

    async def dataset(self, dataset_hash: str) -> Row | None:
        """A version of a dataset, None when there is none of that hash."""
        found = await self._gateway.select(DATASETS, where=[Where("dataset_hash", dataset_hash)])
        return found[0] if found else None

    async def begin(self, run: Mapping[str, Any]) -> None:
        """Keep a run that begins; its dataset is there. Beginning it again changes nothing that came out."""
        if await self.run(run["run_id"]) is None:
            unknown = {"aggregates": {}, "all_thresholds_passed": False, "duration_seconds": 0.0}
            await self._gateway.insert(RUNS, [{**unknown, **run}])

    async def add_scores(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep results of a run; a sample scored again replaces its result."""
        if rows:
            await self._gateway.upsert(SCORES, rows, on_conflict=["run_id", "sample_id"])

    async def finish(self, run_id: str, outcome: Mapping[str, Any]) -> None:
        """Keep what came out of a run."""
        await self._gateway.update(RUNS, outcome, where=[Where("run_id", run_id)])

    async def run(self, run_id: str) -> Row | None:
        """A run, None when there is none of that id."""
        found = await self._gateway.select(RUNS, where=[Where("run_id", run_id)])
        return found[0] if found else None

    async def runs(self, dataset_hash: str | None = None, *, limit: int = 50) -> list[Row]:
        """The newest runs, of one version of a dataset where given."""
        where = [] if dataset_hash is None else [Where("dataset_hash", dataset_hash)]
        return await self._gateway.select(RUNS, where=where, order_by=[OrderBy("started_at", True)], limit=limit)

    async def scores(self, run_id: str) -> list[Row]:
        """The results of a run by sample id."""
        return await self._gateway.select(SCORES, where=[Where("run_id", run_id)], order_by=[OrderBy("sample_id")])
