"""How do several threads read history from Parquet files at once, and only from those that the client keeps?

Feast's DuckDB connection belongs to the whole process, and its registry holds the files' full paths.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.errors import DataUnavailable

_QUERIES = frozenset(
    {"get_historical_features", "pull_latest_from_table_or_query", "pull_all_from_table_or_query"},
)
# Ibis keeps one default DuckDB connection per process, and a connection runs one query at a time.
_connection = threading.RLock()


class OneQueryAtATime:
    """An offline store whose queries, made and run, wait for one another; everything else is passed on.

    A query raises DataUnavailable where the registry has a file outside ``folder``: the folder was moved or
    copied, and nobody keeps that file up to date.
    """

    def __init__(self, store: Any, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return _query(found, self._folder) if name in _QUERIES else found


@contextmanager
def _alone() -> Iterator[None]:
    with _connection, warnings.catch_warnings():
        # Ibis 12 calls DuckDB 2 by a name that is going out of use.
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def _query(make: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        _check_paths(kwargs, folder)
        with _alone():
            job = make(*args, **kwargs)
        for name in ("_to_df_internal", "_to_arrow_internal"):
            setattr(job, name, _locked(getattr(job, name)))
        return job

    return made


def _check_paths(asked: dict[str, Any], folder: Path) -> None:
    views = asked.get("feature_views", ())
    for source in [asked["data_source"]] if "data_source" in asked else [view.batch_source for view in views]:
        path = Path(source.path)
        if path.parent.absolute() != folder.absolute():
            raise DataUnavailable(
                f"the registry reads {path}, which is not in {folder} (moved or copied?): run 'e2i features apply'"
            )


def _locked(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with _alone():
            return run(*args, **kwargs)

    return locked
