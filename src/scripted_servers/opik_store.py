"""What does an Opik server keep of what it was sent, and what does it answer when asked?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

Row = dict[str, Any]

EPOCH = "1970-01-01T00:00:00Z"
DEFAULT_PROJECT = "Default Project"
_NUMBERS = {"duration", "total_estimated_cost", "llm_span_count", "span_count"}
_TIMES = {"start_time", "end_time", "created_at", "last_updated_at"}
_TEXTS = {"id", "name", "thread_id", "trace_id", "model", "provider", "type", "input", "output"}
_OF_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
}
_OF_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda left, right: right.lower() in left.lower(),
    "not_contains": lambda left, right: right.lower() not in left.lower(),
    "starts_with": lambda left, right: left.lower().startswith(right.lower()),
    "ends_with": lambda left, right: left.lower().endswith(right.lower()),
}


class BadFilter(ValueError):
    """A filter names a field or operator that Opik does not know."""


class OpikStore:
    """Traces, spans and scores; safe across the threads of a server.

    Of all versions of a row the one with the highest ``last_updated_at`` is the row, and of equals the one that came
    last. An update of a row that is not there leaves a partial one, begun in 1970 and updated now: it is newer than
    the record that arrives afterwards, and hides it.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.rows: dict[str, dict[str, Row]] = {"traces": {}, "spans": {}}
        self.scores: dict[str, dict[str, dict[str, dict[str, Row]]]] = {"traces": {}, "spans": {}}
        """kind → id → name → author → score"""
        self.projects: dict[str, Row] = {}

    def now(self) -> str:
        """The server's time."""
        return self._clock().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def upsert(self, kind: str, row: Mapping[str, Any]) -> None:
        """Store one whole record."""
        with self._lock:
            now = self.now()
            self.project(row.get("project_name"))
            version = {"last_updated_at": now, "created_at": now, **row}
            held = self.rows[kind].get(row["id"])
            if held is None or moment(version["last_updated_at"]) >= moment(held["last_updated_at"]):
                self.rows[kind][row["id"]] = version

    def update(self, kind: str, identity: str, changes: Mapping[str, Any]) -> None:
        """Change a row, or leave a partial one where there is none."""
        with self._lock:
            now = self.now()
            self.project(changes.get("project_name"))
            partial = {"id": identity, "start_time": EPOCH, "created_at": now}
            held = self.rows[kind].get(identity, partial)
            self.rows[kind][identity] = {**held, **changes, "last_updated_at": now}

    def score(self, kind: str, score: Mapping[str, Any], author: str) -> None:
        """Store one score; it replaces the author's earlier one of that name."""
        with self._lock:
            self.project(score.get("project_name"))
            by_author = self.scores[kind].setdefault(score["id"], {}).setdefault(score["name"], {})
            now = self.now()
            kept = {key: value for key, value in score.items() if key not in ("id", "project_name", "author")}
            created = by_author.get(author, {}).get("created_at", now)
            by_author[author] = {**kept, "author": author, "created_at": created, "last_updated_at": now}

    def project(self, name: str | None) -> Row:
        """The project of that name, made where there is none."""
        with self._lock:
            shown = name or DEFAULT_PROJECT
            row = {"id": str(uuid5(NAMESPACE_URL, shown)), "name": shown, "created_at": self.now()}
            return self.projects.setdefault(shown, row)

    def shown(self, kind: str, identity: str) -> Row | None:
        """One row as the server answers it, with scores and what is added up from spans."""
        with self._lock:
            row = self.rows[kind].get(identity)
            return None if row is None else self._public(kind, row)

    def found(self, kind: str, project: str, filters: Iterable[Mapping[str, str]], **equal: str) -> list[Row]:
        """Rows of a project that meet all filters, newest id first. Raises BadFilter."""
        conditions = list(filters)
        with self._lock:
            rows = [
                row for row in self.rows[kind].values() if (row.get("project_name") or "Default Project") == project
            ]
            rows = [row for row in rows if all(row.get(name) == value for name, value in equal.items())]
            public = [self._public(kind, row) for row in rows]
        return sorted(
            (row for row in public if all(matches(row, condition) for condition in conditions)),
            key=lambda row: str(row["id"]),
            reverse=True,
        )

    def _public(self, kind: str, row: Row) -> Row:
        # A trace is answered with its project's id only, a span with its name as well.
        public = {key: value for key, value in row.items() if key != "project_name" or kind == "spans"}
        public["project_id"] = self.project(row.get("project_name"))["id"]
        if row.get("end_time"):
            public["duration"] = (moment(row["end_time"]) - moment(row["start_time"])).total_seconds() * 1000
        if scores := self._public_scores(kind, row["id"]):
            public["feedback_scores"] = scores
        return public | (self._sums(row["id"]) if kind == "traces" else {})

    def _public_scores(self, kind: str, identity: str) -> list[Row]:
        return [_summary(name, by_author) for name, by_author in self.scores[kind].get(identity, {}).items()]

    def _sums(self, trace_id: str) -> Row:
        spans = [span for span in self.rows["spans"].values() if span.get("trace_id") == trace_id]
        usage: dict[str, int] = {}
        for span in spans:
            for name, count in (span.get("usage") or {}).items():
                usage[name] = usage.get(name, 0) + count
        sums: Row = {"span_count": len(spans), "llm_span_count": sum(span.get("type") == "llm" for span in spans)}
        if usage:
            sums["usage"] = usage
        if costs := [span["total_estimated_cost"] for span in spans if "total_estimated_cost" in span]:
            sums["total_estimated_cost"] = sum(costs)
        of_spans = [score for span in spans for score in self._public_scores("spans", span["id"])]
        return sums | ({"span_feedback_scores": of_spans} if of_spans else {})


