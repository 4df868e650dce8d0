"""What does the Opik server know: which traces, and what feedback did people and judges give?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from src.errors import ServiceOutage
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.opik_sink import opik_http
from src.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from src.resilience.outages import retry_after_seconds
from src.resilience.outcomes import Unavailable

if TYPE_CHECKING:
    import httpx

PAGE_SIZE = 100
NOT_FOUND = 404
LOOKBACK = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which traces; what is None does not restrict. ``limit`` counts traces, newest first."""

    agent: str | None = None
    name: str | None = None
    thread_id: str | None = None
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    failed: bool | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FoundFeedback:
    """One score of a trace, or of a span where ``span_id`` is given; ``source`` is ui, sdk or online_scoring."""

    trace_id: str
    span_id: str | None
    agent: str | None
    name: str
    value: float
    reason: str | None
    category: str | None
    source: str
    author: str | None
    given_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """One trace as the server shows it; cost in US dollars."""

    trace_id: str
    name: str | None
    agent: str | None
    started_at: datetime
    ended_at: datetime | None
    thread_id: str | None
    tags: tuple[str, ...]
    input: Any
    output: Any
    metadata: Mapping[str, Any]
    error_type: str | None
    error_message: str | None
    total_tokens: int | None
    total_cost: float | None
    span_count: int | None
    feedback: tuple[FoundFeedback, ...]

    @property
    def failed(self) -> bool:
        """Whether the trace ended with an error."""
        return self.error_type is not None


