"""What does a failed model call mean, in words that give away neither prompt nor key?"""

from __future__ import annotations

import re

from src.errors import ServiceOutage, ServiceRefused
from src.resilience.circuit_breaker import CircuitOpenError
from src.resilience.outages import http_status, retry_after_seconds
from src.resilience.outcomes import Unavailable

COMPONENT = "llm"
# Error codes are identifiers; anything longer may quote the prompt.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,60}")
_ADVICE = {
    400: "the request is invalid for this model",
    401: "check the API key",
    402: "check the account's credit",
    403: "the key may not use this model",
    404: "check the model's name and the base URL",
    413: "the prompt is too long",
}
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")


class BrokenReply(ServiceOutage):
    """The server answered with something that is no complete reply."""


def never_ran(error: BaseException) -> bool:
    """True when the model cannot have worked on the request, so nothing was billed."""
    if (http_status(error) or 0) >= 400:
        return True
    chain = (error, error.__cause__)
    return any(type(link).__name__ in _NEVER_SENT or isinstance(link, ConnectionRefusedError) for link in chain)


def as_unavailable(error: BaseException, provider: str, attempts: int) -> Unavailable:
    """An outage as a value."""
    if isinstance(error, CircuitOpenError):
        return Unavailable(COMPONENT, str(error), error.retry_after_s)
    tried = f" (attempts: {attempts})" if attempts > 1 else ""
    return Unavailable(COMPONENT, f"{provider} {_what_happened(error)}{tried}", retry_after_seconds(error))


def as_refusal(error: BaseException, provider: str, model: str) -> ServiceRefused | None:
    """An HTTP refusal as our error, to be raised ``from None``: the SDK's own text may quote prompt or key."""
    status = http_status(error)
    if status is None:
        return None
    advice = _ADVICE.get(status, "it will not help to ask again")
    return ServiceRefused(f"{provider} refused a request to {model}: HTTP {status}{_code(error)}; {advice}")


def _what_happened(error: BaseException) -> str:
    status = http_status(error)
    if status is not None:
        return f"answered HTTP {status}{_code(error)}"
    if isinstance(error, BrokenReply):
        return str(error)
    name = type(error).__name__
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return "did not answer in time"
    return f"could not be reached or dropped the connection ({name})"


def _code(error: BaseException) -> str:
    for name in ("code", "type"):
        value = getattr(error, name, None)
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            return f" ({value})"
    return ""
