"""Does the scripted server fail in exactly the ways it says, and leave nothing behind?"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from src.scripted_servers import faults
from src.scripted_servers.faults import Fault
from src.scripted_servers.http import Answer, HandlerFailed, Request, ScriptedServer, json_answer


class Store(ScriptedServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[object] = []

    def respond(self, request: Request) -> Answer:
        self.stored.append(request.json)
        return json_answer({"stored": len(self.stored), "padding": "x" * 2000})


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60.0, trust_env=False) as client:
        yield client


def test_a_request_is_recorded_as_it_arrived(store: Store, client: httpx.Client) -> None:
    client.post(f"{store.url}/v1/things?page=2&page=3", json={"a": 1}, headers={"X-Tenant": "north"})
    (request,) = store.requests_to("/v1/things")
    assert (request.method, request.json, request.query) == ("POST", {"a": 1}, {"page": ["2", "3"]})
    assert request.headers["x-tenant"] == "north"


def test_compressed_and_chunked_bodies_are_read(store: Store, client: httpx.Client) -> None:
    packed = gzip.compress(json.dumps([1, 2]).encode())
    client.post(store.url, content=packed, headers={"content-encoding": "gzip"})
    client.post(store.url, content=iter([b'{"ha', b'lf": 1}']))
    assert store.stored == [[1, 2], {"half": 1}]


def test_chunks_are_sent_as_they_come(client: httpx.Client) -> None:
    second = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"data: 1\n\n"
        assert second.wait(5)
        yield b"data: 2\n\n"

    with (
        ScriptedServer(lambda _: Answer(200, {"content-type": "text/event-stream"}, chunks())) as server,
        client.stream("GET", server.url) as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == "data: 1"
        second.set()
        assert "data: 2" in list(lines)


@pytest.mark.parametrize(
    ("fault", "error", "stored"),
    [
        (faults.RESET, httpx.NetworkError, 0),
        (faults.RESET_AFTER, httpx.NetworkError, 1),
        (faults.BLACK_HOLE, httpx.ReadTimeout, 0),
        (faults.TRUNCATED, httpx.RemoteProtocolError, 1),
        (faults.STALLED, httpx.ReadTimeout, 1),
        (faults.slow(30), httpx.ReadTimeout, 0),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else None,
)
def test_a_broken_transport_looks_like_one(
    store: Store, client: httpx.Client, fault: Fault, error: type[Exception], stored: int
) -> None:
    store.script_faults([fault])
    with pytest.raises(error):
        client.post(store.url, json={}, timeout=0.5 if error is httpx.ReadTimeout else 60.0)
    store.wait_for_requests(1, timeout=60)
    assert len(store.stored) == stored
    assert client.post(store.url, json={}).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
def test_an_error_status_reaches_the_client_without_running_the_handler(
    store: Store, client: httpx.Client, status: int
) -> None:
    store.script_faults([faults.status(status, retry_after=7)])
    response = client.post(store.url, json={})
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")
    assert response.json()["error"]
    assert store.stored == []


def test_without_retry_after_the_header_is_absent(store: Store, client: httpx.Client) -> None:
    store.fault = faults.status(429)
    assert "retry-after" not in client.get(store.url).headers


def test_a_malformed_body_comes_under_a_good_status(store: Store, client: httpx.Client) -> None:
    store.script_faults([faults.MALFORMED])
    response = client.post(store.url, json={})
    assert response.status_code == 200
    with pytest.raises(ValueError, match="Unterminated|Expecting"):
        response.json()


def test_scripted_faults_come_first_then_the_standing_one_until_healed(store: Store, client: httpx.Client) -> None:
    store.fault = faults.status(503)
    store.script_faults([None, faults.status(429)])
    assert [client.post(store.url, json={}).status_code for _ in range(3)] == [200, 429, 503]
    store.heal()
    assert client.post(store.url, json={}).status_code == 200


def test_a_fault_can_depend_on_the_request(store: Store, client: httpx.Client) -> None:
    store.fault = lambda request: faults.status(500) if request.path == "/spans" else None
    assert client.post(f"{store.url}/spans", json={}).status_code == 500
    assert client.post(f"{store.url}/traces", json={}).status_code == 200


def test_a_server_that_is_down_refuses_and_returns_on_the_same_port(store: Store, client: httpx.Client) -> None:
    url = store.url
    client.post(url, json={})
    with store.down(), pytest.raises(httpx.ConnectError):
        client.post(url, json={})
    assert client.post(store.url, json={}).json()["stored"] == 2
    assert store.url == url


def test_closing_ends_every_thread_black_holed_ones_too() -> None:
    before = threading.active_count()
    with ThreadPoolExecutor(4) as pool, Store() as server:
        server.fault = faults.BLACK_HOLE
        calls = [pool.submit(httpx.get, server.url, timeout=60, trust_env=False) for _ in range(4)]
        server.wait_for_requests(4)
        server.close()
        for call in calls:
            assert isinstance(call.exception(timeout=10), httpx.TransportError)
    assert threading.active_count() == before


def test_requests_in_flight_are_counted(store: Store) -> None:
    store.fault = faults.slow(0.2)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: httpx.get(store.url, trust_env=False), range(3)))
    assert store.most_in_flight == 3


def test_a_script_that_raises_is_reported_when_the_server_closes(client: httpx.Client) -> None:
    def broken(_: Request) -> Answer:
        raise KeyError("no reply is scripted")

    with pytest.raises(HandlerFailed, match="KeyError: 'no reply is scripted'"), ScriptedServer(broken) as server:
        assert client.get(server.url).status_code == 400


def test_waiting_for_requests_that_never_come_ends(store: Store) -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        store.wait_for_requests(1, timeout=0.01)


def test_only_error_statuses_are_faults() -> None:
    with pytest.raises(ValueError, match="200"):
        faults.status(200)
