"""Did the store fail, or did it say no? MLflow's exceptions in the project's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from src.errors import ServiceOutage, ServiceRefused
from src.mlops.mlflow.values import without_credentials
from src.resilience.outages import is_outage

_OUTAGE_CODES = frozenset(
    {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"}
)
_ABSENT_CODES = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_REQUEST_FAILED = ("API request to ", "INTERNAL_ERROR: ")


class NotConfigured(ServiceOutage):
    """``tracking.uri`` is empty: nothing is recorded."""


class StoreRefused(ServiceRefused):
    """MLflow answered and said no; ``code`` is its error code."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)

    @property
    def absent(self) -> bool:
        """Whether what was asked for does not exist."""
        return self.code in _ABSENT_CODES

    @property
    def exists(self) -> bool:
        """Whether what should be made exists already."""
        return self.code in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")


@contextmanager
def translated() -> Iterator[None]:
    """Raise ServiceOutage for an unreachable or failing store and StoreRefused for its refusals.

    Any other exception leaves unchanged. Enter it on the thread that makes the call: an exception raised
    there has no context but its own.
    """
    try:
        yield
    except Exception as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(error: Exception) -> ServiceOutage | StoreRefused | None:
    if isinstance(error, ServiceOutage | ServiceRefused):
        return None
    code = getattr(error, "error_code", None)
    if not isinstance(code, str):
        return _outage(error) if _from_transport(error) else None
    if code in _OUTAGE_CODES or any(_from_transport(cause) for cause in _causes(error)):
        return _outage(error)
    if code == "INTERNAL_ERROR" and str(error).startswith(_REQUEST_FAILED):
        return _outage(error)
    return StoreRefused(_line(error), code)


def _outage(error: BaseException) -> ServiceOutage:
    """The innermost cause says it shortest: connection refused, timed out, server closed the connection."""
    *_, root = (error, *_causes(error))
    return ServiceOutage(f"the MLflow store does not answer ({type(root).__name__}: {_text(root)})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    for _ in range(8):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _from_transport(error: BaseException) -> bool:
    """``requests`` wraps exhausted retries and broken bodies in errors that are no ConnectionError."""
    module = type(error).__module__
    return is_outage(error) or (
        module.startswith("requests.") and not isinstance(error, ValueError) and _status(error) >= 500
    )


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    return int(getattr(response, "status_code", None) or 599)


def _line(error: BaseException) -> str:
    return f"MLflow: {_text(error)}"


def _text(error: BaseException) -> str:
    return without_credentials(" ".join(str(error).split()))[:300]
