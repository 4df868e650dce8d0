"""How many rows did Feast hand to the online store, and may it still write?

Feast's local engine reports neither. Every write of a store goes through ``WriteTicket`` while one is open
in the calling thread; without one the store behaves as before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from src.feature_store.portions import key_text

SLICE_ROWS = 5_000  # a closed ticket is noticed after at most as many rows
_current: ContextVar[WriteTicket | None] = ContextVar("write_ticket", default=None)


class TicketClosed(Exception):
    """A write was refused: whoever asked for it has given up waiting."""


class WriteTicket:
    """Permission to write the rows of ``keys`` and nothing else; counts them."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys
        self._closed = threading.Event()
        self.rows = 0

    def close(self) -> None:
        """Refuse every further slice."""
        self._closed.set()

    def admitted(self, data: list[Any]) -> Iterator[list[Any]]:
        """The rows that may be written, in slices. Raises TicketClosed."""
        wanted = [row for row in data if _key_of(row[0]) in self._keys]
        for first in range(0, len(wanted), SLICE_ROWS):
            if self._closed.is_set():
                raise TicketClosed("the write was given up")
            rows = wanted[first : first + SLICE_ROWS]
            yield rows
            self.rows += len(rows)


@contextmanager
def ticketed(online_store: Any, ticket: WriteTicket) -> Iterator[None]:
    """Writes of this thread to ``online_store`` go through ``ticket`` inside the block."""
    _count_writes(online_store)
    token = _current.set(ticket)
    try:
        yield
    finally:
        _current.reset(token)


_wrapping = threading.Lock()


def _count_writes(online_store: Any) -> None:
    with _wrapping:
        write = online_store.online_write_batch
        if getattr(write, "is_ticketed", False):
            return

        def online_write_batch(config: Any, table: Any, data: list[Any], progress: Any) -> None:
            ticket = _current.get()
            for rows in [data] if ticket is None else ticket.admitted(data):
                write(config, table, rows, progress)

        online_write_batch.is_ticketed = True  # type: ignore[attr-defined]
        online_store.online_write_batch = online_write_batch


def _key_of(entity_key: Any) -> str:
    return key_text([getattr(value, value.WhichOneof("val")) for value in entity_key.entity_values])
