"""Scores as a noisy judge would give them, of two variants whose true difference is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from src.domain.improvement import ItemScores
from src.domain.rubric import CRITERIA

WEIGHTS = dict(zip(CRITERIA, (0.25, 0.25, 0.20, 0.15, 0.15), strict=True))
RAGAS = ("faithfulness", "answer_relevancy", "context_precision")


@dataclass(frozen=True)
class NoisyJudge:
    """Whole points 1–5 per criterion: the quality of the question, the variant's shift and heavy-tailed noise (t, 3).

    ``shift``: of the latent quality per criterion. Most pairs tie on a criterion, some differ by several points.
    ``asked``: how often a question comes at most. A judge that likes the whole answer likes all of it (``halo``).
    """

    noise: float = 0.45
    halo: float = 0.3
    asked: int = 1
    shift: Mapping[str, float] = field(default_factory=dict)

    def pair(
        self, rng: np.random.Generator, questions: int, prefix: str = "q"
    ) -> tuple[list[ItemScores], list[ItemScores], dict[str, str]]:
        """Scores of the baseline, of the candidate, and the question of each item."""
        before, after, asked = [], [], {}
        for number in range(questions):
            quality = np.clip(rng.normal(3.2, 0.6) + rng.normal(0, 0.4, len(CRITERIA)), 1, 5)
            base = rng.beta(8, 2, len(RAGAS))
            for repeat in range(int(rng.integers(1, self.asked + 1))):
                item = f"{prefix}{number}-{repeat}"
                asked[item] = f"Question {prefix} {number}?"
                before.append(self._one(rng, item, quality, base, {}))
                after.append(self._one(rng, item, quality, base, self.shift))
        return before, after, asked

    def shift_for(self, points: float) -> float:
        """The shift of a criterion's latent quality that moves its mean score by so many points."""
        rng = np.random.default_rng(0)
        quality = np.clip(rng.normal(3.2, 0.6, 400_000) + rng.normal(0, 0.4, 400_000), 1, 5)
        latent = quality + self.noise * rng.standard_t(3, 400_000) + self.halo * rng.standard_t(3, 400_000)
        before = np.clip(np.rint(latent), 1, 5).mean()
        return float(
            brentq(lambda shift: np.clip(np.rint(latent + shift), 1, 5).mean() - before - points, -3, 3, xtol=1e-3)
        )

    def _one(
        self, rng: np.random.Generator, item: str, quality: np.ndarray, base: np.ndarray, shift: Mapping[str, float]
    ) -> ItemScores:
        moved = quality + np.array([shift.get(name, 0.0) for name in CRITERIA])
        noise = self.noise * rng.standard_t(3, len(CRITERIA)) + self.halo * rng.standard_t(3)
        points = dict(zip(CRITERIA, np.clip(np.rint(moved + noise), 1, 5), strict=True))
        metrics = {name: float(one) for name, one in points.items()}
        ragas = np.clip(base + rng.normal(0, 0.04, len(RAGAS)), 0, 1)
        metrics |= {name: float(one) for name, one in zip(RAGAS, ragas, strict=True)}
        return ItemScores(
            item,
            target=sum(WEIGHTS[name] * float(points[name]) for name in CRITERIA),
            metrics=metrics,
            cost_dollars=float(rng.lognormal(-5, 0.2)),
            latency_ms=float(rng.lognormal(8, 0.3)),
        )
