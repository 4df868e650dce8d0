"""Which weights rank supported claims first, and how far does that carry to texts they were not fitted on?

`python -m benchmarks.rag.fitting` prints two estimates on development halves: AUROC on held-out contexts (5 folds,
several draws) and on each set when the weights are fitted on the other four, beside the baselines on the same rows.
`--write FILE` fits on all development rows and writes the weights. Test halves are never read. Exit code 2 without
the data.

The loss is the mean over sets of log(1 + exp(-4 d)), d the difference in raw faithfulness of a supported and an
unsupported answer of one set, as it is computed in use (mean and weakest claim), with a quadratic penalty.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.rag.heuristics import DATA, SETS, auroc, group_of, rouge_l, rows_of, words
from src.rag.heuristics import evidence as terms
from src.rag.heuristics.claims import claims
from src.rag.heuristics.doubt import counts_for
from src.rag.heuristics.evidence import fewer, near_one, traits
from src.rag.heuristics.evidence_weights import AgainstWeights, EvidenceWeights, ForWeights
from src.rag.heuristics.faithfulness import MEAN_SHARE, NOTHING_BELOW
from src.rag.heuristics.passages import Sentence, passages
from src.rag.heuristics.support import support_in
from src.rag.heuristics.tokens import tokenize

FOR = tuple(name for name in ForWeights.model_fields if name != "constant")
AGAINST = tuple(AgainstWeights.model_fields)
STEEPNESS, SHRINKAGE, POOLING = 4.0, 0.1, 0.1
"""Of the loss; of all weights; of the difference between answers and statements."""
LEAST = {"negation": 0.05, "antonym": 0.05}
"""Rare in the sets and plainly wrong elsewhere: never without weight (in standard deviations)."""
SET_WEIGHT = {"begin": 8.0}
"""Most of its pairs are easy, so that alone among the sets it would be given up for the others."""
PAIRS, FOLDS = 3_000, 5
NOTHING = -30.0
"""Log odds of a claim no word of which stands in the context."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Answers of a set, each a run of claims: ``rows`` by FOR and AGAINST, ``offset`` what has a fixed weight."""

    label: NDArray[np.intp]
    group: NDArray[np.str_]
    asked: NDArray[np.bool_]
    baselines: Floats
    item: NDArray[np.intp]
    rows: Floats
    offset: Floats
    part: Floats

    @property
    def start(self) -> NDArray[np.intp]:
        """Where the claims of each answer begin."""
        return np.flatnonzero(np.r_[True, self.item[1:] != self.item[:-1]])


def read(name: str) -> Answers:
    """The development half of a set."""
    kept: dict[str, list[object]] = {field.name: [] for field in fields(Answers)}
    for number, row in enumerate(rows_of(name, development=True)):
        answer, context = str(row["text"]), str(row["context"])
        kept["label"].append(int(str(row["label"])))
        kept["group"].append(group_of(row))
        kept["asked"].append(bool(tokenize(str(row["question"]))))
        overlap = len({*words(answer)} & {*words(context)}) / max(1, len({*words(answer)}))
        kept["baselines"].append((overlap, *rouge_l(answer, context)))
        made = claims(answer) if passages(context).sentences else ()
        counted = [counts_for(claim) for claim in made] or [1]
        columns = [columns_of(claim, context) for claim in made] or [(np.zeros(len(FOR) + len(AGAINST)), NOTHING)]
        for (values, offset), count in zip(columns, counted, strict=True):
            kept["item"].append(number)
            kept["rows"].append(values)
            kept["offset"].append(offset)
            kept["part"].append(count / sum(counted))
    return Answers(**{key: np.array(values) for key, values in kept.items()})  # type: ignore[arg-type]


