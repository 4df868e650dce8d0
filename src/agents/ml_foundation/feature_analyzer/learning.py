"""Which training rows does selection learn from, and what is their target?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest
from src.domain.modelling import ProblemType
from src.mlops.explanation.measures import target_codes
from src.mlops.preparation.columns import column_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def with_target(frame: pd.DataFrame, request: AnalyzeRequest) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Rows that have a target, and its codes. Raises UnknownColumn, DataUnavailable and ContractViolation."""
    target = column_of(frame, request.data.target, "target")
    codes, there = target_codes(target, is_number=request.problem_type is ProblemType.REGRESSION)
    return frame[there], codes
