"""One chunk of the market, simulated from HCPs to scripts."""

from __future__ import annotations

from dataclasses import dataclass

from src.synthetic.panel.hcps import Hcps, draw_hcps
from src.synthetic.panel.promotion import Promotion, draw_promotion
from src.synthetic.panel.scripts import ScriptModel, draw_script_model, promotion_lift
from src.synthetic.streams import IntArray, Streams


@dataclass(frozen=True)
class World:
    """One simulated chunk; only its first ``n`` HCPs are emitted. ``scripts`` has nrx, nbrx, trx."""

    hcps: Hcps
    promotion: Promotion
    model: ScriptModel
    scripts: dict[str, IntArray]
    streams: Streams
    n: int


def simulate_chunk(streams: Streams, n: int) -> World:
    """Simulate a whole chunk, even when few HCPs are asked for: lotteries are held among all of them."""
    hcps = draw_hcps(streams)
    promotion = draw_promotion(streams, hcps)
    model = draw_script_model(streams, hcps, promotion.demand)
    scripts = model.outcomes(promotion_lift(hcps, promotion))
    return World(hcps, promotion, model, scripts, streams, n)