def columns_of(claim: Sentence, context: str) -> tuple[Floats, float]:
    """The traits that have a fitted weight, those against it negative, and the log odds of those with a fixed one."""
    found = traits(claim, (context,), support_in(claim, (context,)))
    if not found.closest:
        return np.zeros(len(FOR) + len(AGAINST)), NOTHING
    said, doubted = found.closest[0], found.doubts
    speaks_for = {
        "no_new_words": fewer(found.new_words),
        **{name: near_one(getattr(said, name)) for name in ("order", "content_order")},
        **{name: near_one(getattr(found, name)) for name in ("words_found", "letters_found", "density", "triples")},
    }
    speaks_against = {
        "denial": doubted.denies,
        **{name: getattr(doubted, name) for name in ("denial_unread", "absolute_unread")},
        **{name: getattr(said, name) for name in AGAINST if hasattr(said, name)},
    }
    fixed = -terms.UNSEEN_NUMBERS * found.unseen_numbers - terms.OVERREACH * said.overreach
    fixed -= terms.OTHER_NAMES * said.names_elsewhere + terms.OTHERS_FIGURE * said.others_figure
    values = [speaks_for[name] for name in FOR] + [-float(speaks_against[name]) for name in AGAINST]
    return np.array(values, dtype=np.float64), fixed


def part_of(answers: Answers, kept: NDArray[np.bool_]) -> Answers:
    """Some of the answers."""
    claims_kept = kept[answers.item]
    number = np.cumsum(kept) - 1
    own = {name: getattr(answers, name)[kept] for name in ("label", "group", "asked", "baselines")}
    claimed = {name: getattr(answers, name)[claims_kept] for name in ("rows", "offset", "part")}
    return Answers(**own, **claimed, item=number[answers.item[claims_kept]])


@dataclass(frozen=True)
class Fitted:
    """Weights of FOR and AGAINST and a constant, for statements (row 0) and for answers (row 1)."""

    weights: Floats

    def score(self, answers: Answers) -> Floats:
        """Raw faithfulness of each answer."""
        return _score(self.weights, answers.rows, answers)[0]


def _score(weights: Floats, rows: Floats, answers: Answers) -> tuple[Floats, Floats]:
    """Raw faithfulness of each answer, and its slope in the log odds of each claim."""
    own = weights[answers.asked[answers.item].astype(int)]
    value = 1 / (1 + np.exp(-np.clip((rows * own[:, :-1]).sum(1) + own[:, -1] + answers.offset, -30, 30)))
    slope = value * (1 - value)
    start = answers.start
    excess = np.maximum(0, value - NOTHING_BELOW) / (1 - NOTHING_BELOW)
    weakest = np.minimum.reduceat(value, start)
    is_weakest = value == weakest[answers.item]
    shared = np.add.reduceat(is_weakest.astype(float), start)[answers.item]
    raw = MEAN_SHARE * np.add.reduceat(answers.part * excess, start) + (1 - MEAN_SHARE) * weakest
    by_mean = MEAN_SHARE * answers.part * (value > NOTHING_BELOW) / (1 - NOTHING_BELOW)
    return raw, slope * (by_mean + (1 - MEAN_SHARE) * is_weakest / shared)


def fit(sets: Sequence[tuple[str, Answers]]) -> Fitted:
    """Weights by the loss above. What speaks against a claim weighs the same for answers and for statements."""
    centre = np.mean([own.rows.mean(0) for _, own in sets], axis=0)
    spread = np.sqrt(np.mean([own.rows.var(0) for _, own in sets], axis=0)) + 1e-6
    rows = [(own.rows - centre) / spread for _, own in sets]
    drawn = _pairs(sets)
    loss = _loss(sets, rows, drawn)
    least = [0.0] * len(FOR) + [LEAST.get(name, 0.0) for name in AGAINST]
    # Both rows of FOR, one of AGAINST, two constants.
    bounds = [(0.0, None)] * (2 * len(FOR)) + [(low, None) for low in least[len(FOR) :]] + [(-4.0, 4.0)] * 2
    start = np.array([0.1] * (2 * len(FOR) + len(AGAINST)) + [0.0, 0.0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 150})
    weights = _by_kind(found.x)
    weights[:, :-1] /= spread
    weights[:, -1] -= weights[:, :-1] @ centre
    return Fitted(weights)


