"""What is fixed in the simulated market: brands, places, calendar and the true effects of promotion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.synthetic.streams import FloatArray, IntArray

FIRST_MONTH = "2022-01"
MONTHS = 36
EMAIL_LAG = 2
HCPS_PER_CHUNK = 1_000
DEFAULT_HCPS = 3_000

BRANDS = ("Remibrutinib", "Fabhalta", "Kisqali")
REGIONS = ("northeast", "south", "midwest", "west")
REGION_SHARES = (0.28, 0.32, 0.22, 0.18)
STATES = {
    "northeast": ("NY", "PA", "MA", "NJ"),
    "south": ("TX", "FL", "GA", "NC"),
    "midwest": ("IL", "OH", "MI", "MN"),
    "west": ("CA", "WA", "AZ", "CO"),
}
ZIP_PREFIX = {
    "NY": "100", "PA": "191", "MA": "021", "NJ": "071", "TX": "770", "FL": "331", "GA": "303", "NC": "282",
    "IL": "606", "OH": "441", "MI": "482", "MN": "554", "CA": "900", "WA": "981", "AZ": "850", "CO": "802",
}  # fmt: skip
CITIES = {
    "NY": "New York", "PA": "Philadelphia", "MA": "Boston", "NJ": "Newark", "TX": "Houston", "FL": "Miami",
    "GA": "Atlanta", "NC": "Charlotte", "IL": "Chicago", "OH": "Cleveland", "MI": "Detroit", "MN": "Minneapolis",
    "CA": "Los Angeles", "WA": "Seattle", "AZ": "Phoenix", "CO": "Denver",
}  # fmt: skip
SPECIALTIES = {
    "Remibrutinib": ("Allergy/Immunology", "Dermatology", "Rheumatology"),
    "Fabhalta": ("Hematology", "Internal Medicine", "Hematology"),
    "Kisqali": ("Oncology", "Oncology", "Internal Medicine"),
}
PRACTICE_TYPES = ("solo", "group", "hospital", "academic")
PRACTICE_SHARES = (0.2, 0.4, 0.25, 0.15)


@dataclass(frozen=True, slots=True)
class Brand:
    """Market of one brand. ``demand_sd`` is the spread of the hidden monthly demand shock of an HCP."""

    months_before_panel: int
    plateau: float
    competitor_month: int
    competitor_shock: float
    demand_sd: float
    new_to_brand_share: float
    refill_ratio: float
    rival_mean: float


MARKET = {
    "Remibrutinib": Brand(3, 2.0, 24, 0.4, 0.4, 0.40, 0.8, 9.0),
    "Fabhalta": Brand(7, 1.5, 15, 0.3, 1.0, 0.35, 0.9, 6.0),
    "Kisqali": Brand(58, 1.0, 18, 0.6, 0.4, 0.30, 1.2, 12.0),
}
DEMAND_MEMORY = 0.8
TRIGGER_SHARE = 0.3

# Scripts (NRx) per additional unit of promotion, by brand in the order of BRANDS.
EFFECT_PER_UNIT = {
    "rep_calls": (0.12, 0.15, 0.30),
    "email_opens": (0.15, 0.10, 0.12),
    "samples": (0.10, 0.0, 0.05),
    "speaker_programs": (0.0, 0.30, 0.40),
    "trigger_accepted": (0.60, 0.50, 0.70),
}
# Rep calls work better in some regions, in the order of REGIONS.
CALL_EFFECT_BY_REGION = (1.2, 1.0, 0.9, 0.8)


def season() -> FloatArray:
    """Seasonal swing of demand by panel month, shape (36,)."""
    return np.asarray(0.4 * np.sin(2.0 * np.pi * (np.arange(MONTHS) - 2) / 12.0), dtype=np.float64)


def months_since_launch(brand: str) -> IntArray:
    """Months since the brand's launch by panel month, shape (36,)."""
    return np.arange(MONTHS) + MARKET[brand].months_before_panel


def competitor_launched(brand: str) -> IntArray:
    """1 from the month a competitor launched, shape (36,)."""
    return (np.arange(MONTHS) >= MARKET[brand].competitor_month).astype(np.int64)


def market_level(brand: str) -> FloatArray:
    """Scripts per HCP-month added by launch curve, season and competitor, the same for all HCPs, shape (36,)."""
    market = MARKET[brand]
    launch = market.plateau * (1.0 - np.exp(-months_since_launch(brand) / 12.0))
    return np.asarray(launch + season() - market.competitor_shock * competitor_launched(brand), dtype=np.float64)


def unit_effects(treatment: str, brand: IntArray, region: IntArray) -> FloatArray:
    """True change of the mean NRx per additional unit of ``treatment`` for each HCP, shape (n,)."""
    effect = np.asarray(EFFECT_PER_UNIT[treatment])[brand]
    return effect * np.asarray(CALL_EFFECT_BY_REGION)[region] if treatment == "rep_calls" else effect
