"""How often are people right to trust a raw score, in each kind of item?

`python -m benchmarks.rag.calibrating FILE` fits the tables of config/heuristic_calibration.yaml and writes them.
Development halves only. Weights and tables are fitted without the fold an item is in, so the agreement stated is that
of the whole procedure; the tables themselves come from the raw scores of all items, each from the fit without its fold.
Exit code 2 without the data.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from benchmarks.rag.fitting import FOLDS, fit, fold_of, part_of, read
from benchmarks.rag.heuristics import DATA, SETS, Floats, Item, balanced_accuracy, balanced_weights, scored
from src.rag.heuristics.calibration import CalibrationFile, Regime, RegimeTable, regime_of

LEAST_AGREEMENT = 0.60
LEAST_ITEMS = 50
DRAW = 0
"""The deal of contexts into folds."""


def isotonic(raw: Floats, label: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Pool adjacent violators over bins of at least 1/12 of the weight; centres and pooled means."""
    order = np.argsort(raw, kind="stable")
    cumulated = np.cumsum(weight[order])
    bins = np.minimum((cumulated / cumulated[-1] * 12).astype(int), 11)
    pools: list[list[float]] = []
    for number in np.unique(bins):
        inside = order[bins == number]
        total = float(weight[inside].sum())
        pools.append([float(raw[inside] @ weight[inside]), float(label[inside] @ weight[inside]), total])
        while len(pools) > 1 and (
            pools[-2][1] * pools[-1][2] >= pools[-1][1] * pools[-2][2]
            or pools[-1][0] / pools[-1][2] - pools[-2][0] / pools[-2][2] < 1e-3
        ):
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    return np.array([a / c for a, _, c in pools]), np.array([b / c for _, b, c in pools])


def table(items: Sequence[Item]) -> tuple[list[float], list[float]]:
    """Points of a table from 0 to 1."""
    raw, label = np.array([item.raw for item in items]), np.array([float(item.label) for item in items])
    centres, means = isotonic(raw, label, balanced_weights(items))
    points = dict(zip(np.round(centres, 4).tolist(), np.round(means, 4).tolist(), strict=True))
    points.setdefault(0.0, min(points.values()))
    points.setdefault(1.0, max(points.values()))
    places = sorted(points)
    return places, [points[place] for place in places]


def held_out_agreement(items: Sequence[Item], fold: Sequence[int], raw: Floats) -> float:
    """The least balanced accuracy of a set at 0.5, with weights and table from the folds an item is not in.

    ``raw`` has a row for each fold: the scores of all items by weights fitted without it. Sets of fewer than 50
    items in the regime say too little.
    """
    said = [False] * len(items)
    for number in range(FOLDS):
        scores = [replace(item, raw=float(value)) for item, value in zip(items, raw[number], strict=True)]
        places, probability = table([item for item, own in zip(scores, fold, strict=True) if own != number])
        for place, item in enumerate(scores):
            if fold[place] == number:
                said[place] = float(np.interp(item.raw, places, probability)) >= 0.5
    found = []
    for name in sorted({item.name for item in items}):
        own = [(item, verdict) for item, verdict in zip(items, said, strict=True) if item.name == name]
        if len(own) >= LEAST_ITEMS:
            found.append(balanced_accuracy([item for item, _ in own], [verdict for _, verdict in own]))
    return min(found)


def of_common_sets(items: Sequence[Item]) -> list[bool]:
    """Which items are of sets that have at least 50 of them: four items must not weigh as much as two thousand."""
    counted = Counter(item.name for item in items)
    return [counted[item.name] >= LEAST_ITEMS for item in items]


def fitted() -> CalibrationFile:
    """Tables of all regimes from the development halves."""
    sets = {name: read(name) for name in SETS}
    items = [item for name in SETS for item in scored(name, development=True)]
    fold = np.concatenate([fold_of(own.group, DRAW) for own in sets.values()])
    raw = np.empty((FOLDS, len(items)))
    for number in range(FOLDS):
        parts = [(name, part_of(own, fold_of(own.group, DRAW) != number)) for name, own in sets.items()]
        weights = fit(parts)
        raw[number] = np.concatenate([weights.score(own) for own in sets.values()])
    regimes = {}
    for regime in Regime:
        here = np.flatnonzero([regime_of(item.shape) is regime for item in items])
        here = here[of_common_sets([items[at] for at in here])]
        own = [replace(items[at], raw=float(raw[fold[at], at])) for at in here]
        places, probability = table(own)
        agreement = held_out_agreement(own, fold[here].tolist(), raw[:, here])
        regimes[regime] = RegimeTable(
            items=len(own), agreement=round(agreement, 4), raw=tuple(places), probability=tuple(probability)
        )
    return CalibrationFile(least_agreement=LEAST_AGREEMENT, regimes=regimes)


def written(file: CalibrationFile) -> str:
    """The tables as YAML."""
    head = (
        "# Raw faithfulness to the probability that people call an answer supported, for each kind of item. Numbers\n"
        "# made by `python -m benchmarks.rag.calibrating FILE`, development halves only.\n"
    )
    return head + yaml.safe_dump(file.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="where the tables are written")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        print(f"the labelled sets are not there: {DATA}", file=sys.stderr)
        return 2
    options.file.write_text(written(fitted()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
