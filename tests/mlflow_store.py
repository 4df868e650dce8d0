"""What do the MLflow tests stand on? Real stores copied from one template, and a real server that can be cut off."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from src.mlops.mlflow.configuration import MLFLOW_FILE
from src.mlops.mlflow.store import create_sqlite_store, load_library
from src.mlops.mlflow_connector import MLflowConnector
from src.settings import var_dir


@functools.cache
def template() -> Path:
    """An empty SQLite store, made once per process: its tables take seconds."""
    load_library(30)
    file = var_dir() / "mlflow-template.db"
    create_sqlite_store(file, str(var_dir() / "mlflow-template-artifacts"))
    return file


def new_store(folder: Path) -> str:
    """Address of an empty SQLite store in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template(), folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


def configuration(folder: Path, **changes: Any) -> Path:
    """The shipped configuration with ``section={key: value}`` put over it; retries wait for milliseconds."""
    raw = yaml.safe_load(MLFLOW_FILE.read_text("utf-8"))
    raw["tracking"]["retry"] = {"max_attempts": 2, "backoff_factor": 0.01, "max_backoff": 0.02}
    raw["spool"]["path"] = str(folder / "spool")
    file = folder / "mlflow.yaml"
    file.write_text(yaml.safe_dump(_merged(raw, changes)), "utf-8")
    return file


def local_connector(folder: Path, *, now: Callable[[], Any] | None = None, **changes: Any) -> MLflowConnector:
    """A connector on an empty SQLite store of its own."""
    options = {} if now is None else {"now": now}
    return MLflowConnector(new_store(folder), config_path=configuration(folder, **changes), **options)


def closed_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(argv: list[str], environment: dict[str, str], port: int, folder: Path) -> Iterator[str]:
    """A process that answers http on ``port``, killed at the end with all its children."""
    environment = {**os.environ, **environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            argv, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def mlflow_server(folder: Path) -> contextlib.AbstractContextManager[str]:
    """A real tracking server on a SQLite store of its own, artifacts served by it."""
    port = closed_port()
    argv = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--backend-store-uri", new_store(folder)]
    argv += ["--artifacts-destination", str(folder / "artifacts")]
    return served(argv, {}, port, folder)


class Line:
    """A line to an HTTP server that can be cut, can stall, and can lose an answer."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._port = closed_port()
        self._left: int | None = None
        self._stalls = False
        self._lost = b""
        self.stalled = threading.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.restore()

    @property
    def lost(self) -> bool:
        """Whether the answer that should be lost is."""
        return not self._lost

    @property
    def url(self) -> str:
        """The server's address at this end."""
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Refuse connections and break those there are."""
        self._run(self._close())

    def cut_after(self, requests: int) -> None:
        """Let so many more requests through."""
        self._left = requests

    def stall_after(self, requests: int) -> None:
        """Let so many more requests through; the next one is never answered, and ``stalled`` is set."""
        self._left, self._stalls = requests, True

    def lose_answer_to(self, path: str) -> None:
        """Carry out the next request to ``path`` and break the connection instead of answering."""
        self._lost = path.encode()

    def restore(self) -> None:
        """Let everything through again."""
        self._left, self._stalls = None, False
        self._run(self._listen())

    def end(self) -> None:
        """Close the line for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while request := await _message(reader):
                if self._left == 0:
                    await self._stop()
                    return
                if self._left is not None:
                    self._left -= 1
                answer = await self._answer(request)
                if self._lost and self._lost in request.partition(b"\r\n")[0]:
                    self._lost = b""
                    writer.transport.abort()
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _stop(self) -> None:
        if not self._stalls:
            await self._close()
            return
        self.stalled.set()
        await asyncio.sleep(3600)

    async def _answer(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader)
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message; empty at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if fields.get(b"transfer-encoding") == b"chunked":
        return head + await _chunks(reader)
    return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(size, 16) + 2)
        body += size + chunk
        if int(size, 16) == 0:
            return body


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(2400):
        assert process.poll() is None, log.read_text("utf-8", errors="replace")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            answer.read()
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer: {log.read_text('utf-8', errors='replace')}")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        base[key] = _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return base
