"""Who are the HCPs of a chunk, and what never changes about them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.synthetic.panel.world import (
    BRANDS,
    HCPS_PER_CHUNK,
    PRACTICE_SHARES,
    PRACTICE_TYPES,
    REGION_SHARES,
    REGIONS,
    SPECIALTIES,
    STATES,
)
from src.synthetic.streams import FloatArray, IntArray, Streams

HCPS_PER_TERRITORY = 25


@dataclass(frozen=True)
class Hcps:
    """HCPs of one chunk, arrays of shape (n,).

    ``brand``, ``region``, ``practice`` are codes into the tuples of ``world``. ``volume`` is a
    hidden standard-normal trait behind decile, promotion received and ``level`` (scripts per month
    without promotion); ``digital`` in 0–1 is the true engagement with digital channels.
    """

    number: IntArray
    brand: IntArray
    region: IntArray
    practice: IntArray
    state_choice: IntArray
    specialty_choice: IntArray
    territory: IntArray
    decile: IntArray
    volume: FloatArray
    digital: FloatArray
    level: FloatArray

    def __len__(self) -> int:
        return len(self.number)

    @property
    def states(self) -> list[str]:
        """Two-letter state of each HCP."""
        return [STATES[REGIONS[region]][pick] for region, pick in zip(self.region, self.state_choice, strict=True)]

    @property
    def specialties(self) -> list[str]:
        """Specialty of each HCP."""
        return [SPECIALTIES[BRANDS[brand]][pick] for brand, pick in zip(self.brand, self.specialty_choice, strict=True)]

    @property
    def territories(self) -> list[str]:
        """Territory id of each HCP: region, chunk and number."""
        chunk = self.number // HCPS_PER_CHUNK
        rows = zip(self.region, chunk, self.territory, strict=True)
        return [f"T_{REGIONS[region][:2].upper()}_{part:03d}{territory % 100:02d}" for region, part, territory in rows]


def draw_hcps(streams: Streams) -> Hcps:
    """A full chunk of 1,000 HCPs; brands take turns, everything else is drawn."""
    from scipy.special import ndtr

    n = HCPS_PER_CHUNK
    number = np.arange(n) + streams.chunk * n
    volume = streams.normal("volume", n)
    region = _choice(streams, "region", REGION_SHARES)
    rank = ndtr(0.8 * volume + 0.6 * streams.normal("decile", n))
    return Hcps(
        number=number,
        brand=number % len(BRANDS),
        region=region,
        practice=_choice(streams, "practice", PRACTICE_SHARES),
        state_choice=streams.rng("state").integers(0, len(next(iter(STATES.values()))), n),
        specialty_choice=streams.rng("specialty").integers(0, 3, n),
        territory=_territories(region),
        decile=np.minimum(np.floor(rank * 10).astype(np.int64) + 1, 10),
        volume=volume,
        digital=np.asarray(ndtr(0.3 * volume + streams.normal("digital", n)), dtype=np.float64),
        level=1.5 + np.exp(0.9 + 0.4 * volume + 0.2 * streams.normal("level", n)),
    )


def practice_names(hcps: Hcps) -> list[str]:
    """Practice type of each HCP."""
    return [PRACTICE_TYPES[code] for code in hcps.practice]


def _choice(streams: Streams, variable: str, shares: tuple[float, ...]) -> IntArray:
    return np.searchsorted(np.cumsum(shares)[:-1], streams.uniform(variable, HCPS_PER_CHUNK), side="right").astype(
        np.int64
    )


def _territories(region: IntArray) -> IntArray:
    """Codes 100·region + number, with HCPs of a region dealt out evenly."""
    territory = np.empty(len(region), dtype=np.int64)
    for code in range(len(REGIONS)):
        members = np.flatnonzero(region == code)
        territory[members] = 100 * code + np.arange(len(members)) % max(len(members) // HCPS_PER_TERRITORY, 1)
    return territory
