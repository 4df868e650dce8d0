"""Are outages told from mistakes and refusals, for the real exceptions of every library in use?"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import psycopg
import psycopg_pool
import pytest
import redis
import requests
import sqlalchemy
import urllib3

from src.errors import ConfigError, DatabaseUnavailable, ServiceOutage, ServiceRefused
from src.resilience.circuit_breaker import CircuitOpenError
from src.resilience.outages import http_status, is_outage, retry_after_seconds
from src.settings import PROJECT_ROOT

OUTAGES = [408, 425, 429, 500, 502, 503, 504, 529]
REFUSALS = [400, 401, 403, 404, 409, 413, 422]
STATUSES = [*((code, True) for code in OUTAGES), *((code, False) for code in REFUSALS)]


def raised(call: Callable[[], Any]) -> Exception:
    """The exception ``call`` ends with."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its class is what is tested
        call()
    return caught.value


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port nobody listens on: bound here, so that nobody else takes it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def anthropic_error(answer: Callable[[httpx2.Request], httpx2.Response], *, stream: bool = False) -> Exception:
    """What the SDK raises when the server answers so."""
    client = anthropic.Anthropic(
        api_key="none", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )

    def ask() -> None:
        reply: Any = client.messages.create(
            model="claude-haiku-5-5", max_tokens=5, messages=[{"role": "user", "content": "?"}], stream=stream
        )
        for _ in reply:
            pass

    with client:
        return raised(ask)


def openai_error(answer: Callable[[httpx.Request], httpx.Response], *, stream: bool = False) -> Exception:
    client = openai.OpenAI(
        api_key="none", max_retries=0, http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )

    def ask() -> None:
        reply: Any = client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "?"}], stream=stream
        )
        for _ in reply:
            pass

    with client:
        return raised(ask)


