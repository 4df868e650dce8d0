"""How does the rest of E2I talk to tables, whatever carries the calls?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

Row = dict[str, Any]
Values = Mapping[str, Any]


class Op(StrEnum):
    """Comparison of a column with a value; IN takes a sequence, IS takes None, True or False."""

    EQ = "eq"
    NE = "neq"
    LT = "lt"
    LE = "lte"
    GT = "gt"
    GE = "gte"
    IN = "in"
    IS = "is"
    LIKE = "like"


@dataclass(frozen=True, slots=True)
class Where:
    """One condition; several are joined by AND."""

    column: str
    value: Any
    op: Op = Op.EQ


@dataclass(frozen=True, slots=True)
class OrderBy:
    column: str
    descending: bool = False


class TableGateway(Protocol):
    """Rows in, rows out. Two adapters: psycopg and the supabase client; one contract suite for both.

    Values are Python objects: UUIDs and enums as text, json columns as dict/list, timestamptz as
    UTC-aware datetime, date as date, numeric as float. Unknown tables or columns and violated
    constraints raise ContractViolation; an unreachable server raises DatabaseUnavailable.
    """

    async def insert(self, table: str, rows: Sequence[Values]) -> list[Row]:
        """Insert all rows or none and return them as stored."""
        ...

    async def upsert(self, table: str, rows: Sequence[Values], *, on_conflict: Sequence[str]) -> list[Row]:
        """Insert, or update the rows whose ``on_conflict`` columns match."""
        ...

    async def select(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[Where] = (),
        order_by: Sequence[OrderBy] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """Rows of a table or view; no columns means all of them."""
        ...

    async def update(self, table: str, values: Values, *, where: Sequence[Where]) -> list[Row]:
        """Update matching rows and return them; an empty ``where`` is refused (ValueError)."""
        ...

    async def delete(self, table: str, *, where: Sequence[Where]) -> int:
        """Delete matching rows and return how many; an empty ``where`` is refused (ValueError)."""
        ...

    async def call(self, function: str, arguments: Values) -> Any:
        """Call a database function by named arguments and return its value (a list for set-returning ones)."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
