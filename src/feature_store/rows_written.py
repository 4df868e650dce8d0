"""May a write to the online store still go on?

A thread cannot be ended from outside. Whoever gives up waiting for one closes its ticket; the thread asks before
each slice that it writes.
"""

from __future__ import annotations

import threading

SLICE_ROWS = 5_000  # a closed ticket is noticed after at most as many rows


class TicketClosed(Exception):
    """A write was refused: whoever asked for it has given up waiting."""


class WriteTicket:
    """Permission to write, until it is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def close(self) -> None:
        """Refuse every further slice."""
        self._closed.set()

    def check(self) -> None:
        """Raise TicketClosed where the write was given up."""
        if self._closed.is_set():
            raise TicketClosed("the write was given up")