@pytest.mark.parametrize(("code", "expected"), STATUSES)
class TestHttpStatus:
    def test_httpx(self, code: int, expected: bool) -> None:
        response = httpx.Response(code, request=httpx.Request("GET", "http://x"))
        assert is_outage(raised(response.raise_for_status)) is expected

    def test_requests(self, code: int, expected: bool) -> None:
        response = requests.Response()
        response.status_code = code
        assert is_outage(raised(response.raise_for_status)) is expected

    def test_anthropic(self, code: int, expected: bool) -> None:
        error = anthropic_error(lambda request: httpx2.Response(code, json={}))
        assert isinstance(error, anthropic.APIStatusError)
        assert http_status(error) == code
        assert is_outage(error) is expected

    def test_openai(self, code: int, expected: bool) -> None:
        error = openai_error(lambda request: httpx.Response(code, json={}))
        assert isinstance(error, openai.APIStatusError)
        assert is_outage(error) is expected

    def test_urllib(self, code: int, expected: bool) -> None:
        with urllib.error.HTTPError("http://x", code, "", {}, None) as error:  # type: ignore[arg-type]
            assert is_outage(error) is expected


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError])
def test_transport_errors_of_httpx_and_openai(kind: type[httpx.TransportError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind("down")

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert is_outage(raised(lambda: client.get("http://x")))
    assert isinstance(error := openai_error(answer), openai.APIConnectionError)
    assert is_outage(error)


@pytest.mark.parametrize("kind", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.ReadError])
def test_transport_errors_of_anthropic(kind: type[httpx2.TransportError]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise kind("down")

    assert isinstance(error := anthropic_error(answer), anthropic.APIConnectionError)
    assert is_outage(error)


class BrokenBody(httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"event: ping\n\n"
        raise httpx2.ReadError("connection reset")


def test_a_connection_lost_in_the_middle_of_a_streamed_reply_is_an_outage() -> None:
    error = anthropic_error(
        lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=BrokenBody()),
        stream=True,
    )
    assert isinstance(error, httpx2.ReadError), "the SDK passes it on as it is"
    assert is_outage(error)


@pytest.mark.parametrize(
    ("kind", "expected"), [("overloaded_error", True), ("api_error", True), ("invalid_request_error", False)]
)
def test_an_error_event_in_a_streamed_reply_is_judged_by_its_kind(kind: str, expected: bool) -> None:
    event = json.dumps({"type": "error", "error": {"type": kind, "message": "no"}})
    error = anthropic_error(
        lambda request: httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content=f"event: error\ndata: {event}\n\n"
        ),
        stream=True,
    )
    assert isinstance(error, anthropic.APIStatusError)
    assert http_status(error) == 200
    assert is_outage(error) is expected


@pytest.mark.parametrize(("kind", "expected"), [("server_error", True), ("invalid_request_error", False)])
def test_the_same_from_openai(kind: str, expected: bool) -> None:
    event = json.dumps({"error": {"type": kind, "message": "no"}})
    error = openai_error(
        lambda request: httpx.Response(200, headers={"content-type": "text/event-stream"}, text=f"data: {event}\n\n"),
        stream=True,
    )
    assert type(error) is openai.APIError
    assert is_outage(error) is expected


def test_a_refused_connection_is_an_outage_in_every_client(dead_port: int) -> None:
    url = f"http://127.0.0.1:{dead_port}"
    dsn = f"postgresql://u@127.0.0.1:{dead_port}/e2i"
    engine = sqlalchemy.create_engine(dsn.replace("postgresql", "postgresql+psycopg"))
    clients: dict[type[Exception], Callable[[], Any]] = {
        httpx.ConnectError: lambda: httpx.get(url),
        requests.ConnectionError: lambda: requests.get(url, timeout=5),
        urllib3.exceptions.MaxRetryError: lambda: urllib3.PoolManager().request("GET", url, retries=0),
        urllib.error.URLError: lambda: urllib.request.urlopen(url),
        psycopg.OperationalError: lambda: psycopg.connect(dsn),
        sqlalchemy.exc.OperationalError: engine.connect,
        redis.ConnectionError: redis.Redis(port=dead_port, retry=None).ping,
        ConnectionRefusedError: lambda: socket.create_connection(("127.0.0.1", dead_port)),
    }
    for kind, call in clients.items():
        error = raised(call)
        assert isinstance(error, kind)
        assert is_outage(error), kind


def test_a_server_that_never_answers_is_an_outage_in_every_client(silent_port: int) -> None:
    url, limit = f"http://127.0.0.1:{silent_port}", 0.05
    clients: dict[type[Exception], Callable[[], Any]] = {
        httpx.ReadTimeout: lambda: httpx.get(url, timeout=limit),
        requests.ReadTimeout: lambda: requests.get(url, timeout=limit),
        redis.TimeoutError: redis.Redis(port=silent_port, retry=None, socket_timeout=limit).ping,
        TimeoutError: lambda: urllib.request.urlopen(url, timeout=limit),
    }
    for kind, call in clients.items():
        error = raised(call)
        assert isinstance(error, kind)
        assert is_outage(error), kind


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"),
        OSError(errno.EHOSTUNREACH, "no route to host"),
        OSError(errno.ENETUNREACH, "network is unreachable"),
        requests.exceptions.ChunkedEncodingError("broken"),
        requests.exceptions.RetryError("too many 503"),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.TooManyConnections(),
        psycopg_pool.PoolTimeout(),
        sqlalchemy.exc.TimeoutError(),
        ServiceOutage("down"),
        DatabaseUnavailable("cannot be reached"),
        CircuitOpenError("x", 1.0),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_outages(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError(),
        TypeError(),
        AttributeError(),
        AssertionError(),
        NotImplementedError(),
        RuntimeError(),
        FileNotFoundError(),
        OSError(errno.ENOSPC, "no space left on device"),
        json.JSONDecodeError("not JSON", "", 0),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        ConfigError(),
        ServiceRefused(),
        httpx.InvalidURL("no"),
        requests.exceptions.InvalidURL("no"),
        urllib3.exceptions.LocationParseError("no"),
        psycopg.errors.UndefinedTable(),
        psycopg.errors.UniqueViolation(),
        psycopg.errors.SyntaxError(),
        sqlalchemy.exc.ProgrammingError("", None, Exception()),
        redis.AuthenticationError("wrong password"),
        redis.ResponseError("unknown command"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_mistakes_and_refusals(error: BaseException) -> None:
    assert not is_outage(error)


@pytest.mark.parametrize("url", ["localhost:5173/api", "/api"])
def test_a_mistyped_address_is_not_an_outage(url: str) -> None:
    error = raised(lambda: httpx.get(url))
    assert isinstance(error, httpx.UnsupportedProtocol)
    assert not is_outage(error)


def test_a_closed_cursor_is_a_mistake_of_ours() -> None:
    assert not is_outage(psycopg.InterfaceError("the cursor is closed"))


@pytest.mark.parametrize(("kind", "expected"), [(ServiceOutage, True), (ServiceRefused, False)])
@pytest.mark.parametrize("code", [401, 503])
def test_our_own_judgement_goes_before_the_status(kind: type[Exception], expected: bool, code: int) -> None:
    error: Any = kind("judged already")
    error.response = httpx.Response(code)
    assert is_outage(error) is expected


@pytest.mark.parametrize("status", [True, "503", None, 0, 7, 99999])
def test_an_attribute_that_is_no_http_status_is_none(status: Any) -> None:
    error: Any = RuntimeError()
    error.status = status
    assert http_status(error) is None
    assert not is_outage(error)


def test_a_class_that_only_borrows_a_name_is_judged_by_its_module() -> None:
    class TransportError(Exception):
        pass

    assert not is_outage(TransportError())
    TransportError.__module__ = "httpxray"
    assert not is_outage(TransportError())
    TransportError.__module__ = "httpx._exceptions"
    assert is_outage(TransportError())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds(value: str, expected: float | None) -> None:
    response = httpx.Response(429, headers={"Retry-After": value}, request=httpx.Request("GET", "http://x"))
    assert retry_after_seconds(raised(response.raise_for_status)) == expected


def test_retry_after_is_found_wherever_the_library_puts_the_headers() -> None:
    class ApiError(Exception):
        headers = {"Retry-After": "4"}

    assert retry_after_seconds(ApiError()) == 4
    assert retry_after_seconds(anthropic_error(lambda r: httpx2.Response(529, headers={"retry-after": "9"}))) == 9
    assert retry_after_seconds(openai_error(lambda r: httpx.Response(429, headers={"retry-after": "2"}))) == 2


@pytest.mark.parametrize("error", [ConnectionError(), RuntimeError(), httpx.ConnectError("down")])
def test_without_the_header_there_is_no_retry_after(error: Exception) -> None:
    assert retry_after_seconds(error) is None


def test_judging_imports_none_of_the_libraries() -> None:
    script = (
        "import sys; import src.resilience.retry, src.resilience.outcomes; "
        "from src.resilience.outages import is_outage; assert is_outage(ConnectionError()); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", script]
    loaded = set(subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, check=True, text=True).stdout.split())
    libraries = (anthropic, httpx, httpx2, openai, psycopg, redis, requests, sqlalchemy, urllib3)
    assert "src" in loaded
    assert loaded.isdisjoint({library.__name__ for library in libraries} | {"tenacity"})
