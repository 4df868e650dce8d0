"""The table of healthcare professionals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.hcps import practice_names
from src.synthetic.panel.simulation import World
from src.synthetic.panel.tables.cells import FIRST_DAY, choose, dates, keys, measured, month_start, objects, with_gaps
from src.synthetic.panel.world import BRANDS, CITIES, MONTHS, REGIONS, ZIP_PREFIX
from src.synthetic.streams import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

FIRST_NAMES = ("Alex", "Casey", "Dana", "Eli", "Jamie", "Jordan", "Lee", "Morgan", "Robin", "Sam")
LAST_NAMES = ("Adler", "Berg", "Chen", "Diaz", "Evans", "Fischer", "Garcia", "Haas", "Ito", "Jones", "Klein", "Lopez")
CHANNELS = ("rep", "email", "webinar", "phone", "portal")
SUB_SPECIALTIES = {"Remibrutinib": "urticaria", "Fabhalta": "complement disorders", "Kisqali": "breast cancer"}
PRACTICE_SIZES = {"solo": "small", "group": "medium", "hospital": "large", "academic": "large"}


def hcp_profiles(world: World) -> pd.DataFrame:
    """One row per emitted HCP of a chunk; digital engagement is measured with error and 10 % missing."""
    import pandas as pd

    hcps, n = world.hcps, len(world.hcps)
    decile = hcps.decile
    rng = world.streams.rng("table hcp_profiles")
    states, practices = hcps.states, practice_names(hcps)
    brands = [BRANDS[code] for code in hcps.brand]
    total = 80 + 25 * decile + rng.poisson(40, n)
    engagement = np.clip(measured(rng, "engagement", hcps.digital), 0.0, 1.0)
    influence = np.clip(0.1 * decile * 0.5 + 0.3 * rng.random(n) + 0.1, 0.0, 1.0)
    networks = [f"{CITIES[state]} {practice} network" for state, practice in zip(states, practices, strict=True)]
    calls = world.promotion.rep_calls
    frame = pd.DataFrame(
        {
            "hcp_id": keys("hcp_", hcps.number, 6),
            "npi": keys("", 1_000_000_000 + hcps.number, 10),
            "first_name": choose(rng, FIRST_NAMES, [1] * len(FIRST_NAMES), n),
            "last_name": choose(rng, LAST_NAMES, [1] * len(LAST_NAMES), n),
            "specialty": hcps.specialties,
            "sub_specialty": [SUB_SPECIALTIES[brand] for brand in brands],
            "practice_type": practices,
            "practice_size": [PRACTICE_SIZES[practice] for practice in practices],
            "geographic_region": [REGIONS[code] for code in hcps.region],
            "state": states,
            "city": [CITIES[state] for state in states],
            "zip_code": [ZIP_PREFIX[state] for state in states],
            "priority_tier": 5 - (decile - 1) // 2,
            "decile": decile,
            "total_patient_volume": total,
            "target_patient_volume": np.floor(total * (0.1 + 0.3 * rng.random(n))).astype(np.int64),
            "prescribing_volume": world.scripts["trx"][:, -12:].sum(axis=1),
            "years_experience": np.clip(rng.normal(18, 9, n).round(), 1, 50).astype(np.int64),
            "affiliations": objects([[network] for network in networks]),
            "digital_engagement_score": with_gaps(rng, "digital_engagement_score", engagement),
            "peer_influence_score": influence,
            "preferred_channel": choose(rng, CHANNELS, (0.45, 0.25, 0.1, 0.1, 0.1), n),
            "last_interaction_date": _last_contact(calls),
            "interaction_frequency": calls.mean(axis=1),
            "influence_network_size": rng.poisson(4 + 30 * influence),
            "adoption_category": _adoption(hcps.level),
            "coverage_status": rng.random(n) < 0.5 + 0.04 * decile,
            "territory_id": hcps.territories,
            "sales_rep_id": [territory.replace("T_", "rep_") for territory in hcps.territories],
        }
    )
    # Made for the whole chunk, so that an HCP's row does not depend on how many are emitted.
    return frame.head(world.n)


def _last_contact(calls: IntArray) -> np.ndarray:
    """Mid-month date of the last month with a call, None without any."""
    reached = np.asarray(calls > 0, dtype=np.bool_)
    last = MONTHS - 1 - np.argmax(reached[:, ::-1], axis=1)
    return dates(np.maximum(month_start(last) + 14, FIRST_DAY), np.asarray(reached.any(axis=1), dtype=np.bool_))


def _adoption(level: FloatArray) -> np.ndarray:
    """Rogers' categories by the HCP's own script level; cut-offs are fixed so that they do not depend on the others."""
    names = np.array(["non_adopter", "late", "majority", "early", "innovator"], dtype=object)
    return names[np.searchsorted([2.4, 3.3, 5.2, 7.5], level)]
