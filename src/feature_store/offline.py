"""How do several threads read history at once, when Feast's DuckDB connection belongs to the whole process?"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_QUERIES = frozenset(
    {"get_historical_features", "pull_latest_from_table_or_query", "pull_all_from_table_or_query"},
)
# Ibis keeps one default DuckDB connection per process, and a connection runs one query at a time.
_connection = threading.RLock()


class OneQueryAtATime:
    """An offline store whose queries, made and run, wait for one another; everything else is passed on."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return _query(found) if name in _QUERIES else found


@contextmanager
def _alone() -> Iterator[None]:
    with _connection, warnings.catch_warnings():
        # Ibis 12 calls DuckDB 2 by a name that is going out of use.
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def _query(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        with _alone():
            job = make(*args, **kwargs)
        for name in ("_to_df_internal", "_to_arrow_internal"):
            setattr(job, name, _locked(getattr(job, name)))
        return job

    return made


def _locked(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with _alone():
            return run(*args, **kwargs)

    return locked
