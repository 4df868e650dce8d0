"""Is this exception an outage of a service, or a mistake of ours?"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

from src.errors import DatabaseUnavailable, ServiceOutage, ServiceRefused

PROGRAMMING_ERRORS = (TypeError, ValueError, LookupError, AssertionError, AttributeError, NotImplementedError)
# Beside every status from 500 on: request timeout, too early, too many requests.
OUTAGE_STATUS = frozenset({408, 425, 429})
UNREACHABLE = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT})

# Errors of the libraries in use, by module and name: none of them is imported for the question.
_TRANSPORT = frozenset(
    {
        ("httpx", "TransportError"),
        ("httpx2", "TransportError"),
        ("anthropic", "APIConnectionError"),
        ("openai", "APIConnectionError"),
        ("requests.exceptions", "ConnectionError"),
        ("requests.exceptions", "Timeout"),
        ("requests.exceptions", "ChunkedEncodingError"),
        ("requests.exceptions", "RetryError"),
        ("urllib3.exceptions", "HTTPError"),
        ("urllib.error", "URLError"),
        ("psycopg", "OperationalError"),
        ("sqlalchemy.exc", "OperationalError"),
        ("sqlalchemy.exc", "TimeoutError"),
        ("redis.exceptions", "ConnectionError"),
        ("redis.exceptions", "TimeoutError"),
    }
)
# Of these families, but mistakes of ours or refusals: asking again gives the same answer.
_NOT_TRANSPORT = frozenset(
    {
        ("httpx", "UnsupportedProtocol"),
        ("httpx", "LocalProtocolError"),
        ("httpx2", "UnsupportedProtocol"),
        ("httpx2", "LocalProtocolError"),
        ("redis.exceptions", "AuthenticationError"),
        ("redis.exceptions", "AuthorizationError"),
    }
)
# An error event in the middle of a streamed reply, whose status was 200: the SDK leaves only its kind.
_MODEL_API = frozenset({("anthropic", "APIError"), ("openai", "APIError")})
_MODEL_API_OUTAGES = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error", "server_error"})


def is_outage(error: BaseException) -> bool:
    """True for an unreachable, overloaded or failing service: connection, timeout, HTTP 429 and 5xx.

    Our own and the caller's programming errors are never outages, nor are refusals (HTTP 4xx) or a
    cancelled task. Our ``ServiceOutage`` and ``ServiceRefused`` say so themselves; any other exception that
    carries an HTTP error status (``status_code``, ``status`` or ``response.status_code``) is judged by it.
    """
    if isinstance(error, ServiceOutage | ServiceRefused | DatabaseUnavailable):
        return not isinstance(error, ServiceRefused)
    status = http_status(error)
    if status is not None and status >= 400:
        return status in OUTAGE_STATUS or status >= 500
    if isinstance(error, PROGRAMMING_ERRORS):
        return False
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return True
    return _is_transport_error(error)


def http_status(error: BaseException) -> int | None:
    """The HTTP status an exception carries, if any."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
                return status
    return None


def retry_after_seconds(error: BaseException) -> float | None:
    """The ``Retry-After`` header behind an exception (its own or its response's), in seconds; dates are ignored."""
    for value in _retry_after_headers(error):
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _retry_after_headers(error: BaseException) -> Iterator[Any]:
    for holder in (error, getattr(error, "response", None)):
        items = getattr(getattr(holder, "headers", None), "items", None)
        if callable(items):
            yield from (value for name, value in items() if str(name).lower() == "retry-after")


def _is_transport_error(error: BaseException) -> bool:
    names = {(module, base.__name__) for base in type(error).__mro__ for module in _module_and_parents(base)}
    if names & _MODEL_API and getattr(error, "type", None) in _MODEL_API_OUTAGES:
        return True
    return bool(names & _TRANSPORT) and not names & _NOT_TRANSPORT


def _module_and_parents(base: type) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a``: libraries move their classes between private modules."""
    parts = base.__module__.split(".")
    return (".".join(parts[:length]) for length in range(len(parts), 0, -1))
