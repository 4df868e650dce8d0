"""Where do trace and span ids come from? UUID version 7 (RFC 9562), time-ordered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from uuid import UUID


def uuid7(clock_ns: Callable[[], int] = time.time_ns) -> UUID:
    """Return a version 7 UUID: 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = clock_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    high, low = random_bits >> 68, random_bits & ((1 << 62) - 1)
    return UUID(int=(milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
