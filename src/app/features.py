"""What can be asked of the feature store? One open client per command, and never an answer that was not read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from src.app.feature_requests import key_parts, moment_from
from src.app.tracing import traced_database
from src.contracts.coercion import read_times
from src.contracts.feature_views import get_feature_view
from src.errors import ContractViolation, DataUnavailable
from src.feature_store.feast_client import FeastClient
from src.feature_store.portions import EARLIEST
from src.feature_store.repository import EVENT_COLUMN, ApplySummary
from src.feature_store.requests import parse_refs, views_of
from src.mlops.quality.alerts import DataQualityAlerter
from src.resilience.outcomes import Unavailable
from src.storage.database import Database

if TYPE_CHECKING:
    import pandas as pd

    from src.feature_store.materialization import Progress
    from src.feature_store.results import FeatureFreshness, MaterializationResult

T = TypeVar("T")
Step = Callable[[str], None]
Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was registered."""

    summary: ApplySummary

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self.summary)

    def line(self) -> str:
        """One line for people."""
        views = self.summary.views
        told = [
            f"{kind} {what}: {', '.join(names)}"
            for kind, changes in (("views", views), ("entities", self.summary.entities))
            for what in ("added", "changed", "removed")
            if (names := getattr(changes, what))
        ]
        known = len(views.added) + len(views.changed) + len(views.unchanged)
        left_out = [f"{name} {rows:,}" for name, rows in self.summary.left_out.items()]
        rest = f"; rows left out for want of a time: {', '.join(left_out)}" if left_out else ""
        return f"{known} feature views registered; {'; '.join(told) or 'nothing has changed'}{rest}"


@dataclass(frozen=True, slots=True)
class MaterializationRequest:
    """Views (none: all) and the event times (UTC) to carry over; ``start`` None: from the beginning."""

    views: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    from_scratch: bool
    incremental: bool

    @classmethod
    def checked(
        cls, views: Sequence[str], *, start: str | None, end: str | None, from_scratch: bool, incremental: bool
    ) -> MaterializationRequest:
        """From the words of a command.

        Raises UnknownFeature with the nearest names, ContractViolation for times that are none or options
        that contradict each other.
        """
        if incremental and (start is not None or from_scratch):
            raise ContractViolation("--incremental goes on from the last time: leave out --start and --from-scratch")
        return cls(
            views=tuple(get_feature_view(name).name for name in dict.fromkeys(views)),
            start=None if start is None else moment_from(start, "--start"),
            end=None if end is None else moment_from(end, "--end"),
            from_scratch=from_scratch,
            incremental=incremental,
        )


@asynccontextmanager
async def feature_client(database: Database) -> AsyncIterator[FeastClient]:
    """The feature store over ``database``, closed at the end; stale views are told to the shared alerter."""
    client = FeastClient(database=database, alerts=DataQualityAlerter())
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _opened(on_progress: Step) -> AsyncIterator[FeastClient]:
    on_progress("opening the database")
    async with traced_database() as database, feature_client(database) as client:
        on_progress("loading Feast")
        yield client


def answered(answer: T | Unavailable) -> T:
    """The answer; raises DataUnavailable when there is none."""
    if isinstance(answer, Unavailable):
        raise DataUnavailable(f"{answer.component} is not available: {answer.reason}")
    return answer


async def apply_views(*, on_progress: Step = lambda _: None) -> Applied:
    """Register the feature repository. Raises ConfigError, DataUnavailable, DatabaseUnavailable."""
    async with _opened(on_progress) as client:
        return Applied(answered(await client.apply()))


async def materialize_views(
    request: MaterializationRequest, *, on_progress: Report = lambda step, share: None
) -> MaterializationResult:
    """Carry values into the online store.

    Raises MaterializationFailed (the failed job is recorded), ContractViolation for a window that cannot be,
    DataUnavailable.
    """

    def told(done: Progress) -> None:
        share = done.rows / done.total if done.total else 1.0
        on_progress(f"{done.feature_view}: {done.rows:,} of {done.total:,} rows", share)

    views = request.views or None
    async with _opened(lambda step: on_progress(step, 0.0)) as client:
        if request.incremental:
            return answered(await client.materialize_incremental(request.end, views, on_progress=told))
        start, end = request.start or EARLIEST, request.end or datetime.now(UTC)
        return answered(
            await client.materialize(start, end, views, on_progress=told, from_scratch=request.from_scratch)
        )


async def freshness_of(views: Sequence[str], *, on_progress: Step = lambda _: None) -> tuple[FeatureFreshness, ...]:
    """The age of ``views`` (none: of all that are registered). Raises UnknownFeature, DataUnavailable."""
    names = [get_feature_view(name).name for name in dict.fromkeys(views)]
    async with _opened(on_progress) as client:
        if names:
            return tuple([answered(await client.get_feature_freshness(name)) for name in names])
        return tuple(answered(await client.get_all_freshness()).values())


