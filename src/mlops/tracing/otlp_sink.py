"""How do spans reach an OpenTelemetry collector?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from src.errors import ServiceRefused
from src.mlops.tracing.configuration import OtlpSettings
from src.mlops.tracing.json_http import JsonHttp, in_batches
from src.mlops.tracing.otlp_wire import export_request, otlp_span
from src.mlops.tracing.records import Kind, Record, RecordRefused
from src.resilience.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    import httpx

BYTES_PER_REQUEST = 4_000_000
TRACES_PATH = "/v1/traces"


class OtlpSink:
    """Exports span records over OTLP/HTTP in JSON, to ``<endpoint>/v1/traces``.

    OTLP has no form for scores: feedback and metric records count as delivered without being sent. A collector tells
    apart neither new spans from repeated ones nor the good from the bad of a batch it took in part: after an outage
    or a partial success it may hold a span twice, under the same ids.
    ``deliver`` raises ServiceOutage or CircuitOpenError while records must wait, RecordRefused for records that the
    collector rejects. Raises ConfigError at once for an unusable endpoint or header.
    """

    name = "otlp"
    primary = False

    def __init__(
        self,
        settings: OtlpSettings,
        *,
        breaker: CircuitBreaker,
        max_batch_size: int = 100,
        max_body_bytes: int = BYTES_PER_REQUEST,
        resource: Mapping[str, Any] | None = None,
        trust_env: bool | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self._most = max_batch_size
        self._most_bytes = max_body_bytes
        self._resource = {"service.name": "e2i", **(resource or {})}
        self._http = JsonHttp(
            "the OTLP collector",
            traces_url(settings.endpoint),
            breaker=breaker,
            timeout_s=settings.request_timeout_seconds,
            headers=settings.headers,
            secrets=tuple(settings.headers.values()),
            trust_env=trust_env,
            client=client,
        )

    def deliver(self, records: Sequence[Record]) -> None:
        """Export the spans among ``records``."""
        spans = [_encoded(record) for record in records if record.kind is Kind.SPAN]
        for batch in in_batches(spans, most=self._most, most_bytes=self._most_bytes):
            try:
                response = self._http.call("POST", body=export_request(batch, self._resource))
            except ServiceRefused as error:
                raise RecordRefused(str(error)) from error
            _check_all_taken(response.content)

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()


def traces_url(endpoint: str) -> str:
    """The address that takes spans; an endpoint that names it already is left as it is."""
    bare = endpoint.rstrip("/")
    return bare if bare.endswith(TRACES_PATH) else bare + TRACES_PATH


def _encoded(record: Record) -> bytes:
    try:
        return orjson.dumps(otlp_span(record.document()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordRefused(f"a record has no valid form for OTLP ({type(error).__name__}: {error})") from error


def _check_all_taken(content: bytes) -> None:
    try:
        answer = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        return  # A 2xx status says that the spans were taken; the body may be empty or protobuf.
    partial = answer.get("partialSuccess") if isinstance(answer, dict) else None
    rejected = int((partial or {}).get("rejectedSpans") or 0)
    if rejected > 0:
        reason = str(partial.get("errorMessage") or "no reason given")[:200] if partial else ""
        raise RecordRefused(f"the OTLP collector rejected {rejected} spans: {reason}")
