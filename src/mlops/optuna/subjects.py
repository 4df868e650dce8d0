"""Is this the search that the study was made for: the same rows, model, metric and rules?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.domain.modelling import Direction, ProblemType
from src.errors import HPOError
from src.mlops.modelling.metrics import searchable
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.objectives import EARLY_STOPPING_ROUNDS
from src.mlops.optuna.spaces import RawSpace
from src.mlops.optuna.summary import StudySubject, direction_of, subject_of

if TYPE_CHECKING:
    from optuna.study import Study

_COMPARED = (
    "algorithm",
    "problem_type",
    "metric",
    "search_space",
    "fixed_params",
    "balanced",
    "early_stopping_rounds",
    "random_state",
)


async def subject_of_search(
    *,
    algorithm: str,
    problem_type: ProblemType,
    search_space: RawSpace,
    train: Labelled,
    validation: Labelled,
    metric: str,
    fixed_params: Mapping[str, Any] | None = None,
    balanced: bool = False,
    random_state: int = 42,
    early_stopping_rounds: int | None = EARLY_STOPPING_ROUNDS,
) -> StudySubject:
    """The subject of a search on these rows. The rows are read in a thread.

    Raises HPOError for a bad space, ContractViolation for a metric nothing can be searched by.
    """
    searchable(metric, problem_type)
    return StudySubject.of(
        algorithm,
        problem_type,
        metric,
        search_space,
        fixed_params or {},
        rows=await asyncio.to_thread(rows_fingerprint, train, validation),
        balanced=balanced,
        early_stopping_rounds=early_stopping_rounds,
        random_state=random_state,
    )


def rows_fingerprint(*splits: Labelled) -> str:
    """32 hexadecimal digits of the columns' names and of all values in their order; how rows are numbered is left out.

    Blocks: seconds for a gigabyte.
    """
    import numpy as np

    digest = hashlib.blake2b(digest_size=16)
    for split in splits:
        digest.update(repr((len(split.X), [str(name) for name in split.X.columns])).encode())
        for column in (*(split.X.iloc[:, at] for at in range(split.X.shape[1])), split.y):
            digest.update(np.ascontiguousarray(column.to_numpy(), dtype="<f8").data)
    return digest.hexdigest()


def refuse_another_search(study: Study, direction: Direction, subject: StudySubject | None) -> None:
    """Raise HPOError, naming all that differs, when the study was made for something else."""
    if direction_of(study) != direction:
        raise HPOError(f"the study {study.study_name} is to {direction_of(study)}, not to {direction}")
    before = subject_of(study)
    if subject is None or before is None:
        return
    others = [said for name in _COMPARED if (said := _other(name, getattr(before, name), getattr(subject, name)))]
    if before.rows != subject.rows:
        others.append("its training and validation rows are others")
    if others:
        raise HPOError(f"the study {study.study_name} cannot be resumed: {', '.join(others)}; start a new one")


def _other(name: str, was: Any, wanted: Any) -> str | None:
    if was == wanted:
        return None
    return f"its {name} is others" if isinstance(was, Mapping) else f"its {name} is {was}, not {wanted}"
