"""Which pairs of features act together in a model, beyond what each does alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from src.mlops.explanation.attribution import column_groups
from src.mlops.explanation.explainers import explainer_of, outputs, tree_nodes
from src.mlops.explanation.library import shap_library
from src.mlops.modelling.types import FittedModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Method = Literal["shap_interaction", "h_statistic"]

TREE_ROWS = 100
LEAST_TREE_ROWS = 20
# Nodes of all trees × columns × rows: about 10 s on one core.
MOST_WORK = 1e7
H_ROWS = 40
H_FEATURES = 6
MOST_PAIRS = 10
# Weaker than this is rounding.
NOTHING = 1e-8


@dataclass(frozen=True, slots=True)
class Pair:
    """Strength of two features acting together.

    shap_interaction: mean absolute SHAP interaction value of the pair, both orders added, in the space of the
    model's trees (log-odds or class score for boosted trees, probability for forests, or the target's units).
    h_statistic: Friedman & Popescu's H, the share (its root, 0 to about 1) of the pair's joint effect that is no
    sum of the two alone.
    """

    a: str
    b: str
    strength: float
    method: Method


def find_interactions(
    model: FittedModel, rows: pd.DataFrame, features: Sequence[str], *, important: Sequence[str]
) -> tuple[Pair, ...]:
    """The strongest pairs, at most 10, strongest first; none for linear models, which add their features up.

    Trees: SHAP interaction values (Lundberg et al. 2020) of up to 100 of ``rows``. Other models, and forests so
    large that not even 20 rows are affordable: the H-statistic among the six most ``important`` features on up to
    40 rows. ``rows`` hold the model's columns; those made of one of ``features`` count as that feature.
    """
    kind = explainer_of(model)
    if kind == "Linear":
        return ()
    frame = rows[list(model.columns)]
    groups = column_groups(model.columns, features)
    pairs = _tree(model, frame.iloc[:TREE_ROWS], groups) if kind == "Tree" else None
    if pairs is None:
        pairs = _h(model, frame, groups, important)
    strong = sorted((pair for pair in pairs if pair.strength > NOTHING), key=lambda pair: (-pair.strength, pair.a))
    return tuple(strong[:MOST_PAIRS])


def _tree(model: FittedModel, rows: pd.DataFrame, groups: Mapping[str, tuple[int, ...]]) -> list[Pair] | None:
    """None for a model too large for them."""
    import numpy as np

    explainer = shap_library().TreeExplainer(model.estimator, feature_perturbation="tree_path_dependent")
    affordable = int(MOST_WORK / (tree_nodes(explainer) * rows.shape[1]))
    if affordable < min(LEAST_TREE_ROWS, len(rows)):
        return None
    rows = rows.iloc[:affordable]
    values = np.asarray(explainer.shap_interaction_values(rows.to_numpy()), dtype=np.float64)
    if values.ndim == 4:
        chosen = outputs(model, rows).argmax(axis=1) if values.shape[3] > 2 else np.ones(len(rows), dtype=np.int64)
        values = values[np.arange(len(rows)), :, :, chosen]
    return [
        Pair(a, b, float(np.abs(_block(values, of_a, of_b) + _block(values, of_b, of_a)).mean()), "shap_interaction")
        for (a, of_a), (b, of_b) in combinations(groups.items(), 2)
    ]


def _block(values: Floats, rows: tuple[int, ...], columns: tuple[int, ...]) -> Floats:
    """Sum over two groups of columns, by explained row."""
    found: Floats = values[:, list(rows)][:, :, list(columns)].sum(axis=(1, 2))
    return found


def _h(
    model: FittedModel, rows: pd.DataFrame, groups: Mapping[str, tuple[int, ...]], important: Sequence[str]
) -> list[Pair]:
    """Friedman & Popescu 2008, equation 44, over the outputs of all classes together."""
    import numpy as np

    sample = rows.iloc[:H_ROWS]
    names = [name for name in important if name in groups][:H_FEATURES]
    alone = {name: _partial(model, sample, groups[name]) for name in names}
    pairs = []
    for a, b in combinations(names, 2):
        joint = _partial(model, sample, groups[a] + groups[b])
        total = float((joint**2).sum())
        beyond = float(((joint - alone[a] - alone[b]) ** 2).sum())
        strength = float(np.sqrt(beyond / total)) if total > NOTHING else 0.0
        pairs.append(Pair(a, b, strength, "h_statistic"))
    return pairs


def _partial(model: FittedModel, sample: pd.DataFrame, columns: tuple[int, ...]) -> Floats:
    """Centred partial dependence on these columns at each row of the sample, shape (n, k)."""
    import numpy as np
    import pandas as pd

    values, n = sample.to_numpy(dtype=np.float64), len(sample)
    repeated = np.tile(values, (n, 1))
    repeated[:, list(columns)] = np.repeat(values[:, list(columns)], n, axis=0)
    predicted = outputs(model, pd.DataFrame(repeated, columns=sample.columns))
    mean = predicted.reshape(n, n, -1).mean(axis=1)
    centred: Floats = mean - mean.mean(axis=0)
    return centred
