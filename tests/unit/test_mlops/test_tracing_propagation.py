"""Are W3C trace headers read and written as the specification says?"""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.propagation import RemoteParent, environment_headers, remote_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FULL = f"0190a6c27b1e7cc3{SPAN}"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**128 - 1))
def test_what_a_span_writes_is_read_back_with_its_full_id(trace: int, span: int) -> None:
    assume(span % 2**64)
    headers = {"Traceparent": f"00-{trace:032x}-{span % 2**64:016x}-01", "TraceState": f"e2i={span:032x}"}
    assert remote_parent(headers) == RemoteParent(trace, f"{span % 2**64:016x}", span, True)


@pytest.mark.parametrize(
    "traceparent",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"  00-{TRACE}-{SPAN}-01 ",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-of-a-later-version",
        f"00-{TRACE}-{SPAN}-00",
    ],
)
def test_a_foreign_parent_is_read_without_a_full_id(traceparent: str) -> None:
    found = remote_parent({"traceparent": traceparent, "tracestate": "other=1"})
    assert found == RemoteParent(int(TRACE, 16), SPAN, None, traceparent.strip()[-2:] != "00")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}g-01",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_a_malformed_header_is_no_parent(traceparent: str) -> None:
    assert remote_parent({"traceparent": traceparent, "tracestate": f"e2i={FULL}"}) is None
    assert remote_parent({}) is None


@pytest.mark.parametrize(
    ("tracestate", "known"),
    [
        (f"e2i={FULL}", True),
        (f"other=1, e2i={FULL} ,more=2", True),
        (f"note2i={FULL}", False),
        (f"e2i={FULL[:-1]}0", False),
        ("e2i=short", False),
        ("", False),
    ],
)
def test_the_full_id_is_believed_only_where_it_fits_the_parent(tracestate: str, known: bool) -> None:
    found = remote_parent({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": tracestate})
    assert found is not None
    assert found.span == (int(FULL, 16) if known else None)


def test_headers_come_from_the_environment() -> None:
    variables = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-01", "TRACESTATE": f"e2i={FULL}"}
    assert environment_headers({}) is None
    assert environment_headers(variables) == {"traceparent": variables["TRACEPARENT"], "tracestate": f"e2i={FULL}"}


def test_the_connector_reads_them_from_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    assert OpikConnector.inherited_headers() is None
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-01")
    assert OpikConnector.inherited_headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": ""}
