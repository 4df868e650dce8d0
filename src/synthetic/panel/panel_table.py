"""What does the HCP-month panel look like as a table?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.simulation import World
from src.synthetic.panel.world import (
    BRANDS,
    FIRST_MONTH,
    MONTHS,
    PRACTICE_TYPES,
    REGIONS,
    competitor_launched,
    months_since_launch,
)
from src.synthetic.streams import IntArray
from src.synthetic.tabular import month_dates, text_ids, text_labels

if TYPE_CHECKING:
    import pyarrow as pa


def panel_table(world: World) -> pa.Table:
    """Rows of the emitted HCPs of a chunk, in order of HCP and month."""
    import pyarrow as pa

    hcps, promotion, scripts, model, n = world.hcps, world.promotion, world.scripts, world.model, world.n

    def repeated(values: IntArray) -> IntArray:
        return np.repeat(values[:n], MONTHS)

    def flat(values: np.ndarray) -> pa.Array:
        return pa.array(values[:n].ravel().astype(np.int64))

    def texts(values: list[str]) -> pa.Array:
        labels = tuple(sorted(set(values)))
        codes = np.array([labels.index(value) for value in values], dtype=np.int64)
        return text_labels(repeated(codes), labels)

    since = np.stack([months_since_launch(brand) for brand in BRANDS])[hcps.brand]
    competitor = np.stack([competitor_launched(brand) for brand in BRANDS])[hcps.brand]
    return pa.table(
        {
            "hcp_id": text_ids("hcp_", repeated(hcps.number), 6),
            "month": month_dates(np.tile(np.arange(MONTHS), n), FIRST_MONTH),
            "brand": text_labels(repeated(hcps.brand), BRANDS),
            "region": text_labels(repeated(hcps.region), REGIONS),
            "state": texts(hcps.states),
            "specialty": texts(hcps.specialties),
            "decile": pa.array(repeated(hcps.decile)),
            "practice_type": text_labels(repeated(hcps.practice), PRACTICE_TYPES),
            "territory_id": texts(hcps.territories),
            "months_since_launch": flat(since),
            "competitor_launch": flat(competitor),
            "rep_calls": flat(promotion.rep_calls),
            "email_opens": flat(promotion.email_opens),
            "samples": flat(promotion.samples),
            "speaker_programs": flat(promotion.speaker_programs),
            "trigger_capacity": flat(promotion.trigger_capacity),
            "lottery_rank": flat(promotion.lottery_rank),
            "trigger_delivered": flat(promotion.trigger_delivered),
            "trigger_accepted": flat(promotion.trigger_accepted),
            "trx": flat(scripts["trx"]),
            "nrx": flat(scripts["nrx"]),
            "nbrx": flat(scripts["nbrx"]),
            "market_trx": flat(scripts["trx"] + model.rival_scripts),
        }
    )
