"""How well do the metrics without a model agree with people?

For each labelled set of ../shared/data/rag: AUROC of raw faithfulness on the development and the test half beside two
baselines (share of the answer's distinct words in the context; ROUGE-L, precision and F), calibrated balanced
accuracy, abstention, milliseconds of one item; WikiEval pairs. ``--half whole`` puts the halves together.
The weights come from fitting.py, the tables from calibrating.py. Exit code 1 when a target of
heuristics.md is missed on a test half, 2 without the data.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from scipy.stats import rankdata

from src.rag.heuristics.calibration import CalibrationFile, Shape, calibrate, load_calibration
from src.rag.heuristics.faithfulness import item_shape, raw_faithfulness
from src.rag.heuristics.precision import context_precision
from src.rag.heuristics.relevancy import answer_relevancy
from src.rag.heuristics.scoring import heuristic_scores
from src.rag.samples import EvaluationSample
from src.settings import PROJECT_ROOT

DATA = PROJECT_ROOT.parent / "shared" / "data" / "rag"
SETS = ("begin", "q2", "qags_cnndm", "qags_xsum", "scifact_nli")
BEAT_BASELINES = SETS[:4]
MEAN_AUROC, FAITH_PAIRS, RELEVANCY_PAIRS, MILLISECONDS = 0.73, 0.95, 0.70, 10.0
HALVES = {True: "development halves", False: "test halves", None: "whole sets, the halves together"}
_WORD = re.compile(r"[a-z0-9]+")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Item:
    """One labelled row, scored: raw faithfulness (0 where nothing was claimed), what its regime is known by."""

    name: str
    group: str
    label: int
    raw: float
    value: float | None
    shape: Shape
    overlap: float
    rouge: tuple[float, float]
    milliseconds: float


def group_of(row: dict[str, object]) -> str:
    """What must not be split: the question of a WikiEval pair, else the context.

    The ``group`` of the other sets is empty or the name of a file, and several rows share a context.
    """
    return str(row["group"] if str(row["set"]).startswith("wikieval") else row["context"])


def is_development(row: dict[str, object]) -> bool:
    """Half of the groups by a stable hash, the same in every set."""
    return hashlib.sha256(group_of(row).encode()).digest()[0] % 2 == 0


def rows_of(name: str, *, development: bool | None) -> list[dict[str, object]]:
    """One half of a set; None: the whole set."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if development is None or is_development(row) == development]


def words(text: str) -> list[str]:
    """Lower-case words, as the baselines count them."""
    return _WORD.findall(text.lower())


def rouge_l(answer: str, context: str) -> tuple[float, float]:
    """Longest common subsequence of words as share of the answer (precision), and F."""
    said, there = words(answer), words(context)
    common = LCSseq.similarity(said, there)
    precision, recall = common / max(1, len(said)), common / max(1, len(there))
    return precision, 2 * precision * recall / (precision + recall) if common else 0.0


def scored(name: str, *, development: bool | None) -> list[Item]:
    """Every row of a half with its raw score and baselines; the clock is that of the processor."""
    found = []
    for row in rows_of(name, development=development):
        answer, context, question = str(row["text"]), str(row["context"]), str(row["question"])
        start = time.process_time()
        scores = heuristic_scores(EvaluationSample(query=question, contexts=(context,), answer=answer))
        spent = (time.process_time() - start) * 1e3
        raw = raw_faithfulness(answer, [context], question)
        overlap = len({*words(answer)} & {*words(context)}) / max(1, len({*words(answer)}))
        shape = item_shape(answer, [context], question)
        value = raw.value if raw else 0.0
        label, group = int(str(row["label"])), group_of(row)
        given = scores["faithfulness"].value
        found.append(Item(name, group, label, value, given, shape, overlap, rouge_l(answer, context), spent))
    return found


