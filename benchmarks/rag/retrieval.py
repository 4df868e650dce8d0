"""How good and how fast is retrieval on SciFact (BEIR): nDCG@10 of each arm and of the shipped configuration?

``python -m benchmarks.rag.retrieval [--data FOLDER] [--cache FOLDER] [--tune]`` brings the corpus into a throw-away
database with the project's own ingestion and asks every query through the retriever as shipped. ``--cache`` keeps
vectors for the next time. ``--tune`` prints the weights on the training queries. Protocol: retrieval.md.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rag.ingestion import scifact
from src.domain.vocabulary import load_vocabulary
from src.rag.configuration import RagConfig, load_rag_config
from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.ingestion import ingest
from src.rag.embeddings.provider import EmbeddingProvider, Vectors
from src.rag.embeddings.selection import open_embeddings
from src.rag.retrieval.opening import open_retriever
from src.rag.retrieval.retriever import HybridRetriever
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from src.storage.connection import connect
from src.storage.database import Database
from src.storage.rag_documents import RagDocumentRepository
from src.storage.retrieval_configurations import RetrievalConfig, active_configuration

TEXT_TARGET, HYBRID_TARGET, P95_MS = 0.67, 0.70, 50.0
DEPTH = 20
DRAWS = 10_000
GRID = (0.2, 0.3, 0.4, 0.5, 0.571, 0.6, 0.7, 0.8)

Judged = Mapping[str, set[str]]


@dataclass(frozen=True)
class Queries:
    """Texts by id, and the relevant documents of the training and of the test queries."""

    texts: Mapping[str, str]
    train: Judged
    test: Judged


def read_queries(folder: Path) -> Queries:
    """Test judgements are BEIR's; training ones are the evidence documents named in the other queries."""
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    test: dict[str, set[str]] = {}
    for line in (folder / "qrels_test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            test.setdefault(query, set()).add(document)
    train = {row["_id"]: set(row["metadata"]) for row in rows if row["metadata"] and row["_id"] not in test}
    return Queries({row["_id"]: row["text"] for row in rows}, train, test)


def ndcg(ranked: Sequence[str], relevant: set[str], k: int = 10) -> float:
    """Normalised discounted cumulative gain with binary grades (Järvelin & Kekäläinen 2002)."""
    gain = sum(1 / np.log2(at + 2) for at, document in enumerate(ranked[:k]) if document in relevant)
    return float(gain / sum(1 / np.log2(at + 2) for at in range(min(k, len(relevant)))))


class KeptVectors:
    """An embedding provider that remembers texts in a file."""

    def __init__(self, inner: EmbeddingProvider, folder: Path) -> None:
        self.model, self.dims, self._inner = inner.model, inner.dims, inner
        self._file = folder / f"{inner.model}.npz"
        self._kept: dict[str, Any] = {}
        if self._file.exists():
            with np.load(self._file) as stored:
                self._kept = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))

    async def embed(self, texts: Sequence[str]) -> Vectors | Unavailable:
        """Only unknown texts are computed."""
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = [at for at, key in enumerate(keys) if key not in self._kept]
        if new:
            vectors = await self._inner.embed([texts[at] for at in new])
            if isinstance(vectors, Unavailable):
                return vectors
            self._kept |= {keys[at]: vector for at, vector in zip(new, vectors, strict=True)}
        return np.array([self._kept[key] for key in keys], dtype=np.float32)

    def save(self) -> None:
        """Write the file."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self._file, keys=np.array([*self._kept]), vectors=np.array([*self._kept.values()], dtype=np.float32))


@dataclass
class Shipped:
    """A retriever whose configuration can be set; None is the active one of the database."""

    retriever: HybridRetriever
    chosen: RetrievalConfig | None = None


@asynccontextmanager
async def filled(folder: Path, cache: Path | None) -> Any:
    """A database with the corpus, and a retriever over it with the configured model."""
    config = load_rag_config()
    model = open_embeddings(config.embedding)
    if isinstance(model, Unavailable):
        raise SystemExit(model.reason)
    kept = KeptVectors(model, cache) if cache else None
    async with connect(migrate=True) as database:
        await _fill(database, folder, config, kept or model)
        if kept is not None:
            kept.save()
        yield database, config, model


async def _fill(database: Database, folder: Path, config: RagConfig, model: EmbeddingProvider) -> None:
    active = await active_configuration(database)
    repository = RagDocumentRepository(database)
    async with repository.writing() as writer:
        cutting = Cutting(active.chunk_size, active.chunk_overlap)
        corpus = Corpus(repository, writer, model, cutting, config.corpus.documents_per_commit)
        await ingest(
            scifact(folder), corpus, on_progress=lambda done: print(f"\r{done:,} documents", end="", file=sys.stderr)
        )


def shipped(database: Database, config: RagConfig, model: EmbeddingProvider) -> tuple[HybridRetriever, Shipped]:
    """The retriever as `e2i corpus search` opens it, with a place to set another configuration."""
    retriever = open_retriever(database, config, embeddings=model, vocabulary=load_vocabulary())
    holder = Shipped(retriever)
    read = retriever._configuration

    async def configuration() -> RetrievalConfig:
        return holder.chosen or await read()

    retriever._configuration = configuration
    return retriever, holder


async def ask(
    retriever: HybridRetriever, queries: Queries, judged: Judged
) -> tuple[dict[str, float], list[float], set[str]]:
    """nDCG@10 by query, milliseconds by query, and what was degraded. Documents rank by their best chunk."""
    scores, times, degraded = {}, [], set()
    for query, relevant in judged.items():
        begun = time.perf_counter()
        result = await retriever.retrieve(queries.texts[query], k=DEPTH)
        times.append(1000 * (time.perf_counter() - begun))
        degraded |= {f"{one.arm}: {one.reason}" for one in result.degraded}
        ranked = [*dict.fromkeys(chunk.source_id.rpartition("/")[2] for chunk in result.chunks)]
        scores[query] = ndcg(ranked, relevant)
    return scores, times, degraded


def better_by(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[float, float, float]:
    """Mean paired difference with the 95 % interval of a percentile bootstrap over queries (seed 42)."""
    difference: NDArray[np.float64] = np.array([first[query] - second[query] for query in first])
    rng = np.random.default_rng(42)
    means = difference[rng.integers(0, len(difference), (DRAWS, len(difference)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(difference.mean()), float(low), float(high)


async def measure(folder: Path, cache: Path | None, *, tune: bool) -> int:
    """Print the tables; 1 when a target is missed."""
    queries = read_queries(folder)
    async with filled(folder, cache) as (database, config, model):
        retriever, holder = shipped(database, config, model)
        active = await active_configuration(database)
        begun = time.perf_counter()
        await retriever.retrieve("first query")
        print(f"\nfirst query, model and index loaded: {time.perf_counter() - begun:.1f} s")
        if tune:
            await _tune(retriever, holder, queries, active)
        arms = {
            "text (BM25)": replace(active, dense_weight=0.0, text_weight=1.0, graph_weight=0.0, rerank=False),
            "dense (minilm)": replace(active, dense_weight=1.0, text_weight=0.0, graph_weight=0.0, rerank=False),
            "hybrid, ranks only": replace(active, rerank=False),
            "hybrid as shipped": None,
        }
        found = {}
        print(f"{'':<20} {'nDCG@10':>8} {'median ms':>10} {'p95 ms':>8}")
        for name, chosen in arms.items():
            holder.chosen = chosen
            found[name], times, degraded = await ask(retriever, queries, queries.test)
            p50, p95 = np.percentile(times, (50, 95))
            print(f"{name:<20} {_mean(found[name]):>8.4f} {p50:>10.1f} {p95:>8.1f}  {'; '.join(degraded)}")
    return _verdict(found["text (BM25)"], found["hybrid as shipped"], float(p95))


async def _tune(retriever: HybridRetriever, holder: Shipped, queries: Queries, active: RetrievalConfig) -> None:
    print("training queries: nDCG@10 by the dense arm's share of dense + text")
    for share in GRID:
        row = []
        for rerank in (False, True):
            holder.chosen = replace(active, dense_weight=share, text_weight=1 - share, graph_weight=0.0, rerank=rerank)
            row.append(_mean((await ask(retriever, queries, queries.train))[0]))
        print(f"{share:>6.3f}  ranks {row[0]:.4f}  scores {row[1]:.4f}")


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean([*scores.values()]))


def _verdict(text: Mapping[str, float], hybrid: Mapping[str, float], p95: float) -> int:
    mean, low, high = better_by(hybrid, text)
    print(f"hybrid minus BM25, paired over {len(text)} queries: {mean:+.4f} (95 % from {low:+.4f} to {high:+.4f})")
    missed = [
        name
        for name, reached in {
            f"BM25 arm at least {TEXT_TARGET}": _mean(text) >= TEXT_TARGET,
            f"hybrid at least {HYBRID_TARGET}": _mean(hybrid) >= HYBRID_TARGET,
            "hybrid not below BM25": low >= 0,
            f"p95 at most {P95_MS:g} ms": p95 <= P95_MS,
        }.items()
        if not reached
    ]
    print(f"load: {os.getloadavg()[0]:.1f}; " + (f"missed: {', '.join(missed)}" if missed else "all targets reached"))
    return int(bool(missed))


def main() -> int:
    """Run; 2 without the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT_ROOT.parent / "shared/data/rag/scifact")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps vectors")
    parser.add_argument("--tune", action="store_true", help="weights on the training queries first")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"needs {options.data}: SciFact of BEIR", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="e2i-bench-") as folder:
        os.environ["E2I_VAR_DIR"] = folder
        os.environ.pop("DATABASE_URL", None)
        return asyncio.run(measure(options.data, options.cache, tune=options.tune))


if __name__ == "__main__":
    sys.exit(main())