def _by_kind(packed: Floats) -> Floats:
    one, other, against, constants = np.split(packed, [len(FOR), 2 * len(FOR), 2 * len(FOR) + len(AGAINST)])
    return np.array([np.r_[one, against, constants[0]], np.r_[other, against, constants[1]]])


def _pairs(sets: Sequence[tuple[str, Answers]]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Supported and unsupported answers of each set, all pairs or as many as are drawn."""
    draw = np.random.default_rng(0)
    found = []
    for _, own in sets:
        good, bad = np.flatnonzero(own.label == 1), np.flatnonzero(own.label == 0)
        if len(good) * len(bad) <= PAIRS:
            found.append((np.repeat(good, len(bad)), np.tile(bad, len(good))))
        else:
            found.append((draw.choice(good, PAIRS), draw.choice(bad, PAIRS)))
    return found


def _loss(
    sets: Sequence[tuple[str, Answers]],
    rows: Sequence[Floats],
    drawn: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
) -> Callable[[Floats], tuple[float, Floats]]:
    share = np.array([SET_WEIGHT.get(name, 1.0) for name, _ in sets])
    share /= share.sum()

    def loss(packed: Floats) -> tuple[float, Floats]:
        weights = _by_kind(packed)
        differ = weights[0, :-1] - weights[1, :-1]
        total = SHRINKAGE / 4 * (weights[:, :-1] ** 2).sum() + POOLING / 4 * differ @ differ
        slope = SHRINKAGE / 2 * weights
        slope[0, :-1] += POOLING / 2 * differ
        slope[1, :-1] -= POOLING / 2 * differ
        slope[:, -1] = 2e-3 * weights[:, -1]
        total += 1e-3 * (weights[:, -1] ** 2).sum()
        for (_, own), values, (good, bad), part in zip(sets, rows, drawn, share, strict=True):
            raw, by_claim = _score(weights, values, own)
            lead = STEEPNESS * (raw[good] - raw[bad])
            total += part * np.logaddexp(0, -lead).mean()
            by_pair = -part * STEEPNESS / (1 + np.exp(lead)) / len(lead)
            by_item = np.bincount(good, by_pair, len(own.label)) - np.bincount(bad, by_pair, len(own.label))
            change = by_item[own.item] * by_claim
            for kind in (0, 1):
                chosen = own.asked[own.item] == bool(kind)
                slope[kind] += np.r_[change[chosen] @ values[chosen], change[chosen].sum()]
        both = slope[0, len(FOR) : -1] + slope[1, len(FOR) : -1]
        return float(total), np.r_[slope[0, : len(FOR)], slope[1, : len(FOR)], both, slope[0, -1], slope[1, -1]]

    return loss


def within_folds(label: NDArray[np.intp], score: Floats, fold: NDArray[np.intp]) -> float:
    """AUROC over the pairs that lie in one fold: scores of different fits are not compared."""
    right = pairs = 0.0
    for number in np.unique(fold):
        own = fold == number
        count = float(label[own].sum() * (1 - label[own]).sum())
        if count:
            right += auroc(label[own].tolist(), score[own].tolist()) * count
            pairs += count
    return right / pairs


def fold_of(groups: NDArray[np.str_], draw: int) -> NDArray[np.intp]:
    """The fold of each context, the same in every set."""
    return np.array([int(hashlib.sha256(f"{draw} {one}".encode()).hexdigest(), 16) % FOLDS for one in groups])


def cross_validated(sets: dict[str, Answers], draw: int) -> dict[str, tuple[Floats, NDArray[np.intp]]]:
    """Scores of each answer by weights fitted without its context, and its fold."""
    folds = {name: fold_of(own.group, draw) for name, own in sets.items()}
    scores = {name: np.zeros(len(own.label)) for name, own in sets.items()}
    for number in range(FOLDS):
        model = fit([(name, part_of(own, folds[name] != number)) for name, own in sets.items()])
        for name, own in sets.items():
            held_out = folds[name] == number
            scores[name][held_out] = model.score(part_of(own, held_out))
    return {name: (scores[name], folds[name]) for name in sets}


def report(sets: dict[str, Answers], draws: int) -> None:
    """Print held-out AUROC by context and by set."""
    found = [cross_validated(sets, draw) for draw in range(draws)]
    print(f"{'set':12s} {'contexts':>8s} {'95 %':>14s} {'overlap':>7s} {'RL-prec':>7s} {'RL-F':>6s} {'set out':>7s}")
    columns = []
    for name, own in sets.items():
        held_out = np.mean([within_folds(own.label, *one[name]) for one in found])
        baselines = [
            np.mean([within_folds(own.label, own.baselines[:, place], one[name][1]) for one in found])
            for place in range(3)
        ]
        elsewhere = fit([(other, answers) for other, answers in sets.items() if other != name])
        set_out = auroc(own.label.tolist(), elsewhere.score(own).tolist())
        columns.append([held_out, *baselines, set_out])
        low, high = np.quantile(_redrawn(own, [one[name] for one in found]), [0.025, 0.975])
        print(_line(name, columns[-1], low, high))
    means = np.mean([_redrawn(own, [one[name] for one in found]) for name, own in sets.items()], axis=0)
    print(_line("mean", np.mean(columns, axis=0), *np.quantile(means, [0.025, 0.975])))


def _line(name: str, values: Sequence[float] | Floats, low: float, high: float) -> str:
    first, overlap, precision, f_measure, set_out = values
    spread = f"{low:.3f} to {high:.3f}"
    return f"{name:12s} {first:8.3f} {spread:>14s} {overlap:7.3f} {precision:7.3f} {f_measure:6.3f} {set_out:7.3f}"


def _redrawn(own: Answers, found: Sequence[tuple[Floats, NDArray[np.intp]]]) -> list[float]:
    """Held-out AUROC with contexts drawn anew 300 times."""
    draw = np.random.default_rng(0)
    places = [np.flatnonzero(own.group == one) for one in np.unique(own.group)]
    values = []
    for number in range(300):
        chosen = np.concatenate([places[at] for at in draw.integers(0, len(places), len(places))])
        score, fold = found[number % len(found)]
        values.append(within_folds(own.label[chosen], score[chosen], fold[chosen]))
    return values


def as_file(model: Fitted) -> EvidenceWeights:
    """Weights as they are stored, to three digits behind the point."""
    statement, answer = (
        dict(zip((*FOR, *AGAINST, "constant"), row.round(3).tolist(), strict=True)) for row in model.weights
    )
    speaks_for = [{"constant": one["constant"], **{name: one[name] for name in FOR}} for one in (answer, statement)]
    return EvidenceWeights(
        answer=ForWeights(**speaks_for[0]),
        statement=ForWeights(**speaks_for[1]),
        against=AgainstWeights(**{name: answer[name] for name in AGAINST}),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the estimates, or write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="fit on all development rows and write the weights")
    parser.add_argument("--draws", type=int, default=5, help="how often contexts are dealt into folds")
    options = parser.parse_args(argv)
    if not DATA.is_dir():
        print(f"the labelled sets are not there: {DATA}", file=sys.stderr)
        return 2
    sets = {name: read(name) for name in SETS}
    if options.write:
        head = (
            "# Log odds of a claim by what of it stands in the contexts (src/rag/heuristics/evidence.py). Numbers\n"
            "# made by `python -m benchmarks.rag.fitting --write FILE`, development halves only.\n"
        )
        body = yaml.safe_dump(as_file(fit(list(sets.items()))).model_dump(), sort_keys=False)
        options.write.write_text(head + body, encoding="utf-8")
        return 0
    report(sets, options.draws)
    return 0


if __name__ == "__main__":
    sys.exit(main())
