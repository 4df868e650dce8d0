"""Does a single feature give the target away?

A feature is measured on rows that its rule was not learnt from: the rows are halved (units stay whole), and
what is learnt on one half (a direction, a rate per word, ranges of a number) is scored on the other. A number
need not rise or fall with the target; but a code that only arithmetic undoes, such as the last digit of a long
number, or ranges that touch in few rows, are out of reach. Honest features rarely
come near the thresholds. By simulation of two normal classes: a true AUC of .90 is taken for a leak in 2 of
1,000 samples of 60 rows with 10 positives and in fewer than 1 of 10,000 of 200 rows; .95 in up to 3 of 1,000
with 200 rows and 10 positives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from src.contracts.model import Role, TableContract
from src.contracts.rules import LengthRule, RatioRule
from src.domain.alerts import AlertSeverity
from src.errors import ContractViolation
from src.mlops.preparation.columns import Kind, column_of, days, kind_of, lists, numbers, texts
from src.mlops.preparation.leakage_report import LeakageFinding, Outcome, Unchecked

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Codes = NDArray[np.int64]

# Ranking so nearly perfect that only a recoding of the outcome, or its consequence, explains it.
TELLING_AUC = 0.99
TELLING_SPEARMAN = 0.995
TELLING_R2 = 0.99
TELLING_ACCURACY = 0.99
# The AUC of few rows scatters: in the smaller class, up to this many rows allow proportionally fewer exceptions.
FULL_CLASS = 50
# With fewer rows perfect separation happens by chance.
FEWEST_ROWS = 50
FEWEST_PER_CLASS = 10
FEWEST_PER_HALF = 3
# Numbers with so few different values may be codes, whose order means nothing.
FEW_VALUES = 20
MOST_ELEMENTS = 50
MOST_CLASSES = 50
# A rule that determines the target is learnt from far fewer rows.
MOST_LEARNT = 20_000


class _TargetKind(StrEnum):
    BINARY = "binary"
    CLASSES = "classes"
    NUMBER = "number"


@dataclass(frozen=True)
class _Target:
    """Known targets: ``y`` (0/1, class code or number), positions of their rows in the frame, and their halves."""

    name: str
    kind: _TargetKind
    y: Floats
    rows: Codes
    first_half: Flags


@dataclass(frozen=True)
class _Strength:
    """How well a feature tells the target; ``why_not`` says why it could not be measured."""

    measure: str = ""
    value: float = 0.0
    limit: float = 1.0
    rows: int = 0
    why_not: str = ""

    @property
    def telling(self) -> bool:
        return not self.why_not and self.value >= self.limit


def find_target_leakage(
    frame: pd.DataFrame,
    features: Sequence[str],
    target: str,
    *,
    unit: str | None = None,
    table: TableContract | None = None,
) -> Outcome:
    """Features that are the target, are an outcome by contract, or determine the target: by a rule, or alone.

    A rule of the contract that computes one column from others (a ratio, a length) gives the target away when
    all its other columns are features, however few rows there are.

    A feature determines a target of two values when its AUC, by order or by ranges, is at least .99 (up to .998
    where the smaller class has fewer than 50 rows); a number when |Spearman|, of the feature or of what its ranges
    let expect, is at least .995, or the means per value explain .99 of the variance; classes when the balanced
    accuracy is at least .99. So does whether it is empty. Fewer than 50 rows with both, or 10 per class, decide
    nothing.
    """
    named = {name: reason for name in features if (reason := _by_name(name, target, table))}
    findings = [_finding(name, len(frame), reason) for name, reason in named.items()]
    findings += _by_rule(features, target, len(frame), table)
    values = column_of(frame, target, "target")
    prepared = _prepare(values, target, column_of(frame, unit, "unit column") if unit else None, table)
    if isinstance(prepared, str):
        return Outcome(tuple(findings), (Unchecked("target", prepared),))
    skipped: list[Unchecked] = []
    for name in (name for name in features if name not in named):
        strengths = list(_strengths(column_of(frame, name, "feature").iloc[prepared.rows], name, prepared, table))
        telling = next((strength for strength in strengths if strength.telling), None)
        if telling is not None:
            findings.append(_telling(name, target, telling))
        elif why_not := next((strength.why_not for strength in strengths if strength.why_not), ""):
            skipped.append(Unchecked("target", why_not, (name,)))
    return Outcome(tuple(findings), tuple(skipped))


def _by_name(name: str, target: str, table: TableContract | None) -> str:
    if name == target:
        return f"'{name}' is the target itself"
    if table is not None and name in table.column_names and table.column(name).role is Role.OUTCOME:
        return f"'{name}' is an outcome: it is known only afterwards"
    return ""


def _by_rule(features: Sequence[str], target: str, rows: int, table: TableContract | None) -> Iterator[LeakageFinding]:
    for rule in table.row_rules if table is not None else ():
        if not isinstance(rule, RatioRule | LengthRule) or target not in rule.columns:
            continue
        others = tuple(name for name in rule.columns if name != target)
        if set(others) <= set(features):
            shown = " and ".join(f"'{name}'" for name in others)
            message = f"'{target}' is computed from {shown} (rule {rule.name}); leave one of them out of the features"
            if len(others) == 1:
                message = f"'{target}' is computed from {shown} (rule {rule.name}); leave it out of the features"
            yield LeakageFinding("target", AlertSeverity.CRITICAL, others, rows, message, {"rule": rule.name})


def _finding(name: str, rows: int, message: str, details: dict[str, Any] | None = None) -> LeakageFinding:
    text = f"{message}; leave it out of the features"
    return LeakageFinding("target", AlertSeverity.CRITICAL, (name,), rows, text, details or {})


def _telling(name: str, target: str, strength: _Strength) -> LeakageFinding:
    message = f"'{name}' alone tells '{target}' ({strength.measure} {strength.value:.3f} on rows not learnt from)"
    details = {"measure": strength.measure, "value": round(strength.value, 6), "limit": strength.limit}
    return _finding(name, strength.rows, message, details)


def _prepare(
    values: pd.Series[Any], name: str, units: pd.Series[Any] | None, table: TableContract | None
) -> _Target | str:
    """The target as numbers with its halves, or the reason why nothing can be measured."""
    import numpy as np
    import pandas as pd

    kind = kind_of(values, name, table)
    if kind is Kind.LIST:
        raise ContractViolation(f"target '{name}' holds lists; a target is a number, a word or a time")
    rows = np.flatnonzero(values.notna().to_numpy())
    known = values.iloc[rows]
    if len(rows) < FEWEST_ROWS:
        return f"{len(rows)} rows have a target; {FEWEST_ROWS} are needed to tell a leak from chance"
    read = texts(known, name) if kind is Kind.TEXT else _as_numbers(known, name, kind)
    codes, different = pd.factorize(read, sort=True)
    target_kind = _target_kind(kind, len(different))
    y: Floats = codes.astype(np.float64) if target_kind is not _TargetKind.NUMBER else read.astype(np.float64)
    counts = np.sort(np.bincount(codes))[::-1]
    fewest = counts[1] if target_kind is not _TargetKind.NUMBER and len(counts) > 1 else len(rows) - counts[0]
    if fewest < FEWEST_PER_CLASS:
        return f"the target differs from its most frequent value in too few rows; {FEWEST_PER_CLASS} are needed"
    owners = pd.factorize(units.iloc[rows].astype(object))[0] if units is not None else np.arange(len(rows))
    return _Target(name, target_kind, y, rows, _halves(y, owners.astype(np.int64)))


def _target_kind(kind: Kind, n_different: int) -> _TargetKind:
    if n_different == 2:
        return _TargetKind.BINARY
    return _TargetKind.CLASSES if kind is Kind.TEXT else _TargetKind.NUMBER


def _as_numbers(values: pd.Series[Any], name: str, kind: Kind) -> Floats:
    return days(values, name) if kind is Kind.TIME else numbers(values, name)


def _halves(y: Floats, owners: Codes) -> Flags:
    """True for rows of the first half. Rows of a unit stay together; units alternate in order of their target."""
    import numpy as np

    n = int(owners.max()) + 2
    highest = np.full(n, -np.inf)
    # Rows without a unit (code −1) share the last place.
    np.maximum.at(highest, owners, y)
    shuffled = np.random.default_rng(0).permutation(n)
    order = shuffled[np.argsort(highest[shuffled], kind="stable")]
    first = np.zeros(n, dtype=bool)
    first[order[::2]] = True
    return first[owners]


def _strengths(series: pd.Series[Any], name: str, target: _Target, table: TableContract | None) -> Iterator[_Strength]:
    import numpy as np
    import pandas as pd

    kind = kind_of(series, name, table) if series.notna().any() else Kind.TEXT
    empty = series.isna().to_numpy()
    if kind in (Kind.NUMBER, Kind.TIME):
        values = _as_numbers(series, name, kind)
        yield _of_numbers(values, target)
        if len(np.unique(values[~empty])) > FEW_VALUES:
            if empty.any():
                yield _of_codes(empty.astype(np.int64), target)
            return
        cells: Any = values
    elif kind is Kind.LIST:
        read = lists(series, name)
        cells = np.array(["\0".join(sorted(cell)) if cell is not None else None for cell in read], dtype=object)
        yield from _of_elements(read, target)
    else:
        cells = texts(series, name)
    yield _of_codes(pd.factorize(cells)[0].astype(np.int64) + 1, target)


def _of_elements(cells: Any, target: _Target) -> Iterator[_Strength]:
    """Whether a list holds a word, for the most frequent words."""
    from collections import Counter

    import numpy as np

    sets = [frozenset(cell or ()) for cell in cells]
    counted = Counter(word for cell in sets for word in cell)
    for word, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MOST_ELEMENTS]:
        yield _of_codes(np.array([word in cell for cell in sets], dtype=np.int64), target)


def _too_few(y: Floats, target: _Target) -> str:
    """Why these targets decide nothing, or an empty text."""
    import numpy as np

    if len(y) < FEWEST_ROWS:
        return f"{len(y)} rows have both the feature and the target; {FEWEST_ROWS} are needed"
    counts = np.sort(np.unique(y, return_counts=True)[1])[::-1]
    others = len(y) - counts[0] if target.kind is _TargetKind.NUMBER or len(counts) == 1 else counts[1]
    if others < FEWEST_PER_CLASS:
        return f"fewer than {FEWEST_PER_CLASS} rows of a second class have the feature"
    return ""


def _of_numbers(values: Floats, target: _Target) -> _Strength:
    """A number by its order (AUC, Spearman), or where that tells little by a small tree that knows ranges."""
    import numpy as np

    present = ~np.isnan(values)
    x, y, half = values[present], target.y[present], target.first_half[present]
    if why_not := _too_few(y, target):
        return _Strength(why_not=why_not)
    if target.kind is _TargetKind.NUMBER:
        strength = _spearman(x, y)
        if strength < TELLING_SPEARMAN and not _halves_unfit(y, half, target):
            strength = max(strength, _curve_spearman(x, y, half))
        return _Strength("rank correlation", strength, TELLING_SPEARMAN, len(y))
    if why_not := _halves_unfit(y, half, target):
        return _Strength(why_not=why_not)
    if target.kind is _TargetKind.BINARY:
        rising = [_auc(x[~part], y[~part]) >= 0.5 for part in (half, ~half)]
        signs = np.where(half, *(1.0 if up else -1.0 for up in rising))
        limit, strength = _auc_limit(y), _auc(signs * x, y)
        if strength < limit:
            strength = max(strength, _auc(_guessed(x, y, half), y))
        return _Strength("AUC", strength, limit, len(y))
    accuracies = [_tree_accuracy(x, y, learn=~part, judge=part) for part in (half, ~half)]
    return _Strength("balanced accuracy", float(np.mean(accuracies)), TELLING_ACCURACY, len(y))


def _of_codes(codes: Codes, target: _Target) -> _Strength:
    """A word by what goes with it: the rate, mean or most frequent class of each word in the other half."""
    import numpy as np

    y, half = target.y, target.first_half
    if why_not := _too_few(y, target) or _halves_unfit(y, half, target):
        return _Strength(why_not=why_not)
    parts = (half, ~half)
    if target.kind is _TargetKind.CLASSES:
        accuracies = [_word_accuracy(codes, y, learn=~part, judge=part) for part in parts]
        return _Strength("balanced accuracy", float(np.mean(accuracies)), TELLING_ACCURACY, len(y))
    means = [_word_means(codes, y, learn=~part)[codes[part]] for part in parts]
    if target.kind is _TargetKind.BINARY:
        score = np.empty(len(y))
        score[half], score[~half] = means
        return _Strength("AUC", _auc(score, y), _auc_limit(y), len(y))
    explained = [_r2(found, y[part]) for found, part in zip(means, parts, strict=True)]
    return _Strength("share of variance", float(np.mean(explained)), TELLING_R2, len(y))


def _halves_unfit(y: Floats, half: Flags, target: _Target) -> str:
    import numpy as np

    for part in (y[half], y[~half]):
        counts = np.sort(np.unique(part, return_counts=True)[1])[::-1]
        enough = len(counts) > 1 and counts[1] >= FEWEST_PER_HALF
        if not (len(counts) > 2 if target.kind is _TargetKind.NUMBER else enough):
            return "too few units differ in the target to judge on others than were learnt from"
    return ""


def _auc(x: Floats, y: Floats) -> float:
    """Probability that a positive has the higher x, ties counting half (Mann–Whitney)."""
    from scipy.stats import rankdata

    positive = y == 1.0
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    total = float(rankdata(x)[positive].sum())
    return (total - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _auc_limit(y: Floats) -> float:
    smaller = min(float(y.sum()), len(y) - float(y.sum()))
    return 1.0 - (1.0 - TELLING_AUC) * min(1.0, smaller / FULL_CLASS)


def _spearman(x: Floats, y: Floats) -> float:
    from scipy.stats import rankdata

    return abs(_correlation(rankdata(x), rankdata(y)))


def _correlation(a: Floats, b: Floats) -> float:
    import numpy as np

    return 0.0 if a.std() == 0 or b.std() == 0 else float(np.corrcoef(a, b)[0, 1])


def _word_means(codes: Codes, y: Floats, *, learn: Flags) -> Floats:
    """Mean of y per code over the rows to learn from; the overall mean for a code that is not among them."""
    import numpy as np

    n = int(codes.max()) + 1
    counts = np.bincount(codes[learn], minlength=n)
    sums = np.bincount(codes[learn], weights=y[learn], minlength=n)
    return np.where(counts > 0, sums / np.maximum(counts, 1), y[learn].mean())


def _r2(found: Floats, y: Floats) -> float:
    spread = float(((y - y.mean()) ** 2).sum())
    return 1.0 - float(((y - found) ** 2).sum()) / spread if spread > 0 else 0.0


def _word_accuracy(codes: Codes, y: Floats, *, learn: Flags, judge: Flags) -> float:
    import numpy as np

    shape = (int(codes.max()) + 1, int(y.max()) + 1)
    together = codes[learn] * shape[1] + y[learn].astype(np.int64)
    counts = np.bincount(together, minlength=shape[0] * shape[1]).reshape(shape)
    frequent = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), -1)
    return _balanced(frequent[codes[judge]].astype(np.float64), y[judge])


def _tree_accuracy(x: Floats, y: Floats, *, learn: Flags, judge: Flags) -> float:
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=2 * MOST_CLASSES, min_samples_leaf=2, random_state=0)
    guess = tree.fit(x[learn, None], y[learn]).predict(x[judge, None])
    return _balanced(np.asarray(guess, dtype=np.float64), y[judge])


def _guessed(x: Floats, y: Floats, half: Flags) -> Floats:
    """What a small tree, learnt on one half, expects of the target in each row of the other."""
    import numpy as np
    from sklearn.tree import DecisionTreeRegressor

    found = np.empty(len(y))
    for part in (half, ~half):
        learn = _some(np.flatnonzero(~part))
        tree = DecisionTreeRegressor(max_leaf_nodes=2 * MOST_CLASSES, min_samples_leaf=2, random_state=0)
        found[part] = tree.fit(x[learn, None], y[learn]).predict(x[part, None])
    return found


def _curve_spearman(x: Floats, y: Floats, half: Flags) -> float:
    """Rank correlation with what the other half lets expect: by ranges, or by the neighbours on either side.

    Few rows make too few ranges to follow a curve; many rows with noise make neighbours poor witnesses.
    """
    import numpy as np
    from scipy.stats import rankdata

    ranks = rankdata(y)
    between = np.empty(len(y))
    for part in (half, ~half):
        known, first = np.unique(x[~part], return_inverse=True)
        means = np.bincount(first, weights=ranks[~part]) / np.bincount(first)
        between[part] = np.interp(x[part], known, means)
    return max(_correlation(between, ranks), _correlation(_guessed(x, ranks, half), ranks))


def _some(rows: Codes) -> Codes:
    """As many rows as are needed to learn from, evenly spread."""
    return rows[:: max(1, len(rows) // MOST_LEARNT)]


def _balanced(guess: Floats, y: Floats) -> float:
    """Mean over classes of the share guessed right, classes of one or two rows aside."""
    import numpy as np

    classes, counts = np.unique(y, return_counts=True)
    return float(np.mean([(guess[y == one] == one).mean() for one in classes[counts >= FEWEST_PER_HALF]]))
