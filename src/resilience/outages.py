"""Is this exception an outage of a service, or a mistake of ours?"""

from __future__ import annotations

PROGRAMMING_ERRORS = (TypeError, ValueError, LookupError, AssertionError, AttributeError, NotImplementedError)
OUTAGE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 529})


def is_outage(error: BaseException) -> bool:
    """True for an unreachable, overloaded or failing service: connection, timeout, HTTP 429 and 5xx.

    Our own and the caller's programming errors are never outages, nor are refusals (HTTP 4xx) or a
    cancelled task. An exception that carries an HTTP status (``status_code``, ``status`` or
    ``response.status_code``) is judged by it.
    """
    status = http_status(error)
    if status is not None:
        return status in OUTAGE_STATUS or status >= 500
    if isinstance(error, PROGRAMMING_ERRORS):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
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
    """The ``Retry-After`` header of the response behind an exception, in seconds; dates are ignored."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    value = headers.get("retry-after") if headers is not None and hasattr(headers, "get") else None
    try:
        seconds = float(value) if value is not None else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < float("inf") else None


# Transport errors of the libraries in use, by name: none of them is imported for the question.
_TRANSPORT = {
    ("httpx", "TransportError"),
    ("anthropic", "APIConnectionError"),
    ("openai", "APIConnectionError"),
    ("requests.exceptions", "ConnectionError"),
    ("requests.exceptions", "Timeout"),
    ("psycopg", "OperationalError"),
    ("psycopg", "InterfaceError"),
    ("urllib3.exceptions", "HTTPError"),
    ("sqlalchemy.exc", "OperationalError"),
    ("redis.exceptions", "ConnectionError"),
    ("src.errors", "ServiceOutage"),
}


def _is_transport_error(error: BaseException) -> bool:
    return any(
        base.__name__ == name and (base.__module__ == module or base.__module__.startswith(module + "."))
        for base in type(error).__mro__
        for module, name in _TRANSPORT
    )
