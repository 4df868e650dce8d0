"""How do the rows of a search reach workers in other processes? Through a file that is there as long as the search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from src.errors import DataUnavailable
from src.mlops.modelling.types import Labelled
from src.settings import var_dir

FOLDER = "search_rows"


@contextmanager
def rows_on_disk(train: Labelled, validation: Labelled, *, folder: Path | None = None) -> Iterator[Path]:
    """A file with both splits below ``var/`` (or in ``folder``), readable by this user only, deleted at the end."""
    place = folder or var_dir() / FOLDER
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"{uuid4().hex}.npz"
    try:
        save_rows(path, train, validation)
        yield path
    finally:
        path.unlink(missing_ok=True)


def save_rows(path: Path, train: Labelled, validation: Labelled) -> None:
    """Write the values as they are; the columns of both splits are those of ``train``."""
    import numpy as np

    columns = list(train.X.columns)
    path.touch(mode=0o600)
    with path.open("wb") as file:
        np.savez(
            file,
            columns=np.array(columns, dtype=str),
            train_X=train.X.to_numpy(),
            train_y=train.y.to_numpy(),
            validation_X=validation.X[columns].to_numpy(),
            validation_y=validation.y.to_numpy(),
        )


def load_rows(path: Path | str) -> tuple[Labelled, Labelled]:
    """Training and validation rows, numbered anew and without segments. Raises DataUnavailable."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError) as error:
        raise DataUnavailable(
            f"the rows of the search are not at {path}: a worker on another machine needs the same folder (E2I_VAR_DIR)"
        ) from error
    columns = [str(name) for name in arrays["columns"]]
    return (
        _labelled(columns, arrays["train_X"], arrays["train_y"]),
        _labelled(columns, arrays["validation_X"], arrays["validation_y"]),
    )


def _labelled(columns: list[str], X: Any, y: Any) -> Labelled:
    import pandas as pd

    return Labelled(pd.DataFrame(X, columns=columns), pd.Series(y, name="target"))
