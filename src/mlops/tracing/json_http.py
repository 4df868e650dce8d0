"""How does a mirror talk to its server, and what does each answer mean for the records?

- 2xx: done. Statuses in ``accept`` are returned too.
- 408, 425, 429, 5xx and transport errors: an outage; ``Retry-After`` can be read from the error's ``response``.
- 401, 402, 403, 404, 405, 407 and redirects: an outage as well. They speak of the key or the address, never of the
  records, so the records wait until somebody corrects the settings; the text says which.
- any other 4xx: ServiceRefused, this request can never succeed.
"""

from __future__ import annotations

import gzip
import ipaddress
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from src.errors import ConfigError, ServiceOutage, ServiceRefused
from src.resilience.circuit_breaker import CircuitBreaker
from src.resilience.outages import OUTAGE_STATUS
from src.settings import shown_address

if TYPE_CHECKING:
    import httpx

_SETTINGS_WRONG = {
    401: "the key is missing or wrong",
    402: "the account has no quota left",
    403: "the key has no access to this workspace or project",
    404: "there is no such service at this address",
    405: "there is no such service at this address",
    407: "a proxy asks for credentials",
}
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """What is kept of an answer: no body, and none of the request's headers."""

    status_code: int
    headers: Mapping[str, str]


class AnsweredOutage(ServiceOutage):
    """The server answered that it cannot serve now."""

    def __init__(self, message: str, response: Answered) -> None:
        self.response = response
        super().__init__(message)


class JsonHttp:
    """One HTTP service that takes gzipped JSON; every call passes the breaker.

    ``headers`` may hold secrets: their values never appear in an error. Proxies of the environment are used
    unless the host is this machine; ``trust_env`` decides otherwise. Redirects are not followed. Connections are
    opened on first use, and anew in a forked child and after ``close``.

    Raises ConfigError for an address or header that cannot be used.
    """

    def __init__(
        self,
        component: str,
        base_url: str,
        *,
        breaker: CircuitBreaker,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        trust_env: bool | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self.component = component
        self.base_url = _checked_url(component, base_url)
        self.breaker = breaker
        self._timeout_s = timeout_s
        self._headers = _checked_headers(component, headers or {})
        self._secrets = tuple(secret for secret in secrets if secret)
        self._trust_env = not _is_loopback(self.base_url) if trust_env is None else trust_env
        self._client = client
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def call(
        self,
        method: str,
        path: str = "",
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
    ) -> httpx.Response:
        """Make one request. Raises ServiceOutage (CircuitOpenError included) or ServiceRefused."""
        return self.breaker.call(lambda: self._once(method, path, body, params, accept))

    def close(self) -> None:
        """Let go of the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
            owned = self._owner == os.getpid()
        if client is not None and owned:
            client.close()

    def _once(
        self, method: str, path: str, body: bytes | None, params: Mapping[str, str] | None, accept: Sequence[int]
    ) -> httpx.Response:
        import httpx

        headers = dict(self._headers)
        content = None
        if body is not None:
            headers |= {"content-type": "application/json", "content-encoding": "gzip"}
            content = gzip.compress(body, compresslevel=1, mtime=0)
        try:
            response = self._open().request(
                method, self.base_url + path, content=content, params=params, headers=headers
            )
        except (httpx.RequestError, httpx.StreamError) as error:
            reason = self._shown(str(error)) or "no reason given"
            raise ServiceOutage(f"{self._where()} did not answer ({type(error).__name__}: {reason})") from error
        return response if response.is_success or response.status_code in accept else self._refuse(response)

    def _refuse(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        said = f"{self._where()} answered {status}"
        if status in OUTAGE_STATUS or status >= 500:
            after = response.headers.get("retry-after")
            raise AnsweredOutage(said, Answered(status, {} if after is None else {"retry-after": after}))
        if status in _SETTINGS_WRONG:
            raise ServiceOutage(f"{said}: {_SETTINGS_WRONG[status]}; records wait until the settings are corrected")
        if status < 400:
            target = self._shown(response.headers.get("location", "nowhere"))
            raise ServiceOutage(f"{said}, a redirect to {target}; set the address to where the service is")
        raise ServiceRefused(f"{said}: {self._shown(response.text) or 'without a reason'}")

    def _open(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._owner != os.getpid():
                # The parent's connections: neither used nor closed here.
                self._client, self._owner = None, os.getpid()
            if self._client is None:
                self._client = httpx.Client(timeout=self._timeout_s, trust_env=self._trust_env, follow_redirects=False)
            return self._client

    def _where(self) -> str:
        return f"{self.component} at {shown_address(self.base_url)}"

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:_SHOWN_CHARACTERS]


def in_batches(items: Sequence[bytes], *, most: int, most_bytes: int) -> Iterator[list[bytes]]:
    """Split encoded items so that no batch has more than ``most`` items or ``most_bytes`` bytes.

    An item that is larger on its own makes a batch of one.
    """
    batch: list[bytes] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= most or size + len(item) + 1 > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item) + 1
    if batch:
        yield batch


def _checked_url(component: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{component}: '{shown_address(url)}' is no address; expected http://host or https://host")
    return url.rstrip("/")


def _checked_headers(component: str, headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigError(f"{component}: the value of '{name}' has characters that no HTTP header can carry")
    return dict(headers)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
