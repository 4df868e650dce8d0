"""How do records reach an Opik server?"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import orjson

from src.errors import ConfigError, ServiceOutage, ServiceRefused
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.json_http import JsonHttp, in_batches
from src.mlops.tracing.opik_batches import OpikBatch, to_opik
from src.mlops.tracing.opik_wire import Body
from src.mlops.tracing.records import Record, RecordRefused
from src.resilience.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    import httpx

ITEMS_PER_REQUEST = 1000
BYTES_PER_REQUEST = 4_000_000
# Final traces kept to merge the later roots of resumed ones; some kilobytes each.
KNOWN_TRACES = 500
CONFLICT = 409


class Ping(NamedTuple):
    """Whether the server answered, in how many milliseconds, and why not."""

    reachable: bool
    latency_ms: float | None
    reason: str | None = None


class OpikSink:
    """Writes records to Opik's REST API: traces, then their spans, then scores.

    Whole records with ids and ``last_updated_at`` of their own, so that repeating a batch changes nothing; never a
    PATCH, because an update that arrives before its record leaves a partial row that wins. Called from one thread.
    ``deliver`` raises ServiceOutage or CircuitOpenError while the records must wait (unreachable, overloaded, wrong
    key or address), RecordRefused when the server will never take them. Raises ConfigError at once for settings
    without a usable address or key.
    """

    name = "opik"
    primary = False

    def __init__(
        self,
        settings: OpikSettings,
        *,
        breaker: CircuitBreaker,
        max_batch_size: int = 100,
        max_body_bytes: int = BYTES_PER_REQUEST,
        trust_env: bool | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self._project = settings.project_name
        self._most = min(max_batch_size, ITEMS_PER_REQUEST)
        self._most_bytes = max_body_bytes
        self._known: OrderedDict[str, Body] = OrderedDict()
        self._http = opik_http(settings, breaker=breaker, trust_env=trust_env, client=client)

    def deliver(self, records: Sequence[Record]) -> None:
        """Store ``records``; safe to repeat."""
        batch = to_opik(records, self._project, self._known)
        self._send("POST", "/v1/private/traces/batch", "traces", batch.traces)
        self._send("POST", "/v1/private/spans/batch", "spans", batch.spans)
        self._send("PUT", "/v1/private/traces/feedback-scores", "scores", batch.trace_scores)
        self._send("PUT", "/v1/private/spans/feedback-scores", "scores", batch.span_scores)
        self._remember(batch)

    def ping(self) -> Ping:
        """Ask whether the server is alive; through the breaker, like every request."""
        began = time.monotonic()
        try:
            response = self._http.call("GET", "/is-alive/ping")
        except (ServiceOutage, ServiceRefused) as error:
            return Ping(False, None, str(error))
        latency_ms = (time.monotonic() - began) * 1000
        if "html" in response.headers.get("content-type", ""):
            return Ping(False, None, "a web page answered instead of Opik's API; its address usually ends in /api")
        return Ping(True, latency_ms)

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _send(self, method: str, path: str, key: str, bodies: Sequence[Body]) -> None:
        encoded = [orjson.dumps(body) for body in bodies]
        for batch in in_batches(encoded, most=self._most, most_bytes=self._most_bytes):
            content = b'{"%s":[%s]}' % (key.encode(), b",".join(batch))
            try:
                self._http.call(method, path, body=content, accept=(CONFLICT,))
            except ServiceRefused as error:
                raise RecordRefused(str(error)) from error

    def _remember(self, batch: OpikBatch) -> None:
        for identity, trace in batch.final_traces.items():
            self._known[identity] = trace
            self._known.move_to_end(identity)
        while len(self._known) > KNOWN_TRACES:
            self._known.popitem(last=False)


def opik_http(
    settings: OpikSettings,
    *,
    breaker: CircuitBreaker,
    trust_env: bool | None = None,
    client: httpx.Client | None = None,
) -> JsonHttp:
    """The connection to the server of ``settings``. Raises ConfigError when they name none, or two credentials."""
    if not settings.base_url:
        raise ConfigError("opik: no address; set opik.url (OPIK_ENDPOINT), or opik.use_local with a local_endpoint")
    if settings.api_key and "@" in urlsplit(settings.base_url).netloc:
        raise ConfigError("opik: a request carries one credential; take it out of the address, or unset opik.api_key")
    headers = {"Comet-Workspace": settings.workspace}
    if settings.api_key:
        headers["Authorization"] = settings.api_key
    return JsonHttp(
        "Opik",
        settings.base_url,
        breaker=breaker,
        timeout_s=settings.request_timeout_seconds,
        headers=headers,
        secrets=(settings.api_key,),
        trust_env=trust_env,
        client=client,
    )
