"""How do the rows of a search reach workers in other processes? Through a file that is there as long as the search."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from src.errors import DataUnavailable
from src.mlops.modelling.types import Labelled
from src.settings import var_dir

FOLDER = "search_rows"


@contextmanager
def rows_on_disk(train: Labelled, validation: Labelled, *, folder: Path | None = None) -> Iterator[Path]:
    """A file with both splits below ``var/`` (or in ``folder``), readable by this user only, deleted at the end.

    Where the process is killed before, the next search that looks into the folder deletes it.
    """
    place = folder or var_dir() / FOLDER
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    sweep_rows(place)
    path = place / f"{uuid4().hex}.npz"
    with _in_use(path) as file:
        try:
            save_rows(file, train, validation)
            yield path
        finally:
            path.unlink(missing_ok=True)


def sweep_rows(folder: Path | None = None) -> int:
    """Delete the files of searches whose process is gone; how many there were. Blocks."""
    place = folder or var_dir() / FOLDER
    if not place.is_dir():
        return 0
    with _undisturbed(place):
        left = [path for path in place.glob("*.npz") if not _is_in_use(path)]
        for path in left:
            path.unlink(missing_ok=True)
    return len(left)


def save_rows(file: IO[bytes], train: Labelled, validation: Labelled) -> None:
    """Write the values as they are; the columns of both splits are those of ``train``."""
    import numpy as np

    columns = list(train.X.columns)
    np.savez(
        file,
        columns=np.array(columns, dtype=str),
        train_X=train.X.to_numpy(),
        train_y=train.y.to_numpy(),
        validation_X=validation.X[columns].to_numpy(),
        validation_y=validation.y.to_numpy(),
    )
    file.flush()


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


@contextmanager
def _in_use(path: Path) -> Iterator[IO[bytes]]:
    """The new file, locked until the body ends or the process does."""
    with _undisturbed(path.parent):
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        yield file


def _is_in_use(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def _undisturbed(folder: Path) -> Iterator[None]:
    """Nobody sweeps between the making of a file and its lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _labelled(columns: list[str], X: Any, y: Any) -> Labelled:
    import pandas as pd

    return Labelled(pd.DataFrame(X, columns=columns), pd.Series(y, name="target"))
