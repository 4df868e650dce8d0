"""The table of patient journeys in the claims sample."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.tables.cells import (
    LAST_DAY,
    MINUTES_PER_DAY,
    choose,
    dates,
    keys,
    measured,
    objects,
    timestamps,
    with_gaps,
)
from src.synthetic.panel.tables.claims import SPLITS, Claims
from src.synthetic.panel.world import BRANDS, REGIONS, STATES, ZIP_PREFIX

if TYPE_CHECKING:
    import pandas as pd

DIAGNOSES = {"Remibrutinib": "L50.1", "Fabhalta": "D59.5", "Kisqali": "C50.9"}
SECONDARY = {"Remibrutinib": "J45.9", "Fabhalta": "D61.9", "Kisqali": "Z17.0"}
COMORBIDITIES = ("hypertension", "type 2 diabetes", "asthma", "depression", "obesity")
VENDORS = ("IQVIA_APLD", "IQVIA_LAAD", "HealthVerity", "Komodo", "Veeva")
STAGE_DAYS = (30, 120, 365)
STAGES = ("diagnosis", "initial_treatment", "treatment_optimization", "maintenance")
SPLIT_CONFIG = "chronological_60_20_15_05"
STATE_MISMATCH = 0.03


def patient_ids(numbers: np.ndarray) -> list[str]:
    """Pseudonymous patient keys."""
    return keys("pat_", numbers, 7)


def journey_ids(numbers: np.ndarray) -> list[str]:
    """Keys of journeys; every patient has one."""
    return keys("pj_", numbers, 7)


def patient_journeys(claims: Claims) -> pd.DataFrame:
    """One row per patient; severity (as risk score) is measured with error, some cells are missing."""
    import pandas as pd

    patients, hcps = claims.patients, claims.world.hcps
    n = len(patients.hcp)
    rng = claims.rng("patient_journeys")
    numbers = np.arange(n)
    ids = patient_ids(numbers)
    brands = [BRANDS[code] for code in hcps.brand[patients.hcp]]
    states = _states(claims, rng)
    until = np.where(patients.ended, patients.end, LAST_DAY)
    matched = _sources(rng, n)
    lag_hours = rng.gamma(2.2, 18.0, n)
    recorded = patients.start * MINUTES_PER_DAY + rng.integers(0, 5 * MINUTES_PER_DAY, n)
    return pd.DataFrame(
        {
            "patient_journey_id": journey_ids(numbers),
            "patient_id": ids,
            "patient_hash": [hashlib.sha256(f"e2i-synthetic|{key}".encode()).hexdigest() for key in ids],
            "journey_start_date": dates(patients.start),
            "journey_end_date": dates(patients.end, patients.ended),
            "journey_duration_days": until - patients.start,
            "journey_stage": _stages(claims, rng),
            "journey_status": np.where(
                patients.ended, "completed", choose(rng, ("active", "stable", "transitioning"), (6, 3, 1), n)
            ),
            "primary_diagnosis_code": [DIAGNOSES[brand] for brand in brands],
            "secondary_diagnosis_codes": objects(
                [[SECONDARY[brand]] if has else [] for brand, has in zip(brands, rng.random(n) < 0.3, strict=True)]
            ),
            "brand": brands,
            "age_group": with_gaps(rng, "age_group", choose(rng, ("18-34", "35-49", "50-64", "65+"), (2, 3, 3, 2), n)),
            "gender": choose(rng, ("F", "M", "U"), (0.58, 0.41, 0.01), n),
            "geographic_region": [REGIONS[code] for code in hcps.region[patients.hcp]],
            "state": states,
            "zip_code": [ZIP_PREFIX[state] for state in states],
            "insurance_type": with_gaps(
                rng,
                "insurance_type",
                choose(rng, ("commercial", "medicare", "medicaid", "uninsured"), (11, 5, 3, 1), n),
            ),
            "data_quality_score": np.clip(rng.beta(12, 1.5, n), 0.0, 1.0),
            "comorbidities": with_gaps(rng, "comorbidities", _comorbidities(rng, patients.severity)),
            "risk_score": np.clip(measured(rng, "severity", patients.severity) / 10.0, 0.0, 1.0),
            "data_source": [sources[0] if sources else None for sources in matched],
            "data_sources_matched": objects(matched),
            "source_match_confidence": np.clip(rng.beta(14, 2, n), 0.0, 1.0),
            "source_stacking_flag": np.array([len(sources) > 1 for sources in matched]),
            "source_combination_method": [("deterministic" if len(s) > 1 else None) for s in matched],
            "source_timestamp": timestamps(recorded),
            "ingestion_timestamp": timestamps(recorded + np.ceil(lag_hours * 60).astype(np.int64)),
            "data_lag_hours": lag_hours,
            "data_split": [SPLITS[code] for code in patients.split],
            "split_config_id": SPLIT_CONFIG,
        }
    )


def _states(claims: Claims, rng: np.random.Generator) -> list[str]:
    """State of the HCP, except for the few patients who live in another state of the region."""
    hcp = claims.patients.hcp
    own = claims.world.hcps.states
    moved = rng.random(len(hcp)) < STATE_MISMATCH
    region = claims.world.hcps.region[hcp]
    other = rng.integers(0, 4, len(hcp))
    rows = zip(hcp, region, moved, other, strict=True)
    return [STATES[REGIONS[code]][pick] if away else own[row] for row, code, away, pick in rows]


def _stages(claims: Claims, rng: np.random.Generator) -> np.ndarray:
    patients = claims.patients
    stage = np.array(STAGES, dtype=object)[np.searchsorted(STAGE_DAYS, patients.last - patients.start)]
    return np.where(rng.random(len(stage)) < 0.06, "treatment_switch", stage)


def _comorbidities(rng: np.random.Generator, severity: np.ndarray) -> np.ndarray:
    present = rng.random((len(severity), len(COMORBIDITIES))) < (0.05 + 0.03 * severity)[:, None]
    return objects([[name for name, has in zip(COMORBIDITIES, row, strict=True) if has] for row in present])


def _sources(rng: np.random.Generator, n: int) -> list[list[str]]:
    """Vendors that hold each patient; about 8 % are held by none of those that were matched."""
    held = rng.random((n, len(VENDORS))) < np.array([0.6, 0.45, 0.4, 0.35, 0.2])
    return [[vendor for vendor, has in zip(VENDORS, row, strict=True) if has] for row in held]
