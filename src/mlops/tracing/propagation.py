"""How does a trace continue in another process? W3C ``traceparent`` and ``tracestate``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_OWN_STATE = re.compile(r"(?:^|,)\s*e2i=([0-9a-f]{32})\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class RemoteParent:
    """A span in another process. ``span`` is its full id, known only when E2I wrote the headers."""

    trace: int
    parent_id: str
    span: int | None
    sampled: bool


def remote_parent(headers: Mapping[str, str]) -> RemoteParent | None:
    """The parent in ``headers`` (names in any case), or None where there is none or it is malformed.

    Source: W3C Trace Context, 3.2 and 3.3.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    match = _TRACEPARENT.fullmatch(lowered.get("traceparent", "").strip().lower())
    if match is None or match[1] == "ff" or not int(match[2], 16) or not int(match[3], 16):
        return None
    state = _OWN_STATE.search(lowered.get("tracestate", ""))
    span = int(state[1], 16) if state is not None and state[1].endswith(match[3]) else None
    return RemoteParent(int(match[2], 16), match[3], span, bool(int(match[4], 16) & 1))


def environment_headers(environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """The headers a parent process left in ``TRACEPARENT`` and ``TRACESTATE``, or None."""
    variables = os.environ if environ is None else environ
    if not variables.get("TRACEPARENT"):
        return None
    return {"traceparent": variables["TRACEPARENT"], "tracestate": variables.get("TRACESTATE", "")}
