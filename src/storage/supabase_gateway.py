"""How do rows reach PostgreSQL where only HTTPS gets out? The ``supabase`` adapter of ``TableGateway``.

JSON carries no SQL types, so they are read from the view ``v_column_types`` of the schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

from src.errors import ConfigError, ContractViolation, DatabaseUnavailable, DataUnavailable, UnknownColumn
from src.storage.gateway import Op, OrderBy, Row, Values, Where
from src.storage.where import check_where, refuse_all_rows

TIMEOUT_S = 30.0
TYPES_VIEW = "v_column_types"
# SQLSTATE classes and PostgREST codes for "the server is not there or does not let us in".
_UNAVAILABLE = ("08", "28", "53", "57P", "PGRST0", "PGRST3")
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "timestamp with time zone": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "date": date.fromisoformat,
    "numeric": float,
    "double precision": float,
    "real": float,
    "bigint": int,
    "integer": int,
    "smallint": int,
}


class SupabaseGateway:
    """``TableGateway`` over PostgREST. ``key`` is the project's secret key."""

    def __init__(self, url: str, key: str) -> None:
        try:
            from supabase import AsyncClient, AsyncClientOptions
        except ModuleNotFoundError as error:
            raise ConfigError("the supabase client is not installed: pip install 'e2i[supabase]'") from error
        import httpx

        self._http = httpx.AsyncClient(timeout=TIMEOUT_S)
        # Retries of the client's own hide a dead server for seconds; ours is to say so.
        options = AsyncClientOptions(
            postgrest_client_retry=False, auto_refresh_token=False, persist_session=False, httpx_client=self._http
        )
        self._client = AsyncClient(url, key, options)
        self._types: dict[tuple[str, str], dict[str, str]] = {}

    async def insert(self, table: str, rows: Sequence[Values]) -> list[Row]:
        """Insert all rows or none and return them as stored."""
        if not rows:
            return []
        types = await self._columns(table, [name for row in rows for name in row])
        request = self._client.table(table).insert([dict(row) for row in rows], default_to_null=False)
        return _decode_rows((await self._execute(request, table)).data, types)

    async def upsert(self, table: str, rows: Sequence[Values], *, on_conflict: Sequence[str]) -> list[Row]:
        """Insert, or update the rows whose ``on_conflict`` columns match."""
        if not on_conflict:
            raise ValueError("upsert needs the columns that tell a row (on_conflict)")
        if not rows:
            return []
        types = await self._columns(table, [*on_conflict, *(name for row in rows for name in row)])
        request = self._client.table(table).upsert(
            [dict(row) for row in rows], on_conflict=",".join(on_conflict), default_to_null=False
        )
        return _decode_rows((await self._execute(request, table)).data, types)

    async def select(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[Where] = (),
        order_by: Sequence[OrderBy] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """Rows of a table or view; no columns means all of them.

        Raises DataUnavailable when the server's own row limit cuts the answer short.
        """
        used = [*columns, *(item.column for item in where), *(item.column for item in order_by)]
        types = await self._columns(table, used)
        request = self._client.table(table).select(*(columns or ["*"]), count="exact")
        if not _filter(request, where):
            return []
        for item in order_by:
            request = request.order(item.column, desc=item.descending)
        if limit is not None:
            request = request.limit(limit)
        answer = await self._execute(request, table)
        expected = answer.count if limit is None else min(limit, answer.count or 0)
        if expected is not None and len(answer.data) < expected:
            raise DataUnavailable(
                f"{table}: the server gave {len(answer.data)} of {expected} rows (its row limit); "
                "ask for fewer or raise max-rows there"
            )
        return _decode_rows(answer.data, types)

    async def update(self, table: str, values: Values, *, where: Sequence[Where]) -> list[Row]:
        """Update matching rows and return them; an empty ``where`` is refused (ValueError)."""
        refuse_all_rows("update", where)
        if not values:
            raise ValueError("update needs at least one value")
        types = await self._columns(table, [*values, *(item.column for item in where)])
        request = self._client.table(table).update(dict(values))
        if not _filter(request, where):
            return []
        return _decode_rows((await self._execute(request, table)).data, types)

    async def delete(self, table: str, *, where: Sequence[Where]) -> int:
        """Delete matching rows and return how many; an empty ``where`` is refused (ValueError)."""
        refuse_all_rows("delete", where)
        await self._columns(table, [item.column for item in where])
        request = self._client.table(table).delete()
        if not _filter(request, where):
            return 0
        return len((await self._execute(request, table)).data)

    async def call(self, function: str, arguments: Values) -> Any:
        """Call a database function by named arguments and return its value (a list for set-returning ones)."""
        types = await self._read_types("function", function)
        if not types:
            raise ContractViolation(f"function '{function}' is not in the database; see `e2i db migrate --status`")
        answer = await self._execute(self._client.rpc(function, dict(arguments)), function)
        value_type = types.get("")
        if value_type is None:
            return _decode_rows(answer.data, types) if isinstance(answer.data, list) else _decode(answer.data, types)
        if value_type == "void":
            return None
        if isinstance(answer.data, list) and value_type not in ("json", "jsonb") and not value_type.endswith("[]"):
            return [_decode_value(value, value_type) for value in answer.data]
        return _decode_value(answer.data, value_type)

    async def close(self) -> None:
        """Release connections."""
        await self._http.aclose()

    async def _columns(self, table: str, used: Sequence[str]) -> dict[str, str]:
        types = self._types.get(("relation", table), {})
        if not types or any(name not in types for name in used):
            types = await self._read_types("relation", table)
        if not types:
            raise ContractViolation(f"table '{table}' is not in the database; see `e2i db migrate --status`")
        for name in used:
            if name not in types:
                raise UnknownColumn(name, list(types), role=f"column of {table}")
        return types

    async def _read_types(self, kind: str, name: str) -> dict[str, str]:
        request = self._client.table(TYPES_VIEW).select("column_name,type_name").eq("kind", kind).eq("name", name)
        rows = (await self._execute(request, TYPES_VIEW)).data
        types = self._types[kind, name] = {row["column_name"]: row["type_name"] for row in rows}
        return types

    async def _execute(self, request: Any, subject: str) -> Any:
        import httpx
        from postgrest.exceptions import APIError

        try:
            return await request.execute()
        except httpx.TransportError as error:
            place = self._client.rest_url.host
            raise DatabaseUnavailable(f"{place} cannot be reached: {error or type(error).__name__}") from error
        except APIError as error:
            code, message = str(error.code or ""), " ".join(str(error.message or "no message").split())
            if code.startswith(_UNAVAILABLE) or (code.isdigit() and len(code) == 3):
                raise DatabaseUnavailable(f"the server answered {code}: {message}") from error
            raise ContractViolation(f"{subject}: {message}") from error


def _filter(request: Any, where: Sequence[Where]) -> bool:
    """Add the conditions to a request; False when one of them can match nothing."""
    for item in where:
        check_where(item)
        if item.op is Op.IN:
            if not item.value:
                return False
            request.filter(item.column, "in", _listed(item.value))
        elif item.op in (Op.EQ, Op.NE) and isinstance(item.value, str):
            # As a list of one the text is quoted: bare, not every server takes "null" or outer blanks literally.
            request.filter(item.column, "in" if item.op is Op.EQ else "not.in", _listed([item.value]))
        elif item.op is Op.IS:
            request.is_(item.column, {None: "null", True: "true", False: "false"}[item.value])
        elif item.op is Op.LIKE and "*" in str(item.value):
            raise ValueError("over HTTP '*' in a pattern means '%'; a literal '*' cannot be matched")
        else:
            request.filter(item.column, item.op.value, _filter_text(item.value))
    return True


def _listed(values: Sequence[Any]) -> str:
    """List operand of PostgREST, every element quoted so that it is taken literally."""
    texts = (_filter_text(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "(" + ",".join(f'"{text}"' for text in texts) + ")"


def _filter_text(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool | dict | list):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def _decode_rows(rows: Any, types: Mapping[str, str]) -> list[Row]:
    return [_decode(row, types) for row in cast("list[Row]", rows)]


def _decode(row: Row, types: Mapping[str, str]) -> Row:
    return {name: _decode_value(value, types.get(name, "text")) for name, value in row.items()}


def _decode_value(value: Any, type_name: str) -> Any:
    if value is None:
        return None
    element = type_name.removesuffix("[]")
    decode = _DECODERS.get(element)
    if decode is None:
        return value
    if element != type_name:
        return [None if item is None else decode(item) for item in value]
    return decode(value)