class OpikQueries:
    """Reads one project of an Opik server; blocking.

    Returns ``Unavailable`` while the server cannot be reached or the breaker is open, and raises ServiceRefused when
    it rejects the question. Raises ConfigError at once for settings without a usable address or key.
    """

    def __init__(
        self,
        settings: OpikSettings,
        *,
        breaker: CircuitBreaker,
        page_size: int = PAGE_SIZE,
        trust_env: bool | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self._project = settings.project_name
        self._page_size = page_size
        self._http = opik_http(settings, breaker=breaker, trust_env=trust_env, client=client)

    def query_traces(self, wanted: TraceFilter | None = None) -> tuple[FoundTrace, ...] | Unavailable:
        """The traces that match, newest first, with their feedback."""
        wanted = wanted or TraceFilter()
        found: list[FoundTrace] = []
        try:
            for row in self._rows("/v1/private/traces", {"filters": filters(wanted)}, wanted.limit):
                found.append(_trace(row))
                if len(found) >= wanted.limit:
                    break
        except ServiceOutage as error:
            return _unavailable(error)
        return tuple(found)

    def query_feedback(
        self, since: datetime, agent: str | None = None, *, lookback: timedelta = LOOKBACK
    ) -> tuple[FoundFeedback, ...] | Unavailable:
        """Feedback given at ``since`` or later, oldest first: by people in the web page, by code, by online judges.

        The server cannot be asked by the time of a score, so traces that began up to ``lookback`` before ``since`` are
        read. ``agent`` is the one of the scored span, or of the scored trace's root.
        """
        try:
            found = list(self._feedback(since - lookback))
        except ServiceOutage as error:
            return _unavailable(error)
        recent = [
            one for one in found if (one.given_at is None or one.given_at >= since) and agent in (None, one.agent)
        ]
        return tuple(sorted(recent, key=lambda one: (one.given_at or since, one.trace_id, one.name)))

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _feedback(self, began: datetime) -> Iterator[FoundFeedback]:
        params = {"filters": filters(TraceFilter(since=began)), "exclude": '["input","output"]'}
        for row in self._rows("/v1/private/traces", params, None):
            yield from _trace(row).feedback
            if row.get("span_feedback_scores"):
                yield from self._span_feedback(row["id"])

    def _span_feedback(self, trace_id: str) -> Iterator[FoundFeedback]:
        params = {"trace_id": trace_id, "exclude": '["input","output"]'}
        for row in self._rows("/v1/private/spans", params, None):
            yield from _feedback_of(row, trace_id=_original(row, "trace_id", trace_id), span_id=row["id"])

    def _rows(self, path: str, params: Mapping[str, str], wanted: int | None) -> Iterator[dict[str, Any]]:
        """Rows of all pages, each once: a row that arrives meanwhile moves others to the next page."""
        seen: set[str] = set()
        size = self._page_size if wanted is None else max(1, min(self._page_size, wanted))
        page = 1
        while True:
            fixed = {"project_name": self._project, "page": str(page), "size": str(size), "strip_attachments": "true"}
            document = self._page(path, fixed | {name: value for name, value in params.items() if value})
            rows = document.get("content") or []
            for row in rows:
                if row["id"] not in seen:
                    seen.add(row["id"])
                    yield row
            if not rows or page * size >= int(document.get("total") or 0):
                return
            page += 1

    def _page(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        response = self._http.call("GET", path, params=params, accept=(NOT_FOUND,))
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise ServiceOutage(
                f"Opik answered {response.status_code} with something that is no JSON; check its address"
            ) from error
        if response.status_code == NOT_FOUND:
            if "project" not in str(document).lower():
                raise ServiceOutage("Opik answered 404: there is no such service at this address")
            return {}  # A project exists from its first trace on.
        if not isinstance(document, dict):
            raise ServiceOutage("Opik answered with something that is no page of results; check its address")
        return document


def filters(wanted: TraceFilter) -> str:
    """The filter as Opik's ``filters`` parameter: a JSON list, all of which must hold; empty for none."""
    conditions = [
        _condition("metadata", "=", wanted.agent, key="agent"),
        _condition("name", "=", wanted.name),
        _condition("thread_id", "=", wanted.thread_id),
        _condition("tags", "contains", wanted.tag),
        _condition("start_time", ">=", _utc(wanted.since)),
        _condition("start_time", "<", _utc(wanted.until)),
    ]
    if wanted.failed is not None:
        conditions.append(_condition("error_info", "is_not_empty" if wanted.failed else "is_empty", ""))
    given = [condition for condition in conditions if condition is not None]
    return orjson.dumps(given).decode() if given else ""


def _condition(field: str, operator: str, value: str | None, *, key: str = "") -> dict[str, str] | None:
    return None if value is None else {"field": field, "key": key, "operator": operator, "value": value}


def _utc(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _trace(row: Mapping[str, Any]) -> FoundTrace:
    metadata = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
    error = row.get("error_info") or {}
    trace_id = _original(row, "trace_id", row["id"])
    return FoundTrace(
        trace_id=trace_id,
        name=row.get("name"),
        agent=(metadata or {}).get("agent"),
        started_at=datetime.fromisoformat(row["start_time"]),
        ended_at=_moment(row.get("end_time")),
        thread_id=row.get("thread_id"),
        tags=tuple(row.get("tags") or ()),
        input=row.get("input"),
        output=row.get("output"),
        metadata=metadata or {},
        error_type=error.get("exception_type"),
        error_message=error.get("message"),
        total_tokens=(row.get("usage") or {}).get("total_tokens"),
        total_cost=row.get("total_estimated_cost"),
        span_count=row.get("span_count"),
        feedback=tuple(_feedback_of(row, trace_id=trace_id, span_id=None)),
    )


def _feedback_of(row: Mapping[str, Any], *, trace_id: str, span_id: str | None) -> Iterator[FoundFeedback]:
    metadata = row.get("metadata")
    agent = metadata.get("agent") if isinstance(metadata, dict) else None
    for score in row.get("feedback_scores") or ():
        # Of several people's scores under one name the server shows the average, and each of them by author.
        by_author = score.get("value_by_author") or {score.get("last_updated_by"): score}
        for author, one in by_author.items():
            yield FoundFeedback(
                trace_id=trace_id,
                span_id=span_id,
                agent=agent,
                name=score["name"],
                value=float(one["value"]),
                reason=one.get("reason"),
                category=one.get("category_name"),
                source=one.get("source") or score["source"],
                author=one.get("author") or author,
                given_at=_moment(one.get("last_updated_at") or score.get("last_updated_at")),
            )


def _original(row: Mapping[str, Any], name: str, otherwise: str) -> str:
    """Our own id, where the mirror had to carry another."""
    metadata = row.get("metadata")
    return str(metadata.get(name, otherwise)) if isinstance(metadata, dict) else otherwise


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _unavailable(error: ServiceOutage) -> Unavailable:
    after = error.retry_after_s if isinstance(error, CircuitOpenError) else retry_after_seconds(error)
    return Unavailable("opik", str(error), after)
