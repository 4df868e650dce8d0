"""Which retrieval settings are tried, and how far may one change go?

One change moves each weight by at most ``WEIGHT_MOVE`` and k by at most the factor ``K_FACTOR``, so that a poor setting
is mended in one or two changes and none turns retrieval over at once. How documents are cut is not changed: the corpus
is cut in one way at a time, and a candidate with another cannot answer a share of the questions beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from src.errors import ContractViolation
from src.storage.retrieval_configurations import ARMS, SETTINGS, Arm, RetrievalConfig

MOST_K = 20
"""Most passages that are tried; a reader of answers has no use for more."""
TABLE_MOST_K = 50
K_FACTOR = 3
WEIGHT_STEP = 0.05
WEIGHT_MOVE = 0.4

_SIZES = ("k", "chunk_size", "chunk_overlap")
_WEIGHTS: Mapping[Arm, str] = {arm: f"{arm}_weight" for arm in ARMS}
_TOLERANCE = 1e-6


def config_of(content: Mapping[str, Any], *, config_id: str = "", version: int = 0) -> RetrievalConfig:
    """The settings as the retriever takes them. Raises ContractViolation for what the database would refuse."""
    if problems := [*_malformed(content)]:
        raise ContractViolation(f"retrieval settings: {problems[0]}")
    return RetrievalConfig(
        config_id=config_id,
        version=version,
        k=int(content["k"]),
        chunk_size=int(content["chunk_size"]),
        chunk_overlap=int(content["chunk_overlap"]),
        dense_weight=float(content["dense_weight"]),
        text_weight=float(content["text_weight"]),
        graph_weight=float(content["graph_weight"]),
        rerank=bool(content["rerank"]),
    )


def out_of_bounds(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Why the settings may not follow those in use, one line each."""
    if problems := [*_malformed(before), *_malformed(after)]:
        return problems
    return [*_too_far(config_of(before), config_of(after))]


def k_range(k: int) -> tuple[int, int]:
    """Least and most passages that one change may lead to."""
    return max(1, math.ceil(k / K_FACTOR)), max(k, min(MOST_K, k * K_FACTOR))


def _too_far(before: RetrievalConfig, after: RetrievalConfig) -> Iterator[str]:
    least, most = k_range(before.k)
    if not least <= after.k <= most:
        yield f"k goes from {before.k} to {after.k}; one change leads to {least} to {most}"
    for arm in ARMS:
        now, then = before.weight(arm), after.weight(arm)
        if abs(then - now) > WEIGHT_MOVE + _TOLERANCE:
            yield f"the weight of {arm} goes from {now:g} to {then:g}; it may move by {WEIGHT_MOVE:g}"
    if (after.chunk_size, after.chunk_overlap) != (before.chunk_size, before.chunk_overlap):
        yield "how documents are cut is changed by hand only, with 'e2i corpus reindex'"


def _malformed(content: Mapping[str, Any]) -> Iterator[str]:
    if missing := [name for name in SETTINGS if name not in content]:
        yield f"{missing[0]} is missing"
        return
    if unknown := [name for name in content if name not in SETTINGS]:
        yield f"there is no setting {unknown[0]}"
    if not all(_is_whole(content[name]) for name in _SIZES) or not 1 <= content["k"] <= TABLE_MOST_K:
        yield f"k is a whole number from 1 to {TABLE_MOST_K}, and sizes are whole numbers"
    elif not 0 <= content["chunk_overlap"] < content["chunk_size"]:
        yield "chunks overlap by less than their size"
    if not isinstance(content["rerank"], bool):
        yield "rerank is true or false"
    weights = [content[name] for name in _WEIGHTS.values()]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1 for one in weights):
        yield "weights are numbers from 0 to 1"
    elif abs(sum(weights) - 1) > _TOLERANCE:
        yield f"the weights sum to {sum(weights):g} instead of 1"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
