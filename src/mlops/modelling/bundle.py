"""How does a model travel with everything it needs to predict from raw rows?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from src.domain.modelling import ProblemType
from src.errors import ContractViolation
from src.mlops.modelling.calibration import Sigmoid
from src.mlops.modelling.metrics import DEFAULT_THRESHOLD
from src.mlops.modelling.targets import TargetCoding
from src.mlops.modelling.types import FittedModel
from src.mlops.preparation.transforms import FittedFeature, FittedTransforms, Transformation, from_parameters

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The flavor a bundle is stored with. MLflow writes it with skops, which on loading makes only the types that were
# named when it was written; a pickle ("pyfunc") runs whatever is in the file.
BUNDLE_FLAVOR: Literal["sklearn"] = "sklearn"
_FORMAT = 1
_EPOCH_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, eq=False)
class ModelBundle:
    """Transforms of raw columns, the fitted model, the coding of its target and the threshold (two classes only)."""

    transforms: FittedTransforms
    model: FittedModel
    coding: TargetCoding
    target: str
    threshold: float | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Raw columns that rows must have."""
        return tuple(feature.name for feature in self.transforms.features)

    @property
    def classes(self) -> tuple[Any, ...]:
        """The target's values by code; () for a number."""
        return self.coding.classes

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The model's columns of raw rows. Raises UnknownColumn, ContractViolation."""
        return self.transforms.apply(frame)

    def scores(self, frame: pd.DataFrame) -> Floats:
        """What ``FittedModel.scores`` returns, of raw rows. Raises UnknownColumn, ContractViolation."""
        return self.model.scores(self.transform(frame))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One row per raw row, same index. Raises UnknownColumn, ContractViolation.

        Numbers: ``prediction``. Two classes: ``prediction`` (the value whose probability is at or above the
        threshold, or else the other) and ``probability`` of the second class. Several: the most likely value, its
        ``probability``, and ``probability_<value>`` of each.
        """
        import numpy as np
        import pandas as pd

        scores = self.scores(frame)
        if self.model.problem_type is ProblemType.REGRESSION:
            return pd.DataFrame({"prediction": scores}, index=frame.index)
        labels = pd.Series(list(self.classes))
        if self.model.problem_type is ProblemType.BINARY:
            cut = DEFAULT_THRESHOLD if self.threshold is None else self.threshold
            codes = (scores[:, 1] >= cut).astype(np.int64)
            return pd.DataFrame({"prediction": labels.to_numpy()[codes], "probability": scores[:, 1]}, frame.index)
        codes = scores.argmax(axis=1)
        columns = {"prediction": labels.to_numpy()[codes], "probability": scores.max(axis=1, initial=0.0)}
        columns |= {f"probability_{label}": scores[:, code] for code, label in enumerate(self.classes)}
        return pd.DataFrame(columns, index=frame.index)

    def example(self) -> pd.DataFrame:
        """One raw row of typical values, for the model's signature: nobody's row.

        Numbers and times are medians of the training rows, words their most frequent or first one.
        """
        import pandas as pd

        return pd.DataFrame({feature.name: [_typical(feature)] for feature in self.transforms.features})

    def __getstate__(self) -> dict[str, Any]:
        """Plain values and the estimator: what skops can write and read again without pickling."""
        model = self.model
        return {
            "format": _FORMAT,
            "transforms": self.transforms.parameters(),
            "estimator": model.estimator,
            "model": {
                "algorithm": model.algorithm,
                "problem_type": str(model.problem_type),
                "columns": list(model.columns),
                "n_classes": model.n_classes,
                "rounds": model.rounds,
                "rounds_fitted": model.rounds_fitted,
                "params": dict(model.params),
                "balanced": model.balanced,
                "notes": list(model.notes),
            },
            "recalibration": _written(model.recalibration),
            "classes": [_plain(label) for label in self.classes],
            "target": self.target,
            "threshold": None if self.threshold is None else float(self.threshold),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Raises ContractViolation for a bundle written in another format."""
        if state.get("format") != _FORMAT:
            raise ContractViolation(f"a model bundle of format {state.get('format')} cannot be read; store it again")
        given = state["model"]
        problem_type = ProblemType(given["problem_type"])
        lists = {name: tuple(given[name]) for name in ("columns", "notes")}
        model = FittedModel(**{**given, **lists, "problem_type": problem_type, "estimator": state["estimator"]})
        values = {
            "transforms": from_parameters(state["transforms"]),
            "model": replace(model, recalibration=_read(state["recalibration"])),
            "coding": TargetCoding(problem_type, tuple(state["classes"])),
            "target": state["target"],
            "threshold": state["threshold"],
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def as_bundle(loaded: Any) -> ModelBundle:
    """The bundle in what ``MLflowConnector.load_model`` returned, whatever flavor it was asked for.

    Raises ContractViolation when it is another kind of model.
    """
    model = loaded
    if not isinstance(model, ModelBundle) and hasattr(loaded, "get_raw_model"):
        model = loaded.get_raw_model()
    if not isinstance(model, ModelBundle):
        raise ContractViolation(
            f"the stored model is a {type(model).__name__} without the preparation of its columns; train it with "
            "`e2i train`"
        )
    return model


def _typical(feature: FittedFeature) -> Any:
    import pandas as pd

    match feature.transformation:
        case Transformation.STANDARDISE:
            return float(feature.median)
        case Transformation.DAYS:
            return pd.Timestamp(round((feature.start + feature.median) * _EPOCH_DAY_NS)).floor("s")
        case Transformation.ONE_HOT:
            return feature.fill or ""
        case Transformation.MULTI_HOT:
            return list(feature.words[:1])


def _written(recalibration: Sigmoid | None) -> dict[str, Any] | None:
    match recalibration:
        case None:
            return None
        case Sigmoid(slope, intercept):
            return {"method": "sigmoid", "slope": slope, "intercept": intercept}


def _read(written: Mapping[str, Any] | None) -> Sigmoid | None:
    match written:
        case None:
            return None
        case {"method": "sigmoid", "slope": slope, "intercept": intercept}:
            return Sigmoid(slope, intercept)
    raise ContractViolation("a stored recalibration cannot be read; store the model again")


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
