"""How do records get into PostgreSQL? COPY of the encoded records, then one INSERT per table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from src.errors import ServiceOutage
from src.mlops.tracing.records import Record, RecordRefused
from src.resilience.circuit_breaker import CircuitBreaker

SPAN_COLUMNS = {
    "trace_id": "text",
    "span_id": "text",
    "parent_span_id": "text",
    "agent_name": "agent_name_enum",
    "agent_tier": "agent_tier_enum",
    "operation_type": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "duration_ms": "double precision",
    "model_name": "text",
    "input_tokens": "bigint",
    "output_tokens": "bigint",
    "total_tokens": "bigint",
    "total_cost": "double precision",
    "status": "text",
    "error_type": "text",
    "error_message": "text",
    "fallback_used": "boolean",
    "fallback_chain": "jsonb",
    "attributes": "jsonb",
    "prompt_versions": "jsonb",
    "user_id": "text",
    "session_id": "text",
}
FEEDBACK_COLUMNS = {
    "feedback_id": "uuid",
    "trace_id": "text",
    "span_id": "text",
    "name": "text",
    "value": "double precision",
    "reason": "text",
    "category": "text",
    "source": "text",
    "recorded_at": "timestamptz",
}
METRIC_COLUMNS = {
    "metric_id": "uuid",
    "trace_id": "text",
    "span_id": "text",
    "name": "text",
    "value": "double precision",
    "metadata": "jsonb",
    "recorded_at": "timestamptz",
}
_TARGETS = (
    ("s", "ml_observability_spans", SPAN_COLUMNS, "(trace_id, span_id)"),
    ("f", "ml_observability_feedback", FEEDBACK_COLUMNS, "(feedback_id)"),
    ("m", "ml_observability_metrics", METRIC_COLUMNS, "(metric_id)"),
)

# A server that stopped answering is given up after half a minute, so that the records go on waiting visibly.
_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "e2i-spans",
    "prepare_threshold": None,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# Inside the transaction: behind a pooler the next one may run on another connection.
_PREPARED = (
    "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning; "
    "CREATE TEMP TABLE IF NOT EXISTS incoming (kind text, record json) ON COMMIT DELETE ROWS"
)

# Errors of the records themselves: values, constraints, and sizes that PostgreSQL cannot hold. Everything else it
# says is an outage, and the records wait.
_REFUSALS = ("22", "23", "54")


class DatabaseSink:
    """Stores records in PostgreSQL, each once; the primary sink.

    ``address`` gives the PostgreSQL URL for every new connection. Written by one thread at a time.
    """

    name = "database"
    primary = True
    # A transaction costs more than its rows: a backlog is stored in up to ten batches at once.
    backlog_batches = 10

    def __init__(self, address: Callable[[], str], breaker: CircuitBreaker) -> None:
        self._address = address
        self._breaker = breaker
        self._connection: Any = None
        self._owner = 0

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker every batch passes."""
        return self._breaker

    def deliver(self, records: Sequence[Record]) -> None:
        """Store ``records`` in one transaction. Raises RecordRefused, ServiceOutage or CircuitOpenError."""
        self._breaker.call(lambda: self._store(records))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None and self._owner == os.getpid():
            connection.close()

    def _store(self, records: Sequence[Record]) -> None:
        import psycopg

        connection = self._connected()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(_PREPARED)
                with cursor.copy("COPY pg_temp.incoming (kind, record) FROM STDIN") as copy:
                    copy.write(b"".join(map(_copy_line, records)))
                for kind in {record.kind.value for record in records}:
                    cursor.execute(_STATEMENTS[kind])
        except psycopg.Error as error:
            if error.sqlstate is not None and error.sqlstate.startswith(_REFUSALS):
                raise RecordRefused(_first_line(error)) from error
            self.close()
            raise ServiceOutage(f"the database does not take spans: {_first_line(error)}") from error

    def _connected(self) -> Any:
        import psycopg

        if self._connection is None or self._connection.closed or self._owner != os.getpid():
            try:
                self._connection = psycopg.connect(self._address(), **_CONNECTION)
            except Exception as error:  # whatever keeps us from connecting, it is nothing about the records
                raise ServiceOutage(f"the database cannot be reached for spans: {_first_line(error)}") from error
            self._owner = os.getpid()
        return self._connection


def _statement(kind: str, table: str, columns: dict[str, str], key: str) -> str:
    names = ", ".join(columns)
    values = ", ".join(f"r.{name}" if "enum" not in kind_ else f"r.{name}::{kind_}" for name, kind_ in columns.items())
    typed = ", ".join(f"{name} {'text' if 'enum' in kind_ else kind_}" for name, kind_ in columns.items())
    return (
        f"INSERT INTO {table} ({names}) SELECT {values} FROM pg_temp.incoming AS i, "
        f"json_to_record(i.record) AS r ({typed}) WHERE i.kind = '{kind}' ON CONFLICT {key} DO NOTHING"
    )


_STATEMENTS = {kind: _statement(kind, table, columns, key) for kind, table, columns, key in _TARGETS}


def _copy_line(record: Record) -> bytes:
    return record.kind.value.encode() + b"\t" + record.body.replace(b"\\", b"\\\\") + b"\n"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip()[:300] if lines else type(error).__name__
