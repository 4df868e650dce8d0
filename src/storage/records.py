"""What is kept about a dataset and about an analysis run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """One catalogue row. ``kind`` is file, synthetic or table; ``columns`` maps name to dtype.

    ``content_sha256`` is over the stored Parquet bytes (files, synthetic) or over the rows in key
    order (tables). ``declared`` is what the source itself says about cause and effect: graph,
    treatment, outcome, confounders, panel keys (empty when it says nothing).
    """

    dataset_id: str
    name: str
    kind: str
    source: str
    content_sha256: str
    n_rows: int
    columns: dict[str, str]
    created_at: datetime
    path: str | None
    declared: Json


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One causal question as asked, what it ran on and what it answered.

    ``status`` is running, completed or failed. ``queries`` lists how rows were obtained
    (dataset, filters, rows before and after). ``versions`` are those of the libraries that
    touch the numbers. ``analysis`` is the JSON form of ``causal_engine.results.Analysis``.
    """

    run_id: str
    trace_id: str
    question: str
    understood: Json
    request: Json
    request_sha256: str
    dataset_id: str
    data_sha256: str
    code_version: str
    random_state: int
    versions: dict[str, str]
    queries: list[Json]
    status: str
    verdict: str | None
    analysis: Json | None
    error_type: str | None
    error_message: str | None
    started_at: datetime
    ended_at: datetime | None
