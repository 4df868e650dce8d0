"""Which SHAP explainer fits a model, and do its values really add up to the predictions?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.explanation.attribution import Attribution, Kind, NotAdditive, Space
from src.mlops.explanation.library import shap_library
from src.mlops.modelling.calibration import Sigmoid
from src.mlops.modelling.types import FittedModel

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE = 1e-4
MOST_BACKGROUND = 100
LEAST_BACKGROUND = 20
KERNEL_BACKGROUND = 20
KERNEL_ROWS = 100
# Predictions that the kernel explainer may ask for: about 25 s of a large forest.
KERNEL_PREDICTIONS = 500_000
# Nodes of all trees × rows × background rows: about 20 s on one core.
MOST_WORK = 1e9
# One call of the library; a longer one would draw a progress bar on the terminal.
CALL_WORK = 1e8

_KINDS: dict[str, Kind] = {
    "random_forest": "Tree",
    "xgboost": "Tree",
    "lightgbm": "Tree",
    "logistic_regression": "Linear",
    "ridge": "Linear",
    "lasso": "Linear",
}


@dataclass(frozen=True, slots=True)
class _Values:
    """``values`` (n, p, k) of k outputs, for the first n rows, and the background they are measured from."""

    values: Floats
    background: pd.DataFrame


def explainer_of(model: FittedModel) -> Kind:
    """Tree for forests and boosted trees, Linear for linear models, Kernel for anything else.

    Kernel too where probabilities are recalibrated: by steps, or after a forest's votes, that is no sum of trees.
    A sigmoid only stretches and shifts the log-odds of other models, and their values with them.
    """
    kind = _KINDS.get(model.algorithm, "Kernel")
    if model.recalibration is None or (model.algorithm != "random_forest" and _sigmoid(model)):
        return kind
    return "Kernel"


def explain(model: FittedModel, background: pd.DataFrame, rows: pd.DataFrame, *, random_state: int = 42) -> Attribution:
    """SHAP values of ``rows`` with real rows as ``background``, at most 100 of them, drawn with ``random_state``.

    Both hold the model's columns. Boosted classifiers and linear ones are explained in log-odds (several classes:
    class scores), forests and other classifiers in probabilities, regressions in the target's units (Lundberg &
    Lee 2017; interventional values, Janzing et al. 2020). A large model takes fewer of both; the kernel explainer
    20 background rows and at most the first 100 rows.

    Raises DataUnavailable without rows or background, UnknownColumn, ContractViolation for an effect model, and
    NotAdditive when base + values differ from the prediction by more than 1e-4 (of it, where it is beyond 1).
    """
    if model.problem_type is ProblemType.EFFECT:
        raise ContractViolation("an effect model predicts no outcome to explain; ask causal_impact about its effects")
    background, rows = _columns(model, background, "background"), _columns(model, rows, "rows to explain")
    kind, drawn = explainer_of(model), _drawn(background, MOST_BACKGROUND, random_state)
    if kind == "Tree":
        found = _tree(model, drawn, rows)
    elif kind == "Linear":
        found = _linear(model, drawn, rows)
    else:
        found = _kernel(model, _drawn(background, KERNEL_BACKGROUND, random_state), rows, random_state)
    return _attribution(model, kind, found, rows.iloc[: len(found.values)])


def space_of(model: FittedModel, kind: Kind) -> Space:
    """What the values of this model are measured in."""
    if model.problem_type is ProblemType.REGRESSION:
        return "target"
    if kind == "Kernel" or model.algorithm == "random_forest":
        return "probability"
    return "class_score" if model.n_classes > 2 else "log_odds"


def outputs(model: FittedModel, rows: pd.DataFrame) -> Floats:
    """What the model predicts, shape (n, k): the number, the probability of class 1, or of each of several classes."""
    import numpy as np

    scores = np.asarray(model.scores(rows), dtype=np.float64)
    if scores.ndim == 1:
        return scores[:, None]
    return scores[:, 1:] if scores.shape[1] == 2 else scores


def as_prediction(total: Floats, space: Space) -> Floats:
    """Values in ``space``, shape (n, k), as the model's predictions."""
    from scipy.special import expit, softmax

    if space == "log_odds":
        return _floats(expit(total))
    return _floats(softmax(total, axis=1)) if space == "class_score" else total


