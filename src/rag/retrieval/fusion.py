"""How do the arms' rankings become one?

Weighted reciprocal-rank fusion (Cormack, Clarke & Büttcher 2009): a chunk's score is the sum over the arms that found
it of weight / (k + rank). Ranks, not scores, are joined: cosines, BM25 and confidences have no common scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.rag.retrieval.arms import Hit
from src.rag.retrieval_results import ArmPart
from src.storage.retrieval_configurations import Arm

# Least and most that a score can be: a cosine, a sum of BM25 scores, the score of a causal path. BM25 has no most: the
# best score that was found stands for it.
_LEAST: Mapping[Arm, float] = {"dense": -1.0, "text": 0.0, "graph": 0.0}
_MOST: Mapping[Arm, float] = {"dense": 1.0, "graph": 1.0}


@dataclass(frozen=True, slots=True)
class Fused:
    """A chunk with its joint score and what each arm said."""

    chunk_id: str
    score: float
    parts: Mapping[Arm, ArmPart]


def shared_weights(weights: Mapping[Arm, float], found: Mapping[Arm, Sequence[Hit]]) -> dict[Arm, float]:
    """Weights of the arms that found something, summing to 1: the others' weight is theirs in proportion.

    Where all of those have weight 0 they share equally.
    """
    present: list[Arm] = [arm for arm, hits in found.items() if hits]
    total = sum(weights[arm] for arm in present)
    return {arm: weights[arm] / total if total > 0 else 1 / len(present) for arm in present}


def fuse(found: Mapping[Arm, Sequence[Hit]], weights: Mapping[Arm, float], *, k: int) -> list[Fused]:
    """All chunks, best first; equal scores by chunk id. An arm of weight 0 adds no chunk of its own."""
    shared = shared_weights(weights, found)
    parts: dict[str, dict[Arm, ArmPart]] = {}
    for arm, weight in shared.items():
        for rank, hit in enumerate(found[arm], start=1):
            parts.setdefault(hit.chunk_id, {})[arm] = ArmPart(rank, hit.score, weight / (k + rank))
    fused = [
        Fused(chunk_id, sum(part.contribution for part in by_arm.values()), by_arm)
        for chunk_id, by_arm in parts.items()
    ]
    return sorted((one for one in fused if one.score > 0), key=lambda one: (-one.score, one.chunk_id))


def reranked(candidates: Sequence[Fused], weights: Mapping[Arm, float]) -> list[Fused]:
    """The candidates by a convex combination of the arms' scores, each scaled to 0–1 (Bruch, Gai & Ingber 2023).

    A score is scaled between the least and the most that it can be, so that an arm whose best is a poor match adds
    little; an arm that did not find a chunk counts as its least. Contributions and scores of the result are those of
    the combination.
    """
    most = {
        arm: _MOST.get(arm)
        or max((one.parts[arm].score for one in candidates if arm in one.parts), default=_LEAST[arm])
        for arm in weights
    }
    present = [arm for arm in weights if any(arm in one.parts for one in candidates)]
    total = sum(weights[arm] for arm in present) or 1.0
    again = []
    for one in candidates:
        parts = {
            arm: ArmPart(part.rank, part.score, weights[arm] / total * _scaled(part.score, _LEAST[arm], most[arm]))
            for arm, part in one.parts.items()
        }
        again.append(Fused(one.chunk_id, sum(part.contribution for part in parts.values()), parts))
    return sorted(again, key=lambda one: (-one.score, one.chunk_id))


def _scaled(score: float, least: float, most: float) -> float:
    return min((score - least) / (most - least), 1.0) if most > least else 1.0
