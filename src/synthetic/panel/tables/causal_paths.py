"""The table of causal paths, taken from the simulated truth."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Any

from src.synthetic.panel.tables.business_metrics import SCRIPT_REVENUE
from src.synthetic.panel.tables.cells import keys, objects
from src.synthetic.panel.truth import EffectTruth, PanelTruth

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DISCOVERED = date(2024, 12, 31)
DAYS_PER_MONTH = 30
METHODS = {"email_opens": "distributed_lag", "trigger_delivered": "difference_in_means", "trigger_accepted": "iv_2sls"}
MEDIATOR = {"trigger_delivered": ["trigger_accepted"]}

Spreads = dict[tuple[str, str | None], float]


def causal_paths(truth: PanelTruth, spreads: Spreads) -> pd.DataFrame:
    """One row per true effect on NRx, by brand and region.

    ``spreads`` holds the standard deviation of each panel column by brand (None: all), with which
    effects are standardised: effect · sd(treatment) / sd(nrx). The standard error is that of the
    mean of the simulated row effects; it is empty for an effect of exactly zero. A path that the
    emitted data cannot identify is marked ``block``, one without an effect ``unvalidated``.
    """
    import pandas as pd

    effects = [effect for effect in truth.effects if effect.outcome == "nrx"]
    rows = [_row(effect, spreads) for effect in effects]
    frame = pd.DataFrame(rows)
    frame.insert(0, "path_id", keys("path_", _numbers(len(rows)), 5))
    for column in ("causal_chain", "intermediate_nodes", "confounders_controlled", "mediators_identified"):
        frame[column] = objects([row[column] for row in rows])
    return frame


def _numbers(n: int) -> np.ndarray:
    import numpy as np

    return np.arange(n)


def _row(effect: EffectTruth, spreads: Spreads) -> dict[str, Any]:
    between = MEDIATOR.get(effect.treatment, [])
    scale = spreads[effect.treatment, effect.brand] / spreads["nrx", effect.brand]
    error = effect.spread / math.sqrt(effect.n)
    revenue = SCRIPT_REVENUE.get(effect.brand or "")
    return {
        "discovery_date": DISCOVERED,
        "causal_chain": [effect.treatment, *between, "nrx"],
        "start_node": effect.treatment,
        "end_node": "nrx",
        "intermediate_nodes": between,
        "path_length": len(between) + 1,
        "causal_effect_size": effect.effect * scale,
        "effect_raw": effect.effect,
        "effect_se": error if error > 0 else None,
        "confidence_level": 0.95,
        "method_used": METHODS.get(effect.treatment, "twfe"),
        "confounders_controlled": ["hcp_id", "month"],
        "mediators_identified": between,
        "time_lag_days": effect.lag * DAYS_PER_MONTH,
        "validation_status": _status(effect),
        "business_impact_estimate": None if revenue is None else effect.effect * 12 * revenue,
        "brand": effect.brand,
        "region": effect.region,
    }


def _status(effect: EffectTruth) -> str:
    if not effect.identifiable:
        return "block"
    return "proceed" if effect.effect > 0 else "unvalidated"
