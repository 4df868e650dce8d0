"""The table of triggers delivered to the HCPs of the claims sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.tables.cells import (
    MINUTES_PER_DAY,
    choose,
    dates,
    keys,
    measured,
    month_start,
    only_where,
    timestamps,
)
from src.synthetic.panel.tables.claims import SPLITS, Claims
from src.synthetic.panel.tables.patient_journeys import patient_ids
from src.synthetic.panel.world import BRANDS, MONTHS
from src.synthetic.streams import BoolArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

TYPES = ("therapy_start", "refill_gap", "lab_result", "switch_risk")
REASONS = {
    "therapy_start": "eligible patient without treatment",
    "refill_gap": "refill is overdue",
    "lab_result": "new laboratory result",
    "switch_risk": "pattern that precedes a switch",
}
CHANNELS = ("rep_alert", "email", "portal")
PRIORITY_CUTS = (0.55, 0.7, 0.85)
VALID_DAYS = 30


def triggers(claims: Claims) -> pd.DataFrame:
    """One row per delivered trigger, in order of HCP and month.

    Delivery and acceptance are those of the panel; ``outcome_value`` is the HCP's NRx of that month,
    measured with error, and is followed up unless the decision is still pending.
    """
    import pandas as pd

    promotion = claims.world.promotion
    hcp, month = np.nonzero(promotion.trigger_delivered[: claims.n_hcps])
    n = len(hcp)
    rng = claims.rng("triggers")
    patient = claims.pick_patients(rng, hcp, month)
    accepted = promotion.trigger_accepted[hcp, month]
    pending = ~accepted & (month == MONTHS - 1)
    raised = (month_start(month) + rng.integers(0, 7, n)) * MINUTES_PER_DAY + rng.integers(8 * 60, 18 * 60, n)
    delivered = raised + rng.integers(1, 12 * 60, n)
    viewed = accepted | (rng.random(n) < 0.7)
    seen = delivered + rng.integers(1, 2 * MINUTES_PER_DAY, n)
    decided = seen + rng.integers(1, MINUTES_PER_DAY, n)
    rejected = ~accepted & ~pending & viewed & (rng.random(n) < 0.6)
    acted = accepted & (rng.random(n) < 0.8)
    kind = choose(rng, TYPES, (4, 3, 2, 2), n)
    confidence = np.clip(rng.beta(7, 3, n), 0.0, 1.0)
    value = measured(rng, "outcome", claims.world.scripts["nrx"][hcp, month].astype(np.float64))
    ids = keys("trg_", np.arange(n), 7)
    return pd.DataFrame(
        {
            "trigger_id": ids,
            "patient_id": patient_ids(patient),
            "hcp_id": keys("hcp_", claims.world.hcps.number[hcp], 6),
            "trigger_timestamp": timestamps(raised),
            "trigger_type": kind,
            "priority": np.array(["low", "medium", "high", "critical"], dtype=object)[
                np.searchsorted(PRIORITY_CUTS, confidence)
            ],
            "confidence_score": confidence,
            "lead_time_days": rng.integers(5, 29, n),
            "expiration_date": dates(raised // MINUTES_PER_DAY + VALID_DAYS),
            "delivery_channel": choose(rng, CHANNELS, (6, 2, 2), n),
            "delivery_status": "delivered",
            "delivery_timestamp": timestamps(delivered),
            "view_timestamp": timestamps(seen, viewed),
            "acceptance_status": np.select(
                [accepted, pending, rejected], ["accepted", "pending", "rejected"], "ignored"
            ).astype(object),
            "acceptance_timestamp": timestamps(decided, accepted | rejected),
            "action_taken": only_where(acted, choose(rng, ("call", "visit", "email"), (4, 4, 2), n)),
            "action_timestamp": timestamps(decided + rng.integers(1, 3 * MINUTES_PER_DAY, n), acted),
            "false_positive_flag": rng.random(n) < 0.3 - 0.25 * confidence,
            "trigger_reason": [REASONS[name] for name in kind],
            "recommended_action": np.where(kind == "refill_gap", "check adherence", "discuss treatment options"),
            "causal_chain": _same_cell(["trigger_delivered", "trigger_accepted", "nrx"], n),
            "supporting_evidence": _evidence(confidence),
            "outcome_tracked": ~pending,
            "outcome_value": np.where(pending, np.nan, value),
            **_changes(rng, hcp, ids, raised),
            "brand": [BRANDS[code] for code in claims.world.hcps.brand[hcp]],
            "data_split": [SPLITS[code] for code in claims.patients.split[patient]],
        }
    )


def _changes(rng: np.random.Generator, hcp: IntArray, ids: list[str], raised: IntArray) -> dict[str, object]:
    """One trigger in six replaces the HCP's previous one; one such change in twenty makes it worse."""
    n = len(hcp)
    follows = np.concatenate([[False], hcp[1:] == hcp[:-1]])
    changed: BoolArray = follows & (rng.random(n) < 1 / 6)
    previous = np.concatenate([[None], np.array(ids[:-1], dtype=object)]) if n else np.empty(0, dtype=object)
    failed = (rng.random(n) < 0.05).astype(object)
    return {
        "previous_trigger_id": only_where(changed, previous),
        "change_type": np.where(changed, choose(rng, ("update", "escalation", "downgrade"), (6, 3, 1), n), "new"),
        "change_reason": only_where(changed, "new evidence"),
        "change_timestamp": timestamps(raised, changed),
        "change_failed": only_where(changed, failed),
        "change_outcome_delta": np.where(changed, rng.normal(0.4, 1.0, n), np.nan),
    }


def _same_cell(value: list[str], n: int) -> np.ndarray:
    column = np.empty(n, dtype=object)
    column[:] = [list(value) for _ in range(n)]
    return column


def _evidence(confidence: np.ndarray) -> np.ndarray:
    column = np.empty(len(confidence), dtype=object)
    column[:] = [{"score": round(float(value), 3)} for value in confidence]
    return column
