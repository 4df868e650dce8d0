"""The table of monthly brand metrics: sums of the treatment events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.tables.cells import LAST_DAY, MINUTES_PER_DAY, dates, keys, month_start, timestamps
from src.synthetic.panel.tables.claims import Claims
from src.synthetic.panel.truth import PanelTruth
from src.synthetic.panel.world import BRANDS, MONTHS, REGIONS
from src.synthetic.streams import BoolArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd

COUNTS = {"BU5": "trx", "BU6": "nrx", "BU7": "nbrx"}
SHARE = "BU8"
RETURN = "BU10"
CALL_COST = 150.0
SCRIPT_REVENUE = {"Remibrutinib": 1_900.0, "Fabhalta": 4_500.0, "Kisqali": 1_400.0}
TARGET_GROWTH = 1.03


def business_metrics(claims: Claims, truth: PanelTruth) -> pd.DataFrame:
    """TRx, NRx, NBRx and TRx share per month, brand and region (empty: all of them), and the return on rep calls.

    Counts are those of ``treatment_events``. The target is the value three months earlier plus 3 %.
    Return on calls = true scripts per call × calls × revenue per script / cost of the calls.
    """
    import pandas as pd

    blocks = []
    for brand in (*range(len(BRANDS)), None):
        for region in (*range(len(REGIONS)), None):
            members = _members(claims, brand, region)
            if members.any():
                blocks += _cell(claims, truth, brand, region, members)
    frame = pd.concat(blocks, ignore_index=True)
    frame.insert(0, "metric_id", keys("bm_", np.arange(len(frame)), 7))
    frame["created_at"] = timestamps(np.full(len(frame), (LAST_DAY + 3) * MINUTES_PER_DAY))
    return frame


def _members(claims: Claims, brand: int | None, region: int | None) -> BoolArray:
    hcps, n = claims.world.hcps, claims.n_hcps
    inside = np.ones(n, dtype=np.bool_)
    if brand is not None:
        inside &= hcps.brand[:n] == brand
    if region is not None:
        inside &= hcps.region[:n] == region
    return inside


def _cell(
    claims: Claims, truth: PanelTruth, brand: int | None, region: int | None, members: BoolArray
) -> list[pd.DataFrame]:
    scripts, n = claims.world.scripts, claims.n_hcps
    names = (None if brand is None else BRANDS[brand], None if region is None else REGIONS[region])
    sums = {kpi: scripts[name][:n][members].sum(axis=0).astype(np.float64) for kpi, name in COUNTS.items()}
    rivals = claims.world.model.rival_scripts[:n][members].sum(axis=0)
    frames = [_metric(kpi, "kpi", names, values, members) for kpi, values in sums.items()]
    frames.append(_metric(SHARE, "kpi", names, sums["BU5"] / np.maximum(sums["BU5"] + rivals, 1.0), members))
    if names[0] is not None:
        per_call = truth.effect("rep_calls", "nrx", *names).effect * SCRIPT_REVENUE[names[0]] / CALL_COST
        frames.append(_metric(RETURN, "financial", names, np.full(MONTHS, per_call), members, roi=per_call))
    return frames


def _metric(
    kpi: str,
    family: str,
    names: tuple[str | None, str | None],
    value: FloatArray,
    members: BoolArray,
    roi: float | None = None,
) -> pd.DataFrame:
    import pandas as pd

    target = _earlier(value, 3) * TARGET_GROWTH
    with np.errstate(divide="ignore", invalid="ignore"):
        achieved = np.where(target > 0, value / target, np.nan)
    return pd.DataFrame(
        {
            "metric_date": dates(month_start(np.arange(MONTHS))),
            "metric_type": family,
            "metric_name": kpi,
            "brand": pd.Series([names[0]] * MONTHS, dtype=object),
            "region": pd.Series([names[1]] * MONTHS, dtype=object),
            "value": value,
            "target": target,
            "achievement_rate": achieved,
            "year_over_year_change": _change(value, 12),
            "month_over_month_change": _change(value, 1),
            "roi": np.full(MONTHS, np.nan if roi is None else roi),
            "sample_size": np.full(MONTHS, int(members.sum())),
        }
    )


def _earlier(value: FloatArray, months: int) -> FloatArray:
    return np.concatenate([np.full(months, np.nan), value[:-months]])


def _change(value: FloatArray, months: int) -> FloatArray:
    before = _earlier(value, months)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0, value / before - 1.0, np.nan)
