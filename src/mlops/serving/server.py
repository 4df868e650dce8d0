"""How does a model answer over HTTP? ``POST /predict`` with rows, ``GET /health`` for its state; this machine only."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from src.mlops.serving.latencies import Latencies
from src.mlops.serving.rows import Predict, RowsRefused, predictions, rows_from

LOOPBACK = "127.0.0.1"
LONGEST_BODY = 20_000_000
IDLE_SECONDS = 30
_QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers: its ``features`` are the raw columns each row must have."""

    name: str
    version: int
    digest: str
    features: tuple[str, ...]
    predict: Predict


class Mirror(Protocol):
    """Gets a copy of every request that was answered."""

    def offer(self, body: bytes) -> None:
        """Take a request's body; returns at once."""
        ...


class NoMirror:
    """Nothing is mirrored."""

    def offer(self, body: bytes) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and JSON of an answer."""

    status: HTTPStatus
    payload: Mapping[str, Any]


class PredictionServer(ThreadingHTTPServer):
    """Serves one model. ``port`` 0 takes a free one; ``clock`` counts seconds.

    Raises OSError when the port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        served: Served,
        *,
        port: int = 0,
        mirror: Mirror | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.served = served
        self._mirror = mirror or NoMirror()
        self._clock = clock
        self._since = clock()
        self._lock = threading.Lock()
        self._predicting = threading.Lock()
        self._latencies = Latencies()
        self._errors = self._refused = 0
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for this machine's own name.

        A port that another process listens on is refused; one whose last connections are only fading is taken.
        """
        bind(self.socket, int(self.server_address[1]))
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.server_port}"

    def predict(self, body: bytes) -> Reply:
        """Answer a request; what the model makes of bad rows is never mistaken for its own failure."""
        began = self._clock()
        try:
            rows = rows_from(body, self.served.features)
            with self._predicting:
                found = predictions(rows, self.served.features, self.served.predict)
        except RowsRefused as refusal:
            with self._lock:
                self._refused += 1
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(refusal)})
        except Exception as error:  # noqa: BLE001 - the edge of the process: counted, and told by its type
            with self._lock:
                self._errors += 1
            # The text of another library's error may quote a value of a row.
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"the model failed: {type(error).__name__}"})
        with self._lock:
            self._latencies.add((self._clock() - began) * 1000.0)
        self._mirror.offer(body)
        return Reply(HTTPStatus.OK, {"predictions": found, **self._identity()})

    def health(self) -> Reply:
        """What is served, since when, and how it went; latencies in milliseconds, null before the first answer."""
        with self._lock:
            figures = {
                "requests": self._latencies.count + self._errors,
                "errors": self._errors,
                "refused": self._refused,
                "latency_ms": {name: self._latencies.quantile(share) for name, share in _QUANTILES.items()},
            }
        said = {"status": "ok", **self._identity(), "features": list(self.served.features)}
        return Reply(HTTPStatus.OK, {**said, "uptime_s": self._clock() - self._since, **figures})

    def _identity(self) -> dict[str, Any]:
        return {"model": self.served.name, "version": self.served.version, "digest": self.served.digest}


def bind(listening: socket.socket, port: int) -> None:
    """Take a port of this machine. Raises OSError when another process listens on it."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((LOOPBACK, port))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "E2I"
    sys_version = ""
    timeout = IDLE_SECONDS
    server: PredictionServer

    def do_GET(self) -> None:
        if self._path() == "/health":
            self._answer(self.server.health())
        else:
            self._nowhere("POST" if self._path() == "/predict" else None)

    def do_POST(self) -> None:
        if self._path() != "/predict":
            self._nowhere("GET" if self._path() == "/health" else None)
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self._reject(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
        elif int(length) > LONGEST_BODY:
            self._reject(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {LONGEST_BODY} bytes")
        else:
            self._answer(self.server.predict(self.rfile.read(int(length))))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not written down."""

    def _path(self) -> str:
        return urlsplit(self.path).path

    def _nowhere(self, method: str | None) -> None:
        if method is None:
            self._reject(HTTPStatus.NOT_FOUND, "there is POST /predict and GET /health")
        else:
            self._reject(HTTPStatus.METHOD_NOT_ALLOWED, f"{self._path()} takes {method}")

    def _reject(self, status: HTTPStatus, message: str) -> None:
        # The body was not read: what follows on this connection could not be told from it.
        self.close_connection = True
        self._answer(Reply(status, {"error": message}))

    def _answer(self, reply: Reply) -> None:
        body = json.dumps(reply.payload, allow_nan=False).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
