"""What would one more call, e-mail, sample, programme or trigger have changed? Simulated, never declared."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from src.errors import ContractViolation
from src.synthetic.panel.hcps import Hcps
from src.synthetic.panel.promotion import Promotion
from src.synthetic.panel.scripts import OUTCOMES, ScriptModel, promotion_lift
from src.synthetic.panel.world import BRANDS, EMAIL_LAG, REGIONS, unit_effects
from src.synthetic.streams import FloatArray, IntArray

TREATMENTS = ("rep_calls", "email_opens", "samples", "speaker_programs", "trigger_delivered", "trigger_accepted")
COUNTED = ("rep_calls", "email_opens", "samples", "speaker_programs")


@dataclass(frozen=True, slots=True)
class EffectTruth:
    """Realised effect on one outcome, in scripts per HCP-month, over the panel rows of brand and region.

    Counted promotion: mean change when every row had one unit more (``lag`` months earlier).
    Triggers: mean of y(1) − y(0). ``complier_effect`` (trigger_accepted only) is that mean over rows
    that would accept. ``spread`` is the standard deviation of the row effects. ``brand``/``region``
    None: all of them. ``identifiable``: whether unit and month effects (or the lottery) recover it.
    """

    treatment: str
    outcome: str
    brand: str | None
    region: str | None
    effect: float
    spread: float
    n: int
    lag: int
    identifiable: bool
    complier_effect: float | None = None


@dataclass(frozen=True, slots=True)
class PanelTruth:
    """All realised effects of a panel."""

    n_hcps: int
    random_state: int
    effects: tuple[EffectTruth, ...]

    def effect(
        self, treatment: str, outcome: str = "nrx", brand: str | None = None, region: str | None = None
    ) -> EffectTruth:
        """The effect of that treatment, outcome, brand and region; ContractViolation when there is none."""
        wanted = (treatment, outcome, brand, region)
        for effect in self.effects:
            if (effect.treatment, effect.outcome, effect.brand, effect.region) == wanted:
                return effect
        raise ContractViolation(f"the panel's truth holds no effect of {treatment} on {outcome} for {brand}, {region}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"process": "panel", **asdict(self)}


def is_identifiable(treatment: str, brand: str | None) -> bool:
    """Fabhalta samples follow demand that is not measured; what pools them is not identified either."""
    return not (treatment == "samples" and brand in ("Fabhalta", None))


@dataclass
class PanelTruthSums:
    """Streaming sums over chunks of HCPs."""

    _parts: dict[tuple[str, str, int, int], list[tuple[float, float, float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, hcps: Hcps, promotion: Promotion, model: ScriptModel, n: int) -> None:
        """Take in the first ``n`` HCPs of a chunk."""
        cells = [
            (hcps.brand[:n] == b) & (hcps.region[:n] == r) for b in range(len(BRANDS)) for r in range(len(REGIONS))
        ]
        for treatment, difference in _differences(hcps, promotion, model):
            compliers = promotion.would_accept[:n]
            for outcome in OUTCOMES:
                changed = difference[outcome][:n].astype(np.float64)
                for cell, members in enumerate(cells):
                    part, accepts = changed[members], compliers[members]
                    sums = (part.size, part.sum(), (part**2).sum(), accepts.sum(), part[accepts].sum())
                    key = (treatment, outcome, cell // len(REGIONS), cell % len(REGIONS))
                    self._parts[key].append(tuple(float(value) for value in sums))  # type: ignore[arg-type]

    def finish(self, n_hcps: int, random_state: int) -> PanelTruth:
        """The truth over everything added, for each brand and region, and over all of them."""
        return PanelTruth(n_hcps, random_state, tuple(self._effects()))

    def _effects(self) -> Iterator[EffectTruth]:
        for treatment in TREATMENTS:
            for outcome in OUTCOMES:
                for brand in (*range(len(BRANDS)), None):
                    for region in (None, *range(len(REGIONS))):
                        effect = self._effect(treatment, outcome, brand, region)
                        if effect is not None:
                            yield effect

    def _effect(self, treatment: str, outcome: str, brand: int | None, region: int | None) -> EffectTruth | None:
        brands = range(len(BRANDS)) if brand is None else (brand,)
        regions = range(len(REGIONS)) if region is None else (region,)
        parts = [part for b in brands for r in regions for part in self._parts[treatment, outcome, b, r]]
        n, total, squares, accepting, accepting_total = (math.fsum(column) for column in zip(*parts, strict=True))
        if not n:
            return None
        brand_name = None if brand is None else BRANDS[brand]
        complier = accepting_total / accepting if treatment == "trigger_accepted" and accepting else None
        return EffectTruth(
            treatment=treatment,
            outcome=outcome,
            brand=brand_name,
            region=None if region is None else REGIONS[region],
            effect=total / n,
            spread=math.sqrt(max(squares / n - (total / n) ** 2, 0.0)),
            n=int(n),
            lag=EMAIL_LAG if treatment == "email_opens" else 0,
            identifiable=is_identifiable(treatment, brand_name),
            complier_effect=complier,
        )


def _differences(hcps: Hcps, promotion: Promotion, model: ScriptModel) -> Iterator[tuple[str, dict[str, IntArray]]]:
    lift = promotion_lift(hcps, promotion)
    actual = model.outcomes(lift)
    for treatment in COUNTED:
        more = model.outcomes(lift + unit_effects(treatment, hcps.brand, hcps.region)[:, None])
        yield treatment, _minus(more, actual)
    nobody = np.zeros_like(promotion.would_accept)
    without = model.outcomes(promotion_lift(hcps, promotion, accepted=nobody))
    delivered = _lift_outcomes(hcps, promotion, model, promotion.would_accept)
    yield "trigger_delivered", _minus(delivered, without)
    yield "trigger_accepted", _minus(_lift_outcomes(hcps, promotion, model, ~nobody), without)


def _lift_outcomes(hcps: Hcps, promotion: Promotion, model: ScriptModel, accepted: np.ndarray) -> dict[str, IntArray]:
    lift: FloatArray = promotion_lift(hcps, promotion, accepted=accepted)
    return model.outcomes(lift)


def _minus(left: dict[str, IntArray], right: dict[str, IntArray]) -> dict[str, IntArray]:
    return {outcome: left[outcome] - right[outcome] for outcome in left}
