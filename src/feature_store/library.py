"""How is Feast loaded, and what does a caller get where it is not installed or a store does not answer?"""

from __future__ import annotations

import functools
import logging
import os
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from src.errors import E2IError
from src.resilience.outcomes import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_loading = threading.Lock()
_METRIC_FOLDERS = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


class FeastMissing(E2IError):
    """Feast is not installed; ``degrading`` turns it into ``Unavailable``."""


def load_feast() -> Any:
    """The ``feast`` package, imported on first use (6 s of CPU time). Raises FeastMissing."""
    # Several threads may come here at once; the filters below belong to the whole process.
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Feast imports warns about its own deprecated calls
        try:
            with _without_metric_files():
                import feast
                import feast.infra.online_stores.sqlite
                import feast.metrics
        except ImportError as error:
            raise FeastMissing(f"Feast cannot be imported ({error}): pip install 'e2i[features]'") from error
    # Routine lines such as "no entity has changed"; what goes wrong comes as an exception.
    logging.getLogger("feast").setLevel(logging.WARNING)
    return feast


@contextmanager
def _without_metric_files() -> Iterator[None]:
    """Let Feast's metrics stay in memory.

    Left alone they make a folder in the temporary one, and name it in the environment of this process and its
    children. ``prometheus_client`` decides when it is loaded whether its values live in files.
    """
    import prometheus_client  # noqa: F401

    before = {name: os.environ.get(name) for name in _METRIC_FOLDERS}
    os.environ.setdefault(_METRIC_FOLDERS[0], "")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def degrading(method: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T | Unavailable]]:
    """Make a method answer ``Unavailable`` where Feast is absent or a store's server cannot be reached."""

    @functools.wraps(method)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T | Unavailable:
        try:
            return await method(*args, **kwargs)
        except FeastMissing as error:
            return Unavailable("feast", str(error))
        except E2IError:
            raise
        except Exception as error:
            store = unreachable_store(error)
            if store is None:
                raise
            return Unavailable(store, _first_line(error))

    return answered


def unreachable_store(error: BaseException) -> str | None:
    """Which store's server an error says is gone ("redis" or "postgres"), or None when it says something else."""
    import psycopg
    import redis.exceptions
    import sqlalchemy.exc

    from src.storage.database import is_unavailable

    cause = getattr(error, "orig", error) if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if isinstance(cause, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return "redis"
    if isinstance(cause, psycopg.Error) and is_unavailable(cause):
        return "postgres"
    return None


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "orig", error)).strip().splitlines()
    return text[0] if text else type(error).__name__
