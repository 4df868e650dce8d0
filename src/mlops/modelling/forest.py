"""How is a random forest grown so that it can be watched while it grows?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.mlops.modelling.families import get_model_class
from src.mlops.modelling.matrices import probabilities
from src.mlops.modelling.rounds import RoundWatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# One tree says little about the next ones: a forest is judged after each group of this many.
TREES_PER_ROUND = 10


def fit_forest(
    problem_type: ProblemType,
    params: Mapping[str, Any],
    rows: Floats,
    y: Floats,
    weights: Floats | None,
    watch: RoundWatch | None,
    random_state: int,
    n_jobs: int,
) -> tuple[Any, int, int]:
    """The forest, and twice how many trees were grown. The same trees whether it is watched or not.

    All that were grown are used: more trees never make a forest worse, so that the best number of them on some rows
    is chance (Probst and Boulesteix 2018). Stopping early only saves time.
    """
    trees = int(params["n_estimators"])
    forest = get_model_class("random_forest", problem_type)(**params)
    forest.set_params(random_state=random_state, n_jobs=n_jobs)
    if watch is None:
        return forest.fit(rows, y, sample_weight=weights), trees, trees
    grown = _grow(forest, trees, problem_type, (rows, y, weights), watch)
    return forest.set_params(warm_start=False), grown, grown


def _grow(
    forest: Any,
    trees: int,
    problem_type: ProblemType,
    given: tuple[Floats, Floats, Floats | None],
    watch: RoundWatch,
) -> int:
    rows, y, weights = given
    forest.set_params(warm_start=True)
    total: Any = 0.0
    grown = 0
    while grown < trees:
        wanted = min(grown + TREES_PER_ROUND, trees)
        forest.set_params(n_estimators=wanted).fit(rows, y, sample_weight=weights)
        for tree in forest.estimators_[grown:]:
            total = total + _said(tree, problem_type, watch.rows)
        grown = wanted
        mean = total / grown
        if watch.saw(mean if problem_type is ProblemType.REGRESSION else probabilities(mean)):
            break
    return grown


def _said(tree: Any, problem_type: ProblemType, rows: Floats) -> Any:
    if problem_type is ProblemType.REGRESSION:
        return tree.predict(rows)
    return tree.predict_proba(rows)
