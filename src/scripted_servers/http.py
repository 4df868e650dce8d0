"""How does a test talk to a web service that is not there? A small HTTP server on loopback that can fail on demand."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from src.scripted_servers.faults import Fault, FaultKind, FaultPlan, FaultSource

LOOPBACK = "127.0.0.1"
_NOT_JSON = b'{"cut off in the middle of a'
# Closing with a linger time of zero sends RST instead of FIN.
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names are lower case, ``body`` is decompressed."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    received_at: float
    """Seconds of ``time.monotonic``."""

    @property
    def json(self) -> Any:
        """The body parsed as JSON; None when empty. Raises ValueError when it is something else."""
        return json.loads(self.body) if self.body else None


class Answer(NamedTuple):
    """Status, headers and body; a body of chunks is sent as it comes (server-sent events)."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] = b""


def json_answer(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """``payload`` as a JSON answer."""
    body = json.dumps(payload).encode()
    return Answer(status, {"content-type": "application/json", **(headers or {})}, body)


class HandlerFailed(RuntimeError):
    """The script of a server raised; shown when the server closes."""


class ScriptedServer:
    """Answers on ``url`` from a handler, records every request, and fails as planned.

    Example::

        with ScriptedServer(lambda request: json_answer({"ok": True})) as server:
            server.script_faults([faults.status(503), None])  # the first request fails, the second is served
            server.fault = faults.BLACK_HOLE                  # all later ones
            ...
            assert server.requests[0].json == {"n": 1}
            with server.down():                               # connections are refused
                ...

    A subclass overrides ``respond`` (and ``error_payload`` for the wording of scripted error statuses).
    The handler runs in the thread of its connection, several at once.
    """

    def __init__(
        self,
        handler: Callable[[Request], Answer] | None = None,
        *,
        faults: Iterable[Fault | None] = (),
        fault: FaultSource = None,
        port: int = 0,
    ) -> None:
        self._handler = handler
        self._plan = FaultPlan(faults, standing=fault)
        self._arrived = threading.Condition()
        self._requests: list[Request] = []
        self._failures: list[Exception] = []
        self._in_flight = 0
        self._most_in_flight = 0
        self._listener: _Listener | None = None
        # Bound and never listening: nobody else gets the port while the server is down.
        self._reservation = _bound_socket(port) if sys.platform == "linux" else None
        self.port: int = self._reservation.getsockname()[1] if self._reservation else port

    def respond(self, request: Request) -> Answer:
        """The answer of a healthy server."""
        if self._handler is None:
            return json_answer({"error": f"nothing is scripted for {request.path}"}, 404)
        return self._handler(request)

    def error_payload(self, status: int) -> Any:
        """JSON body of a scripted error status."""
        return {"error": _phrase(status)}

    @property
    def url(self) -> str:
        """Address without a trailing slash, the same for the whole life of the server."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Every request that arrived, those that met a fault too."""
        with self._arrived:
            return list(self._requests)

    def requests_to(self, path: str) -> list[Request]:
        """Requests to one path."""
        return [request for request in self.requests if request.path == path]

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Block until ``count`` requests have arrived. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} of {count} requests arrived within {timeout} s")
            return list(self._requests)

    def forget_requests(self) -> None:
        """Empty ``requests``."""
        with self._arrived:
            self._requests.clear()

    @property
    def most_in_flight(self) -> int:
        """The largest number of requests that were being handled at the same time."""
        return self._most_in_flight

    @property
    def fault(self) -> FaultSource:
        """The fault of every request that no scripted fault is left for: a fault, a function of the request, None."""
        return self._plan.standing

    @fault.setter
    def fault(self, fault: FaultSource) -> None:
        with self._arrived:
            self._plan.standing = fault

    def script_faults(self, faults: Iterable[Fault | None]) -> None:
        """Plan the fates of the next requests in order; None serves one properly."""
        with self._arrived:
            self._plan.extend(faults)

    def heal(self) -> None:
        """Forget every planned fault."""
        with self._arrived:
            self._plan.clear()

    def start(self) -> None:
        """Listen; on the same port as before. Does nothing when listening."""
        if self._listener is None:
            self._listener = _Listener(self)
            self.port = self._listener.server_address[1]
            self._listener.start()

    def stop(self) -> None:
        """Stop listening and drop open connections: new ones are refused until ``start``."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections inside the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def close(self) -> None:
        """Stop and give up the port; black-holed requests end."""
        self.stop()
        if self._reservation is not None:
            self._reservation.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._failures:
            first = self._failures[0]
            raise HandlerFailed(
                f"the script of {type(self).__name__} raised {type(first).__name__}: {first}"
            ) from first

    def _arrives(self, request: Request) -> Fault | None:
        with self._arrived:
            self._requests.append(request)
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            self._arrived.notify_all()
            return self._plan.next_for(request)

    def _leaves(self) -> None:
        with self._arrived:
            self._in_flight -= 1

    def _answer(self, request: Request) -> Answer:
        try:
            return Answer(*self.respond(request))
        except Exception as error:  # noqa: BLE001 - shown to the client and raised when the server closes
            self._failures.append(error)
            # No outage: a client must not try a mistake in the script again.
            return json_answer({"error": f"{type(error).__name__}: {error}"}, 400)


class _Listener(ThreadingHTTPServer):
    """One period of listening; its threads end with it."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, owner: ScriptedServer) -> None:
        self.owner = owner
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.to_reset: set[socket.socket] = set()
        super().__init__((LOOPBACK, owner.port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def server_bind(self) -> None:
        # The base class asks the name service for its own name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
            reset = request in self.to_reset
            self.to_reset.discard(request)
        if reset:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # A client that gave up is what time-outs look like from here.
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.owner._failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers leave at once, which keeps tests quick.
    disable_nagle_algorithm = True
    server: _Listener

    def _serve(self) -> None:
        request = self._read()
        fault = self.server.owner._arrives(request)
        try:
            self._meet(request, fault)
        finally:
            self.server.owner._leaves()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _read(self) -> Request:
        received_at = time.monotonic()
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._read_chunks() if "chunked" in headers.get("transfer-encoding", "") else self._read_length(headers)
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        return Request(self.command, address.path, query, headers, body, received_at)

    def _read_length(self, headers: Mapping[str, str]) -> bytes:
        return self.rfile.read(int(headers.get("content-length", 0)))

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _meet(self, request: Request, fault: Fault | None) -> None:
        owner = self.server.owner
        kind = fault.kind if fault is not None else None
        if fault is not None and kind is FaultKind.STATUS:
            headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
            self._send(json_answer(owner.error_payload(fault.status), fault.status, headers))
        elif kind is FaultKind.RESET:
            self._reset()
        elif kind is FaultKind.RESET_AFTER:
            owner._answer(request)
            self._reset()
        elif kind is FaultKind.BLACK_HOLE:
            self._hang()
        else:
            if fault is not None and kind is FaultKind.SLOW and self.server.closing.wait(fault.seconds):
                self.close_connection = True
                return
            answer = owner._answer(request)
            self._send(answer._replace(body=_NOT_JSON) if kind is FaultKind.MALFORMED else answer, kind)

    def _reset(self) -> None:
        self.close_connection = True
        self.server.to_reset.add(self.connection)

    def _hang(self) -> None:
        self.close_connection = True
        self.server.closing.wait()

    def _send(self, answer: Answer, kind: FaultKind | None = None) -> None:
        if isinstance(answer.body, bytes):
            self._send_head(answer, ("content-length", str(len(answer.body))))
            self._send_parts([answer.body[: len(answer.body) // 2], answer.body[len(answer.body) // 2 :]], kind)
            return
        self._send_head(answer, ("transfer-encoding", "chunked"))
        whole = iter(answer.body) if kind is None else iter(list(answer.body))
        self._send_parts((b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in whole if chunk), kind)
        if not self.close_connection:
            self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, answer: Answer, framing: tuple[str, str]) -> None:
        self.send_response(answer.status, _phrase(answer.status))
        for name, value in (*answer.headers.items(), framing):
            self.send_header(name, value)
        self.end_headers()

    def _send_parts(self, parts: Iterable[bytes], kind: FaultKind | None) -> None:
        cut_off = kind in (FaultKind.TRUNCATED, FaultKind.STALLED)
        if cut_off:
            parts = list(parts)
            parts = parts[: len(parts) // 2]
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()
        if cut_off:
            self.close_connection = True
        if kind is FaultKind.STALLED:
            self._hang()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to standard error."""


def _bound_socket(port: int) -> socket.socket:
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, port))
    return reserved


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded" if status == 529 else "Error"