def _summary(name: str, by_author: Mapping[str, Row]) -> Row:
    """What several people said, as Opik shows it: the average, and each one's own."""
    latest = max(by_author.values(), key=lambda score: str(score["last_updated_at"]))
    average = sum(score["value"] for score in by_author.values()) / len(by_author)
    summary = {key: value for key, value in latest.items() if key != "author"}
    summary |= {"name": name, "value": average, "last_updated_by": latest["author"], "created_by": latest["author"]}
    own = {
        author: {key: value for key, value in score.items() if key not in ("name", "created_at")}
        for author, score in by_author.items()
    }
    return summary | {"value_by_author": own}


def matches(row: Row, condition: Mapping[str, str]) -> bool:
    """Whether a row meets one of Opik's filters. Raises BadFilter."""
    field, operator, wanted = condition.get("field", ""), condition.get("operator", ""), condition.get("value", "")
    held = _held(row, field, condition.get("key", ""))
    if operator in ("is_empty", "is_not_empty"):
        return bool(held) == (operator == "is_not_empty")
    if field == "tags":
        return _on_list(held or [], operator, wanted)
    if field in _NUMBERS | {"feedback_scores"} or field.startswith("usage."):
        return held is not None and _on(_OF_NUMBERS, operator)(float(held), float(wanted))
    if field in _TIMES:
        return held is not None and _on(_OF_NUMBERS, operator)(moment(held), moment(wanted))
    text = "" if held is None else str(held)
    return _on(_OF_NUMBERS | _OF_TEXTS, operator)(text, wanted)


def _held(row: Row, field: str, key: str) -> Any:
    if field == "metadata":
        return (row.get("metadata") or {}).get(key)
    if field == "feedback_scores":
        return next((score["value"] for score in row.get(field, ()) if score["name"] == key), None)
    if field.startswith("usage."):
        return (row.get("usage") or {}).get(field.removeprefix("usage."))
    if field in _TEXTS | _TIMES | _NUMBERS | {"tags", "error_info"}:
        return row.get(field)
    raise BadFilter(f"Invalid filter field '{field}'")


def _on_list(held: list[str], operator: str, wanted: str) -> bool:
    contains = any(wanted.lower() in item.lower() for item in held)
    if operator not in ("contains", "not_contains"):
        raise BadFilter(f"Invalid operator '{operator}' for a list")
    return contains == (operator == "contains")


def _on(operators: Mapping[str, Callable[[Any, Any], bool]], operator: str) -> Callable[[Any, Any], bool]:
    if operator not in operators:
        raise BadFilter(f"Invalid operator '{operator}'")
    return operators[operator]


def moment(text: str) -> datetime:
    """A time on the wire. Raises ValueError for one without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"'{text}' has no time zone")
    return at


def is_version_7(text: Any) -> bool:
    """Whether Opik takes ``text`` as an id."""
    try:
        return UUID(str(text)).version == 7
    except ValueError:
        return False
