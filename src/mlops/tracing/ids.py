"""Where do trace and span ids come from? UUID version 7 (RFC 9562), time-ordered."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from uuid import NAMESPACE_URL, UUID, uuid5

_VERSION = 0x7 << 12
_VARIANT = 0b10 << 62

_rng = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _rng.seed(os.urandom(32)))


def uuid7_int(clock_ns: Callable[[], int] = time.time_ns, bits: Callable[[int], int] = _rng.getrandbits) -> int:
    """A version 7 UUID as an integer: 48 bits of Unix milliseconds, 12 of their fraction, 62 random bits.

    The fraction (RFC 9562, 6.2, method 3) keeps ids of one millisecond in order.
    """
    milliseconds, rest = divmod(clock_ns(), 1_000_000)
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | _VERSION | (rest << 12) // 1_000_000
    return high << 64 | _VARIANT | bits(62)


def uuid7(clock_ns: Callable[[], int] = time.time_ns) -> UUID:
    """Return a version 7 UUID."""
    return UUID(int=uuid7_int(clock_ns))


def uuid_text(value: int) -> str:
    """The canonical text of a UUID given as an integer."""
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_int(text: object) -> int:
    """The UUID in ``text`` (canonical or 32 hex digits, or a UUID) as an integer.

    Any other text stands for the version 5 UUID of itself, so that the same foreign id is the same
    trace everywhere.
    """
    shown = str(text)
    try:
        return UUID(shown).int
    except ValueError:
        return uuid5(NAMESPACE_URL, shown.encode("utf-8", "replace").decode()).int
