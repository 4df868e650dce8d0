"""How long did requests take? Quantiles that can be kept in a file and never come out too small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Self

# Each bucket is 5 % wide: a quantile is overstated by at most that much and never understated.
_STEP = math.log(1.05)
_SHORTEST_MS = 0.01


class Latencies:
    """A histogram of milliseconds with buckets that grow by 5 %. Not thread-safe: callers hold a lock."""

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self._buckets = Counter(buckets or {})

    def add(self, milliseconds: float) -> None:
        """Count one duration."""
        self._buckets[math.ceil(math.log(max(milliseconds, _SHORTEST_MS)) / _STEP)] += 1

    @property
    def count(self) -> int:
        """How many were counted."""
        return self._buckets.total()

    def quantile(self, share: float) -> float | None:
        """Milliseconds within which ``share`` (0–1) of them ended; None without any."""
        wanted, seen = math.ceil(share * self.count), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return math.exp(bucket * _STEP)
        return None

    def to_json(self) -> dict[str, int]:
        """Buckets as JSON."""
        return {str(bucket): count for bucket, count in sorted(self._buckets.items())}

    @classmethod
    def from_json(cls, buckets: Mapping[str, int]) -> Self:
        """What ``to_json`` gave."""
        return cls({int(bucket): int(count) for bucket, count in buckets.items()})