def _tree(model: FittedModel, background: pd.DataFrame, rows: pd.DataFrame) -> _Values:
    import numpy as np

    explainer = _tree_explainer(model, background)
    nodes = tree_nodes(explainer)
    affordable = int(MOST_WORK / (nodes * len(rows)))
    if affordable < len(background):
        background = background.iloc[: max(LEAST_BACKGROUND, affordable)]
        rows = rows.iloc[: max(1, int(MOST_WORK / (nodes * len(background))))]
        explainer = _tree_explainer(model, background)
    step = max(1, int(CALL_WORK / (nodes * len(background))))
    given = _by_place(explainer, rows.to_numpy(), np.float64 if model.algorithm == "lightgbm" else np.float32)
    parts = [
        _floats(explainer.shap_values(given[start : start + step], check_additivity=False))
        for start in range(0, len(given), step)
    ]
    return _Values(_of_classes(np.concatenate(parts)), background)


def _by_place(explainer: Any, rows: Floats, compared_as: Any) -> Floats:
    """Rows, and the explainer's thresholds and background, as places among each feature's thresholds.

    The library rounds thresholds, and not values, to float32 when it compares rows with background rows: a value
    close to a threshold would then go another way than in the model. Places are small whole numbers; a value goes
    left in the same nodes as before. ``compared_as``: type of values in the model's own comparison.
    """
    import numpy as np

    ensemble = explainer.model
    places = np.zeros_like(ensemble.thresholds)
    coded, background = np.zeros(rows.shape), np.zeros(explainer.data.shape)
    for feature in range(rows.shape[1]):
        there = ensemble.features == feature
        thresholds, position = np.unique(ensemble.thresholds[there], return_inverse=True)
        places[there] = position
        coded[:, feature] = np.searchsorted(thresholds, rows[:, feature].astype(compared_as))
        background[:, feature] = np.searchsorted(thresholds, explainer.data[:, feature].astype(compared_as))
    ensemble.thresholds, explainer.data = places, background
    return coded


def tree_nodes(explainer: Any) -> int:
    """Nodes of all trees that a tree explainer walks through."""
    return max(1, int(sum(explainer.model.num_nodes)))


def _tree_explainer(model: FittedModel, background: pd.DataFrame) -> Any:
    return shap_library().TreeExplainer(
        model.estimator, background.to_numpy(), feature_perturbation="interventional", model_output="raw"
    )


def _linear(model: FittedModel, background: pd.DataFrame, rows: pd.DataFrame) -> _Values:
    library = shap_library()
    masker = library.maskers.Independent(background.to_numpy(), max_samples=len(background))
    values = _floats(library.LinearExplainer(model.estimator, masker).shap_values(rows.to_numpy()))
    return _Values(_of_classes(values), background)