async def online_values(
    rows: Sequence[dict[str, str]], references: Sequence[str], *, on_progress: Step = lambda _: None
) -> list[dict[str, Any]]:
    """Per entity its ``keys``, ``values`` by reference and ``event_times`` by view; None where there is no value.

    ``expired`` says by view whether the value is older than its view's time to live: history has none then.
    """
    refs = parse_refs(references)
    async with _opened(on_progress) as client:
        found = answered(await client.get_online_features(rows, references))
    now = datetime.now(UTC)
    return [
        {
            "keys": {name: values[i] for name, values in found.keys.items()},
            "values": {ref.feast_name: found.values[ref.full_name][i] for ref in refs},
            "event_times": {view: times[i] for view, times in found.event_times.items()},
            "expired": {view: _expired(view, times[i], now) for view, times in found.event_times.items()},
        }
        for i in range(len(found))
    ]


def _expired(view: str, at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at > timedelta(days=get_feature_view(view).ttl_days)


async def write_history(
    entities: Path, references: Sequence[str], out: Path, *, force: bool, on_progress: Step = lambda _: None
) -> dict[str, Any]:
    """Join features to the rows of ``entities`` as they were known at ``event_timestamp``, and write ``out``.

    Raises UnreadableFile, ContractViolation for missing keys or times that are none, DataUnavailable.
    """
    import asyncio

    from src.storage.export import check_target, write_export

    check_target(out, force=force)
    frame = await asyncio.to_thread(read_entities, entities, references)
    async with _opened(on_progress) as client:
        on_progress("joining")
        joined = answered(await client.get_historical_features(frame, references))
    table = _exported(joined, references)
    rows = await write_export(_batches(table), table.schema, out, force=force)
    return {"rows": rows, "columns": table.column_names, "file": str(out)}


def read_entities(path: Path, references: Sequence[str]) -> pd.DataFrame:
    """A file of keys (as text) and ``event_timestamp``; a time without zone is UTC, a day its midnight.

    Raises UnreadableFile, and ContractViolation naming the first time that is none.
    """
    from src.storage.csv_blocks import read_text_blocks
    from src.storage.csv_layout import inspect_csv
    from src.storage.tabular import is_parquet, read_table

    keys = {part for view in views_of(parse_refs(references)) for part in (view.join_key.join_key, *key_parts(view))}
    frame = _frame(read_table(path).batches)
    if not is_parquet(path):
        # A key such as 007 is a text, whatever it looks like.
        texts = _frame(read_text_blocks(inspect_csv(path)))
        frame = frame.assign(**{name: texts[name] for name in (keys | {EVENT_COLUMN}) & set(texts.columns)})
    if EVENT_COLUMN in frame.columns:
        frame[EVENT_COLUMN] = _times(path, frame[EVENT_COLUMN])
    return frame


def _frame(batches: Iterable[Any]) -> pd.DataFrame:
    import pandas as pd

    parts = [batch.to_pandas(date_as_object=False) for batch in batches]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _times(path: Path, values: pd.Series[Any]) -> pd.Series[Any]:
    read = read_times(values)
    wrong = values.notna() & read.isna()
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        raise ContractViolation(
            f"{path}: row {place + 1}: '{str(values.iloc[place])[:40]}' in {EVENT_COLUMN} is no time like "
            "2026-03-01T08:00Z"
        )
    return read


def _exported(frame: pd.DataFrame, references: Sequence[str]) -> Any:
    """The frame with the declared types of its features, also where every value is missing."""
    import pyarrow as pa

    kinds = {
        "String": pa.string(),
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "Bool": pa.bool_(),
        "UnixTimestamp": pa.timestamp("us", "UTC"),
        "Array(String)": pa.list_(pa.string()),
    }
    types = {
        ref.full_name: kinds[field.value_type]
        for ref in parse_refs(references)
        for field in ref.view.fields
        if field.name == ref.feature
    }
    types[EVENT_COLUMN] = pa.timestamp("us", "UTC")
    inferred = pa.Schema.from_pandas(frame, preserve_index=False)
    plain = [pa.string() if pa.types.is_null(field.type) else field.type for field in inferred]
    named = [(name, types.get(name, kind)) for name, kind in zip(inferred.names, plain, strict=True)]
    return pa.Table.from_pandas(frame, schema=pa.schema(named), preserve_index=False, safe=False)


async def _batches(table: Any) -> AsyncIterator[Any]:
    for batch in table.to_batches(max_chunksize=20_000):
        yield batch
