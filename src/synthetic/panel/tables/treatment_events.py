"""The table of treatment events: every script of the claims sample is one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.tables.cells import choose, dates, keys, objects, only_where, with_gaps
from src.synthetic.panel.tables.claims import FIRST_SCRIPT, KINDS, Claims
from src.synthetic.panel.tables.patient_journeys import DIAGNOSES, journey_ids, patient_ids
from src.synthetic.panel.world import BRANDS
from src.synthetic.streams import BoolArray

if TYPE_CHECKING:
    import pandas as pd

DRUGS = {
    "Remibrutinib": ("00078-1001-20", "BTK inhibitor", "25 mg twice daily", 1_900.0),
    "Fabhalta": ("00078-1189-20", "factor B inhibitor", "200 mg twice daily", 45_000.0),
    "Kisqali": ("00078-0874-63", "CDK4/6 inhibitor", "600 mg once daily", 14_000.0),
}
EARLIER_TREATMENT = {"Remibrutinib": "antihistamine", "Fabhalta": "C5 inhibitor", "Kisqali": "endocrine therapy"}
LOINC = {"Remibrutinib": "19113-0", "Fabhalta": "90735-2", "Kisqali": "85337-4"}
LAB_NAMES = {"Remibrutinib": "total_ige", "Fabhalta": "pnh_flow_cytometry", "Kisqali": "estrogen_receptor"}
CPT = {"consultation": "99214", "procedure": "96372", "lab_test": "88184"}
LOCATIONS = {
    "diagnosis": "office",
    "lab_test": "lab",
    "consultation": "office",
    "procedure": "infusion",
    "hospitalization": "hospital",
}
COSTS = {"diagnosis": 250.0, "lab_test": 180.0, "consultation": 220.0, "procedure": 900.0, "hospitalization": 14_000.0}
SCRIPT_DAYS = 30
REASONS = ("completed", "side effects", "cost", "no response")


def treatment_events(claims: Claims) -> pd.DataFrame:
    """One row per event in order of patient and sequence.

    Scripts have event_type prescription and event_subtype new_to_brand, new or refill: TRx counts
    all three, NRx the first two, NBRx the first. Previous treatment is missing in 15 % of rows.
    """
    import pandas as pd

    events, patients = claims.events, claims.patients
    n = len(events.patient)
    rng = claims.rng("treatment_events")
    kinds = [KINDS[code] for code in events.kind]
    scripts = events.kind >= FIRST_SCRIPT
    brands = [BRANDS[code] for code in claims.world.hcps.brand[events.hcp]]
    last_script = _last_script(claims, scripts)
    harmed = scripts & (rng.random(n) < 0.03)
    subtypes = [LAB_NAMES[brand] if kind == "lab_test" else kind for kind, brand in zip(kinds, brands, strict=True)]
    return pd.DataFrame(
        {
            "treatment_event_id": keys("te_", np.arange(n), 8),
            "patient_journey_id": journey_ids(events.patient),
            "patient_id": patient_ids(events.patient),
            "hcp_id": keys("hcp_", claims.world.hcps.number[events.hcp], 6),
            "event_date": dates(events.day),
            "event_type": np.where(scripts, "prescription", np.array(kinds, dtype=object)),
            "event_subtype": subtypes,
            "brand": brands,
            "drug_name": only_where(scripts, np.array(brands, dtype=object)),
            **{
                name: only_where(scripts, np.array([DRUGS[brand][place] for brand in brands], dtype=object))
                for place, name in enumerate(("drug_ndc", "drug_class", "dosage"))
            },
            "duration_days": pd.array(np.where(scripts, SCRIPT_DAYS, 0), dtype="Int64"),
            "icd_codes": objects([[DIAGNOSES[brand]] for brand in brands]),
            "cpt_codes": objects([[CPT[kind]] if kind in CPT else [] for kind in kinds]),
            "loinc_codes": objects(
                [[LOINC[brand]] if kind == "lab_test" else [] for kind, brand in zip(kinds, brands, strict=True)]
            ),
            "lab_values": _lab_values(rng, kinds, brands, patients.severity[events.patient]),
            "location_type": [LOCATIONS.get(kind, "pharmacy") for kind in kinds],
            "cost": _costs(rng, kinds, brands),
            "outcome_indicator": choose(rng, ("improved", "stable", "worsened", "unknown"), (45, 35, 10, 10), n),
            "adverse_event_flag": harmed,
            "discontinuation_flag": last_script,
            "discontinuation_reason": only_where(last_script, choose(rng, REASONS, (4, 2, 2, 2), n)),
            "sequence_number": events.sequence,
            "days_from_diagnosis": events.day - patients.start[events.patient],
            "previous_treatment": with_gaps(rng, "previous_treatment", _previous(claims, brands)),
            "next_treatment": only_where(last_script & (rng.random(n) < 0.4), "competitor"),
        }
    )


def _last_script(claims: Claims, scripts: BoolArray) -> BoolArray:
    """The last script of each ended journey."""
    events = claims.events
    rows = np.flatnonzero(scripts & claims.patients.ended[events.patient])
    last = np.zeros(len(scripts), dtype=np.bool_)
    _, from_end = np.unique(events.patient[rows][::-1], return_index=True)
    last[rows[::-1][from_end]] = True
    return last


def _previous(claims: Claims, brands: list[str]) -> np.ndarray:
    """Before the first script the older treatment of the indication, after it the brand itself."""
    started = claims.events.kind > FIRST_SCRIPT
    earlier = np.array([EARLIER_TREATMENT[brand] for brand in brands], dtype=object)
    return np.where(started, np.array(brands, dtype=object), earlier)


def _lab_values(rng: np.random.Generator, kinds: list[str], brands: list[str], severity: np.ndarray) -> np.ndarray:
    noise = rng.standard_normal(len(kinds))
    values = np.empty(len(kinds), dtype=object)
    for row, (kind, brand) in enumerate(zip(kinds, brands, strict=True)):
        if kind == "lab_test":
            values[row] = {LOINC[brand]: round(float(10 * severity[row] + 5 * noise[row]), 2)}
    return values


def _costs(rng: np.random.Generator, kinds: list[str], brands: list[str]) -> np.ndarray:
    usual = [COSTS[kind] if kind in COSTS else DRUGS[brand][3] for kind, brand in zip(kinds, brands, strict=True)]
    return np.round(np.array(usual) * rng.lognormal(0.0, 0.15, len(kinds)), 2)
