"""Which established causal paths touch what the question names?"""

from __future__ import annotations

from collections.abc import Sequence

from src.rag.documents import SourceType
from src.rag.retrieval.arms import Asked, Found, Hit
from src.rag.retrieval.entities import Entities
from src.storage.rag_chunks import CausalPath, ChunkRepository, CorpusState
from src.storage.retrieval_configurations import Arm

MAX_HOPS = 3
PATHS_PER_HOP = 200
# A third arm that fills the candidates leaves no room for what documents say of the same measure.
MOST_PATHS = 10
# What a path counts that is reached over another one, of what it would count if the question named it.
PER_HOP = 0.5


class GraphArm:
    """Walks ``causal_paths`` from the measures in the question; finds the paths' documents.

    Its brands and regions only narrow the walk: a question that names a brand and no measure is not about causes.

    Only paths whose refutations passed or need a look are walked, never one that is blocked or untested.
    """

    name: Arm = "graph"

    def __init__(self, chunks: ChunkRepository) -> None:
        self._chunks = chunks

    async def prepare(self, state: CorpusState) -> None:
        """Nothing is kept."""

    async def search(self, asked: Asked) -> Found:
        """Chunks of the paths that were reached, surest first; nothing where the question names no measure."""
        scores = await self._walk(asked.entities)
        if not scores:
            return Found(())
        paths = sorted(scores, key=lambda path: (-scores[path], path))
        chunks = await self._chunks.of_sources(SourceType.CAUSAL_PATH, paths, asked.among)
        there = [path for path in paths if path in chunks][:MOST_PATHS]
        return Found([Hit(chunk, scores[path]) for path in there for chunk in chunks[path]][: asked.depth])

    async def _walk(self, named: Entities) -> dict[str, float]:
        """Score by path id, best first search over at most three hops."""
        scores: dict[str, float] = {}
        reached = dict.fromkeys(named.nodes, 1.0)
        frontier: Sequence[str] = named.nodes
        for _ in range(MAX_HOPS):
            if not frontier:
                break
            found = await self._chunks.causal_paths(
                frontier, brands=named.brands, regions=named.regions, limit=PATHS_PER_HOP
            )
            fresh = [path for path in found if path.path_id not in scores]
            scores |= {path.path_id: path_score(path, named, reached) for path in fresh}
            ahead = _nodes_ahead(fresh, scores, reached)
            reached |= ahead
            frontier = [*ahead]
        return scores


def path_score(path: CausalPath, named: Entities, reached: dict[str, float]) -> float:
    """Confidence of the path times how near the question its nodes are and what else it shares with it; 0–1.

    A path between two measures of the question counts more than one that touches only one of them.
    """
    nearness = max((reached[node] for node in path.nodes if node in reached), default=0.0)
    both = sum(node in named.nodes for node in set(path.nodes)) > 1
    same = (path.brand in named.brands) + (path.region in named.regions)
    return path.confidence * nearness * (1.0 + both + 0.25 * same) / 2.5


def _nodes_ahead(fresh: Sequence[CausalPath], scores: dict[str, float], reached: dict[str, float]) -> dict[str, float]:
    """Nodes reached for the first time, each with the best confidence by which it was."""
    ahead: dict[str, float] = {}
    for path in sorted(fresh, key=lambda path: -scores[path.path_id]):
        nearest = max((reached[node] for node in path.nodes if node in reached), default=1.0)
        for node in path.nodes:
            if node not in reached:
                ahead.setdefault(node, PER_HOP * path.confidence * nearest)
    return ahead
