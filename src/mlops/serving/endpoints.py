"""Which models are served on this machine, by which process, and how are they started, asked and stopped?"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit

from src.errors import ContractViolation
from src.mlops.serving.mirror import Observed, Target, observed, read_target, write_target
from src.mlops.serving.package import read_package
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT, var_dir

COMPONENT = "serving"
STATE, LOCK, LOG, MIRROR, EVIDENCE = "server.json", "lock", "server.log", "mirror.json", "evidence.json"
# Loading the libraries takes ten seconds of a processor, which may be shared; an end while starting is noticed at once.
START_TIMEOUT_S = 120.0
_POLL_S = 0.05
_LOCK_WAIT_S = 1.0
# Processes started here: whoever started one must take note of its end.
_children: dict[int, subprocess.Popen[bytes]] = {}

Role = Literal["primary", "shadow"]


@dataclass(frozen=True, slots=True)
class Serving:
    """A serving process; ``pid`` and ``url`` are what it wrote itself when it was ready."""

    name: str
    model_name: str
    version: int
    digest: str
    environment: str
    role: Role
    url: str
    pid: int
    started_at: datetime


def serving_folder() -> Path:
    """Where endpoints keep their pid files and logs."""
    return var_dir() / "serving"


def endpoint_name(model_name: str, environment: str, version: int) -> str:
    """The endpoint of a version in an environment."""
    return f"{model_name}-{environment}-v{version}"


def start_endpoint(
    package: Path,
    *,
    environment: str = "development",
    role: Role = "primary",
    port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Serving | Unavailable:
    """Serve a package from a process of its own, which goes on when this one ends; returns once it answers.

    The same version again returns the process there is, unless it has another package, role or port than is asked
    for: it goes on, and the answer is Unavailable. Unavailable too when the process does not start within
    ``timeout_s`` or its port is taken; then nothing is left running. Raises what ``read_package`` raises.
    """
    manifest = read_package(package)
    name = endpoint_name(manifest.model_name, environment, manifest.version)
    there = running_endpoint(name)
    if there is not None:
        return _same(there, manifest.digest, role, port)
    folder = serving_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    process = _spawn(folder, package, environment, role, port or 0)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (serving := _state(folder)) is not None and serving.pid == process.pid:
            return serving
        if process.poll() is not None:
            del _children[process.pid]
            return Unavailable(COMPONENT, f"the server of {name} ended while starting: {_last_line(folder / LOG)}")
        time.sleep(_POLL_S)
    process.kill()
    process.wait()
    del _children[process.pid]
    late = f"the server of {name} did not start within {timeout_s:g} s (the last it said: {_last_line(folder / LOG)})"
    return Unavailable(COMPONENT, f"{late}: is the machine too busy? {folder / LOG}")


def stop_endpoint(name: str, *, timeout_s: float = 10.0) -> bool:
    """End the process of an endpoint, by the pid it wrote; whether there was one.

    The process holds a lock for as long as it lives, so that a pid which another program got since is not hit.
    """
    serving = running_endpoint(name)
    if serving is None:
        return False
    folder = serving_folder() / name
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(serving.pid, sign)
        if _ended(folder, serving.pid, timeout_s):
            break
    (folder / STATE).unlink(missing_ok=True)
    stop_mirroring(name)
    return True


def running_endpoint(name: str) -> Serving | None:
    """The process of an endpoint, where one lives and was ready."""
    folder = serving_folder() / name
    return _state(folder) if _alive(folder) else None


def running_endpoints(model_name: str | None = None, environment: str | None = None) -> list[Serving]:
    """All that live, of one model and environment where given, by name."""
    folders = sorted(serving_folder().glob(f"*/{STATE}"))
    found = [serving for file in folders if (serving := running_endpoint(file.parent.name)) is not None]
    return [
        serving
        for serving in found
        if model_name in (None, serving.model_name) and environment in (None, serving.environment)
    ]


def ask_health(serving: Serving, *, timeout_s: float = 5.0) -> Mapping[str, Any] | Unavailable:
    """What the process says of itself now."""
    return _ask(serving.url, "GET", "/health", None, timeout_s)


def predict_rows(
    serving: Serving, rows: Sequence[Mapping[str, Any]], *, timeout_s: float = 30.0
) -> list[Mapping[str, Any]] | Unavailable:
    """The predictions for ``rows``. Raises ContractViolation for rows that the model refuses."""
    said = _ask(serving.url, "POST", "/predict", json.dumps({"rows": list(rows)}).encode(), timeout_s)
    return said if isinstance(said, Unavailable) else list(said["predictions"])


def mirror_requests(primary: Serving, shadow: Serving) -> None:
    """From now on copy what ``primary`` answers to ``shadow``, and keep what is seen of it."""
    folder = serving_folder() / shadow.name
    write_target(serving_folder() / primary.name / MIRROR, Target(shadow.url, folder / EVIDENCE, shadow.digest))


def stop_mirroring(shadow: str) -> None:
    """Copy nothing to the endpoint of that name any more; what was seen of it stays."""
    for file in serving_folder().glob(f"*/{MIRROR}"):
        target = read_target(file)
        if target is not None and target.evidence.parent.name == shadow:
            file.unlink(missing_ok=True)


def most_seen_in_shadow(model_name: str, version: int) -> Observed | None:
    """What was observed of a version in shadow, in the environment with the most requests; None where nothing was."""
    files = sorted(serving_folder().glob(f"{model_name}-*-v{version}/{EVIDENCE}"))
    found = [seen for file in files if (seen := observed(file)) is not None]
    return max(found, key=lambda seen: seen.requests, default=None)


def write_state(folder: Path, serving: Serving) -> None:
    """Say that the process is ready; called by the process itself."""
    half = folder / f"{STATE}.writing"
    half.write_text(json.dumps({**asdict(serving), "started_at": serving.started_at.isoformat()}), "utf-8")
    os.replace(half, folder / STATE)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """The lock of an endpoint, held for as long as the process lives; what an earlier process left is removed.

    Raises ContractViolation when another process has it.
    """
    with open(folder / LOCK, "ab") as lock:
        _lock(lock, folder.name)
        for stale in (STATE, MIRROR):
            (folder / stale).unlink(missing_ok=True)
        yield


def _lock(lock: BinaryIO, name: str) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            # Whoever asks whether the endpoint lives holds the lock for a moment.
            if time.monotonic() > deadline:
                raise ContractViolation(f"endpoint {name} is served by another process already") from error
            time.sleep(_POLL_S)


def _same(there: Serving, digest: str, role: Role, port: int | None) -> Serving | Unavailable:
    present = urlsplit(there.url).port
    if there.digest != digest:
        what = "another package"
    elif there.role != role:
        what = f"the role {there.role}"
    elif port not in (None, present):
        what = f"port {present}, not {port}"
    else:
        return there
    return Unavailable(COMPONENT, f"{there.name} is already running with {what} (pid {there.pid}); stop it first")


def _spawn(folder: Path, package: Path, environment: str, role: Role, port: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "src.mlops.serving.process", str(folder), str(package.resolve())]
    argv += ["--environment", environment, "--role", role, "--port", str(port)]
    with open(folder / LOG, "wb") as log:
        # A session of its own: a terminal that is closed does not end it.
        process = subprocess.Popen(
            argv, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _children[process.pid] = process
    return process


def _state(folder: Path) -> Serving | None:
    try:
        said = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Serving(**{**said, "started_at": datetime.fromisoformat(said["started_at"])})


def _alive(folder: Path) -> bool:
    try:
        with open(folder / LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _ended(folder: Path, pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        child = _children.get(pid)
        if (child is None or child.poll() is not None) and not _alive(folder):
            _children.pop(pid, None)
            return True
        time.sleep(_POLL_S)
    return False


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1][:300] if lines else "it wrote nothing"


def _ask(url: str, method: str, path: str, body: bytes | None, timeout_s: float) -> Mapping[str, Any] | Unavailable:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said: Mapping[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Unavailable(COMPONENT, f"{url} does not answer: {type(error).__name__}")
    finally:
        connection.close()
    if answer.status == 422:
        raise ContractViolation(str(said.get("error")))
    return said if answer.status == 200 else Unavailable(COMPONENT, f"{url}: {said.get('error')}")
