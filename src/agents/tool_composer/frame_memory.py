"""Which frames of earlier questions are still at hand, and how many of them are held?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

MOST_BYTES = 512 * 1024 * 1024
"""Of memory for frames that are held: some twenty panels of 100,000 rows."""

Version = Callable[[str], Awaitable[str]]
"""The hash of what a dataset holds now. Raises DatasetNotFound."""


@dataclass(frozen=True)
class Rows:
    """A frame without the columns nobody of this role sees, and how it was obtained.

    ``whole`` are the rows it was narrowed from: what is too small to be shown is decided on all of them.
    """

    frame: pd.DataFrame
    query: Mapping[str, Any]
    whole: pd.DataFrame


@dataclass
class FrameMemory:
    """Frames by what they were made from, for all questions of a process; those used longest ago are let go first.

    ``version`` says what a dataset holds now: other content is another key, so nothing old is ever told as new. For
    one event loop. Nobody changes a frame that is held.
    """

    version: Version
    most_bytes: int = MOST_BYTES
    _held: OrderedDict[Hashable, tuple[Rows, int]] = field(default_factory=OrderedDict)

    @property
    def held_bytes(self) -> int:
        """Memory of all that is held; a text that stands in many cells is counted as the pointers to it."""
        return sum(size for _, size in self._held.values())

    def find(self, key: Hashable) -> Rows | None:
        """The rows of that key, if they are still held."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def hold(self, key: Hashable, rows: Rows) -> None:
        """Hold rows; those that would take more than half of the room are not held."""
        size = int(rows.frame.memory_usage(index=True).sum())
        if size > self.most_bytes // 2:
            return
        self._held[key] = (rows, size)
        while self.held_bytes > self.most_bytes:
            self._held.popitem(last=False)