def _kernel(model: FittedModel, background: pd.DataFrame, rows: pd.DataFrame, random_state: int) -> _Values:
    import pandas as pd

    columns = list(model.columns)
    samples = 2 * len(columns) + 256
    rows = rows.iloc[: min(KERNEL_ROWS, max(1, KERNEL_PREDICTIONS // (samples * len(background))))]

    def predict(values: Any) -> Floats:
        return outputs(model, pd.DataFrame(values, columns=columns))

    with _seeded(random_state):
        explainer = shap_library().KernelExplainer(predict, background.to_numpy())
        values = _floats(
            explainer.shap_values(rows.to_numpy(), nsamples=samples, l1_reg=False, silent=True, gc_collect=False)
        )
    return _Values(values[:, :, None] if values.ndim == 2 else values, background)


def _of_classes(values: Floats) -> Floats:
    """Values as (n, p, k); of two classes only the second."""
    if values.ndim == 2:
        return values[:, :, None]
    return values[:, :, 1:] if values.shape[2] == 2 else values


def _attribution(model: FittedModel, kind: Kind, found: _Values, rows: pd.DataFrame) -> Attribution:
    import numpy as np

    space, predicted = space_of(model, kind), outputs(model, rows)
    # The library keeps one number where boosted classes start from several; the mean over the background is the
    # base by definition (Lundberg & Lee 2017, equation 1), and every row is checked against it.
    base = _raw(model, found.background, space).mean(axis=0)
    values = found.values * _stretch(model, space)
    total = base + values.sum(axis=1)
    error = max(_error(as_prediction(total, space), predicted), _error(total, _raw(model, rows, space)))
    chosen, n = predicted.argmax(axis=1), np.arange(len(rows))
    return Attribution(
        explainer=kind,
        space=space,
        columns=tuple(map(str, rows.columns)),
        values=values[n, :, chosen],
        base=base[chosen],
        data=rows.to_numpy(dtype=np.float64),
        max_error=error,
        n_background=len(found.background),
        n_classes=model.n_classes,
    )


def _error(said: Floats, wanted: Floats) -> float:
    """The greatest absolute difference. Raises NotAdditive beyond the tolerance."""
    import numpy as np

    if said.shape != wanted.shape:
        raise NotAdditive(f"the explainer gave {said.shape[-1]} outputs and the model has {wanted.shape[-1]}")
    difference = np.abs(said - wanted)
    # Numbers beyond 1 are stored by boosted trees with seven digits: their rounding grows with them.
    if not (difference <= TOLERANCE * np.maximum(1.0, np.abs(wanted))).all():
        raise NotAdditive(
            f"SHAP values and base differ from the model's prediction by up to {difference.max():.3g}; "
            "they do not explain this model"
        )
    return float(difference.max())


def _raw(model: FittedModel, rows: pd.DataFrame, space: Space) -> Floats:
    """The model's own output in ``space``, shape (n, k), by its own means."""
    if space in ("probability", "target"):
        return outputs(model, rows)
    estimator, values = model.estimator, rows.to_numpy()
    if model.algorithm == "xgboost":
        raw = estimator.predict(values, output_margin=True)
    elif model.algorithm == "lightgbm":
        raw = estimator.predict(values, raw_score=True)
    else:
        raw = estimator.decision_function(values)
    found = _floats(raw)
    scores = found[:, None] if found.ndim == 1 else found
    sigmoid = _sigmoid(model)
    return scores if sigmoid is None else sigmoid.intercept + sigmoid.slope * scores


def _stretch(model: FittedModel, space: Space) -> float:
    sigmoid = _sigmoid(model) if space == "log_odds" else None
    return 1.0 if sigmoid is None else sigmoid.slope


def _sigmoid(model: FittedModel) -> Sigmoid | None:
    return model.recalibration if isinstance(model.recalibration, Sigmoid) else None


def _columns(model: FittedModel, frame: pd.DataFrame, what: str) -> pd.DataFrame:
    if frame.empty:
        raise DataUnavailable(f"there are no {what}; SHAP values need real rows")
    absent = next((name for name in model.columns if name not in frame.columns), None)
    if absent is not None:
        raise UnknownColumn(absent, [str(name) for name in frame.columns], role="column of the model")
    return frame[list(model.columns)]


def _drawn(frame: pd.DataFrame, most: int, random_state: int) -> pd.DataFrame:
    import numpy as np

    if len(frame) <= most:
        return frame
    return frame.iloc[np.sort(np.random.default_rng(random_state).choice(len(frame), most, replace=False))]


def _vector(value: Any) -> Floats:
    import numpy as np

    return np.atleast_1d(np.asarray(value, dtype=np.float64))


def _floats(value: Any) -> Floats:
    import numpy as np

    return np.asarray(value, dtype=np.float64)


@contextmanager
def _seeded(random_state: int) -> Iterator[None]:
    """The kernel explainer draws from numpy's global generator; whoever else uses that finds it as it was."""
    import numpy as np

    before = np.random.get_state()
    np.random.seed(random_state)
    try:
        yield
    finally:
        np.random.set_state(before)
