"""Where are the files of the embedded server, and who holds its locks?

Standard library only: the keeper process imports this. Layout of the home folder::

    cluster/      PGDATA, owned by the user the server runs as
    password      of the database user, readable by its owner only
    server.json   where the running server is; absent while it is down
    pinned        present while the server is to stay up without clients
    clients.lock  held shared by every client, exclusively by whoever stops the server
    keeper.lock   held exclusively by the keeper for its whole life
    start.lock    held exclusively by whoever starts a keeper
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

USER = "e2i"
DATABASE = "e2i"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """What the keeper tells its clients."""

    port: int
    keeper_pid: int
    server_pid: int
    version: str


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside the folder of one embedded server."""

    path: Path

    @property
    def cluster(self) -> Path:
        return self.path / "cluster"

    @property
    def staging(self) -> Path:
        return self.path / "cluster.new"

    @property
    def password_file(self) -> Path:
        return self.path / "password"

    @property
    def state_file(self) -> Path:
        return self.path / "server.json"

    @property
    def port_file(self) -> Path:
        return self.path / "port"

    @property
    def pin_file(self) -> Path:
        return self.path / "pinned"

    @property
    def log_file(self) -> Path:
        return self.path / "server.log"

    @property
    def clients_lock(self) -> Path:
        return self.path / "clients.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.path / "keeper.lock"

    @property
    def start_lock(self) -> Path:
        return self.path / "start.lock"


def read_state(home: Home) -> RunningServer | None:
    """What the keeper wrote when the server was last ready, or None while it is down."""
    try:
        return RunningServer(**json.loads(home.state_file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write_state(home: Home, server: RunningServer) -> None:
    """Publish the running server in one step: readers see all of it or nothing."""
    draft = home.state_file.with_suffix(".new")
    draft.write_text(json.dumps(asdict(server)), encoding="utf-8")
    draft.replace(home.state_file)


def open_lock(path: Path) -> IO[bytes]:
    """Open a lock file, made if absent. Lock files are never deleted: a waiter would hold a dead one."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644), "rb")


def try_exclusive(file: IO[bytes], *, patience_s: float = 0.0) -> bool:
    """Take the lock exclusively if that succeeds within ``patience_s`` seconds."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file exclusively, waiting for it as long as it takes."""
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keeper_alive(home: Home) -> bool:
    """Whether a keeper lives. Asks for a shared lock, so that askers do not disturb one another."""
    if not home.keeper_lock.exists():
        return False
    with open_lock(home.keeper_lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove_folder(path: Path, patience_s: float = 30.0) -> None:
    """Delete a folder, if it is there, under the hands of a dying process that still makes or deletes files in it.

    The server processes of a killed initdb live a moment longer and tidy up behind themselves. Raises the
    last OSError when the folder is still there after ``patience_s`` seconds, PermissionError at once.
    """
    deadline = time.monotonic() + patience_s
    while path.exists():
        try:
            shutil.rmtree(path)
        except PermissionError:
            raise
        except OSError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
