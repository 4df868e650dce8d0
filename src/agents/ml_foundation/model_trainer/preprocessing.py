"""What does the model see of a split, when everything that was learnt for it was learnt on training rows?"""

from __future__ import annotations

from src.agents.ml_foundation.model_trainer.services import Training, made
from src.agents.training_rows import SplitRows
from src.contracts.enums import DataSplit
from src.domain.modelling import TrainingData
from src.mlops.modelling.types import Labelled
from src.mlops.preparation.transforms import FittedTransforms, fit_transforms

# Reported by where a request names no segments and the rows have them.
USUAL_SEGMENTS = ("brand", "region")


def learn_transforms(training: Training, data: TrainingData) -> FittedTransforms:
    """Fitted on the training rows, which are the only ones given to it. Raises what ``fit_transforms`` raises."""
    import pandas as pd

    frame = training.rows["train"].frame
    everywhere = pd.Series(str(DataSplit.TRAIN), index=frame.index, dtype=object)
    return fit_transforms(frame, everywhere, data.features)


def labelled(training: Training, split: SplitRows, data: TrainingData) -> Labelled:
    """Rows of a split as the model sees them, with the columns to report by."""
    columns = [name for name in data.segments or USUAL_SEGMENTS if name in split.frame.columns]
    return Labelled(
        made(training.transforms, "the preprocessing").apply(split.frame),
        made(training.coding, "the target's coding").encode(split.frame[data.target], data.target),
        split.frame[columns] if columns else None,
    )