def auroc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Probability that a supported answer scores above an unsupported one, ties half."""
    truth, ranks = np.asarray(labels), rankdata(scores)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def interval_of_mean(sets: Sequence[Sequence[Item]]) -> tuple[float, float]:
    """Bounds of 95 % of the mean AUROC of sets when their contexts are drawn anew 500 times."""
    draw = np.random.default_rng(0)
    contexts = [list(_by_context(items).values()) for items in sets]
    means = []
    for _ in range(500):
        drawn = [[item for at in draw.integers(0, len(own), len(own)) for item in own[at]] for own in contexts]
        means.append(np.mean([auroc([item.label for item in one], [item.raw for item in one]) for one in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _by_context(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.group, []).append(item)
    return found


def balanced_weights(items: Sequence[Item]) -> Floats:
    """Equal weight for every set and, in each, for supported and unsupported answers."""
    counted = Counter((item.name, item.label) for item in items)
    return np.array([0.5 / counted[item.name, item.label] for item in items])


def balanced_accuracy(items: Sequence[Item], said: Sequence[bool]) -> float:
    """Mean of the shares of supported and of unsupported answers judged rightly."""
    weight = balanced_weights(items)
    right = np.array([bool(item.label) == verdict for item, verdict in zip(items, said, strict=True)])
    return float(right @ weight / weight.sum())


def report_sets(calibration: CalibrationFile, *, development: bool | None) -> tuple[list[float], list[str]]:
    """Print the table of one half; AUROCs and what they miss."""
    print(f"\n{HALVES[development]}")
    print(f"{'set':12s} {'n':>5s} {'AUROC':>6s} {'calibr.':>7s} {'overlap':>7s} {'RL-prec':>7s} {'RL-F':>6s} "
          f"{'bal.acc':>7s} {'abstain':>7s} {'none':>6s} {'ms':>5s} {'p95':>5s}")  # fmt: skip
    values, missed, sets = [], [], []
    for name in SETS:
        items = scored(name, development=development)
        sets.append(items)
        labels = [item.label for item in items]
        own = auroc(labels, [item.raw for item in items])
        baselines = [auroc(labels, [item.overlap for item in items])]
        baselines += [auroc(labels, [item.rouge[part] for item in items]) for part in (0, 1)]
        kept = [(item, item.value) for item in items if item.value is not None]
        abstained = sum(calibrate(item.raw, item.shape, calibration).probability is None for item in items)
        mixed = len({item.label for item, _ in kept}) > 1
        calibrated = auroc([item.label for item, _ in kept], [value for _, value in kept]) if mixed else float("nan")
        agreed = (
            balanced_accuracy([item for item, _ in kept], [value >= 0.5 for _, value in kept])
            if mixed
            else float("nan")
        )
        took = [item.milliseconds for item in items]
        figures = (
            f"{own:6.3f} {calibrated:7.3f} {baselines[0]:7.3f} {baselines[1]:7.3f} {baselines[2]:6.3f} {agreed:7.3f}"
        )
        shares = f"{abstained / len(items):7.1%} {1 - len(kept) / len(items):6.1%}"
        print(f"{name:12s} {len(items):5d} {figures} {shares} {np.mean(took):5.2f} {np.quantile(took, 0.95):5.2f}")
        values.append(own)
        if name in BEAT_BASELINES and own <= max(baselines):
            missed.append(f"{name}: {own:.3f} is not above {max(baselines):.3f}")
        if np.mean(took) > MILLISECONDS:
            missed.append(f"{name}: {np.mean(took):.1f} ms an item")
    low, high = interval_of_mean(sets)
    print(f"{'mean':12s} {'':5s} {np.mean(values):6.3f}, 95 % of redrawn contexts {low:.3f} to {high:.3f}")
    if np.mean(values) < MEAN_AUROC:
        missed.append(f"mean AUROC {np.mean(values):.3f}")
    return values, missed


def pairs(name: str, *, development: bool) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Preferred and other row of each question."""
    by_group: dict[str, dict[int, dict[str, object]]] = {}
    for row in rows_of(name, development=development):
        by_group.setdefault(str(row["group"]), {})[int(str(row["label"]))] = row
    return [(found[1], found[0]) for found in by_group.values() if len(found) == 2]


def preferred(name: str, row: dict[str, object]) -> float:
    """The score a pair of this set is compared by."""
    question, context, text = str(row["question"]), str(row["context"]), str(row["text"])
    if name == "wikieval_faith":
        raw = raw_faithfulness(text, [context], question)
        return raw.value if raw else 0.0
    score = answer_relevancy(question, text) if name == "wikieval_ansrel" else context_precision(question, [context])
    return score.value or 0.0


def share_right(name: str, found: Sequence[tuple[dict[str, object], dict[str, object]]]) -> float:
    """Share of pairs in which the preferred row scores higher; ties count half."""
    marks = [np.sign(preferred(name, good) - preferred(name, bad)) for good, bad in found]
    return float(np.mean([(mark + 1) / 2 for mark in marks])) if marks else float("nan")


def of_like_length(pair: tuple[dict[str, object], dict[str, object]]) -> bool:
    """Whether neither text has more than one and a half times the words of the other."""
    lengths = sorted(len(str(row["text"]).split()) for row in pair)
    return lengths[1] <= 1.5 * lengths[0]


def report_pairs(*, development: bool) -> list[str]:
    """Print the WikiEval pairs of one half; what they miss."""
    faith, relevancy = (
        pairs("wikieval_faith", development=development),
        pairs("wikieval_ansrel", development=development),
    )
    alike = [pair for pair in relevancy if of_like_length(pair)]
    faith_right, relevancy_right = share_right("wikieval_faith", faith), share_right("wikieval_ansrel", relevancy)
    print(f"WikiEval pairs rightly preferred: faithfulness {faith_right:.3f} of {len(faith)}")
    alike_right = share_right("wikieval_ansrel", alike)
    print(
        f"answer relevancy {relevancy_right:.3f} of {len(relevancy)}, of like length {alike_right:.3f} of {len(alike)}"
    )
    missed = [f"faithfulness pairs {faith_right:.3f}"] if faith_right < FAITH_PAIRS else []
    return missed + ([f"relevancy pairs {relevancy_right:.3f}"] if relevancy_right < RELEVANCY_PAIRS else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("development", "test", "both", "whole"), default="both")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        print(f"the labelled sets are not there: {DATA}", file=sys.stderr)
        return 2
    calibration = load_calibration()
    for regime, table in calibration.regimes.items():
        verdict = "scored" if table.agreement >= calibration.least_agreement else "abstains"
        print(
            f"regime {regime:13s} {table.items:5d} items, held-out balanced agreement {table.agreement:.3f}: {verdict}"
        )
    missed: list[str] = []
    if options.half == "whole":
        report_sets(calibration, development=None)
        return 0
    if options.half != "test":
        report_sets(calibration, development=True)
        report_pairs(development=True)
    if options.half != "development":
        missed = report_sets(calibration, development=False)[1] + report_pairs(development=False)
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
