"""Who starts the embedded PostgreSQL, restarts it when it dies and stops it when nobody uses it?

A small process of its own, the parent of the server: ``python -m src.storage.postgres_keeper``.
Clients hold a shared lock for as long as they live, however they die; when the keeper can have it
exclusively and still nobody came back after the grace, it stops the server and ends. Standard
library only, so that it starts quickly and stays small.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from src.storage import cluster
from src.storage.cluster import Home, RunningServer
from src.storage.privileges import Identity, PrivilegeError, prepare_child, server_identity

POLL_S = 0.2
START_PATIENCE_S = 30.0
STOP_PATIENCE_S = 20.0
MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
# What the server says when a killed one has not quite gone yet, or another program took the port.
MOMENTARY = ("lock file", "shared memory", "TCP/IP sockets", "in use")

# Small machine, durable (fsync and synchronous_commit stay on), and no row values in the log.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "password_encryption": "scram-sha-256",
}


class KeeperError(Exception):
    """The server cannot be started; the message is one line for the user."""


@dataclass
class Keeper:
    """The server's parent: owns the process, the state file and the keeper lock."""

    home: Home
    binaries: Path
    idle_grace_s: float
    identity: Identity | None = None
    server: subprocess.Popen[bytes] | None = None
    stop_requested: bool = False

    def prepare(self) -> None:
        """Choose the server's user and make the cluster if there is none yet."""
        share, lib = self.binaries.parent / "share", self.binaries.parent / "lib"
        self.identity = server_identity(
            self.binaries / "postgres", (share, share / "postgres.bki", lib), self.home.path, self.home.cluster
        )
        if not (self.home.cluster / "PG_VERSION").exists():
            make_cluster(self.home, self.binaries, self.identity)

    def start(self) -> None:
        """Start the server and publish where it is; retried, since a killed one lingers for seconds."""
        deadline = time.monotonic() + START_PATIENCE_S
        while not self.stop_requested:
            clear_old_pid_file(self.home)
            port = choose_port(self.home)
            self.server = self._launch(port)
            if self._wait_ready(deadline):
                self.home.port_file.write_text(str(port), encoding="ascii")
                version = server_version(self.binaries)
                cluster.write_state(self.home, RunningServer(port, os.getpid(), self.server.pid, version))
                return
            self.stop()
            if time.monotonic() >= deadline or not any(sign in last_words(self.home) for sign in MOMENTARY):
                raise KeeperError(f"the database server does not start; its last words: {last_words(self.home)}")
            time.sleep(POLL_S)

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        with self.home.log_file.open("ab") as log:
            return subprocess.Popen(
                [self.binaries / "postgres", "-D", self.home.cluster, "-p", str(port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(),
                preexec_fn=prepare_child(self.identity, signal.SIGINT),
            )

    def _wait_ready(self, deadline: float) -> bool:
        server = self.server
        assert server is not None
        while time.monotonic() < deadline and not self.stop_requested:
            if server.poll() is not None:
                return False
            lines = pid_file_lines(self.home)
            if len(lines) >= 8 and lines[0].strip() == str(server.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.02)
        return False

    def watch(self) -> None:
        """Keep the server up until nobody needs it, or it keeps dying."""
        with cluster.open_lock(self.home.clients_lock) as clients:
            idle_since: float | None = None
            restarts: list[float] = []
            while not self.stop_requested and self.home.keeper_lock.exists():
                if self.server is not None and self.server.poll() is not None:
                    self._restart(restarts)
                idle_since = self._idle_since(clients, idle_since)
                if idle_since is not None and time.monotonic() - idle_since >= self.idle_grace_s:
                    if self._alone(clients):
                        self.stop()  # with the clients' lock held: whoever comes now waits for the end
                        return
                    idle_since = None
                time.sleep(POLL_S)
            self.stop()

    def _idle_since(self, clients: IO[bytes], before: float | None) -> float | None:
        if not self._alone(clients):
            return None
        fcntl.flock(clients, fcntl.LOCK_UN)
        return time.monotonic() if before is None else before

    def _alone(self, clients: IO[bytes]) -> bool:
        if self.home.pin_file.exists() or not cluster.try_exclusive(clients):
            return False
        if self.home.pin_file.exists():  # pinned by a client that came and went in between
            fcntl.flock(clients, fcntl.LOCK_UN)
            return False
        return True

    def _restart(self, restarts: list[float]) -> None:
        self.home.state_file.unlink(missing_ok=True)
        now = time.monotonic()
        restarts[:] = [moment for moment in restarts if now - moment < RESTART_WINDOW_S] + [now]
        if len(restarts) > MAX_RESTARTS:
            raise KeeperError(f"the database server keeps dying; its last words: {last_words(self.home)}")
        self.start()

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, nothing committed is lost."""
        self.home.state_file.unlink(missing_ok=True)
        server, self.server = self.server, None
        if server is None or server.poll() is not None:
            return
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)  # ends at once; the next start recovers from the log
            server.wait()


def make_cluster(home: Home, binaries: Path, identity: Identity | None) -> None:
    """Run initdb beside the final place and rename, so that a kill leaves nothing half made."""
    if home.cluster.exists():
        raise KeeperError(f"{home.cluster} is not a database cluster; move it away and try again")
    cluster.remove_folder(home.staging)
    home.staging.mkdir(mode=0o700)
    password = home.staging / "password"
    password.write_text(home.password_file.read_text(encoding="ascii"), encoding="ascii")
    if identity is not None:
        os.chown(home.staging, identity.uid, identity.gid)
        os.chown(password, identity.uid, identity.gid)
    data = home.staging / "data"
    initialise: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        cluster.USER,
        "-A",
        "scram-sha-256",
        f"--pwfile={password}",
    ]
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"]
    _run_as(identity, home, [*initialise, *locale])
    single_user: list[str | Path] = [binaries / "postgres", "--single", "-D", data, "postgres"]
    _run_as(identity, home, single_user, stdin=f"CREATE DATABASE {cluster.DATABASE}\n")
    data.rename(home.cluster)
    cluster.remove_folder(home.staging)


def _run_as(identity: Identity | None, home: Home, command: Sequence[str | Path], stdin: str = "") -> None:
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        env=child_environment(),
        preexec_fn=prepare_child(identity, signal.SIGKILL),
        check=False,
    )
    with home.log_file.open("a", encoding="utf-8") as log:
        log.write(done.stdout + done.stderr)
    if done.returncode != 0 or "FATAL" in done.stderr or "ERROR" in done.stderr:
        raise KeeperError(f"the database cluster cannot be made: {last_words(home)}")


def clear_old_pid_file(home: Home) -> None:
    """Deal with what a dead keeper or a crashed machine left: call only with the keeper lock held.

    A server of this cluster without a keeper is asked to stop. PostgreSQL also trusts any living
    pid in postmaster.pid to be a server, which is wrong where the pid now belongs to some other
    program. Then the file stays, with our own pid in it: the server ignores its parent's pid but
    still checks, by the rest of the file, that no orphan of the old server uses the shared memory.
    """
    lines = pid_file_lines(home)
    if not lines or not lines[0].strip().isdigit():
        return
    pid = int(lines[0])
    command = _command_line(pid)
    if command is None or pid == os.getpid():
        return
    if "postgres" in command and str(home.cluster) in command:
        os.kill(pid, signal.SIGINT)
        return
    with (home.cluster / "postmaster.pid").open("r+", encoding="utf-8") as file:
        file.write("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        file.truncate()


def pid_file_lines(home: Home) -> list[str]:
    """Lines of the server's postmaster.pid; none when it is not there."""
    try:
        return (home.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _command_line(pid: int) -> str | None:
    """Command line of a process, or None when there is none or it cannot be told."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return None
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def choose_port(home: Home) -> int:
    """The port of last time if it is free, so that clients can reconnect; else any free one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        last = int(home.port_file.read_text(encoding="ascii"))
        with contextlib.suppress(OSError):
            return _bind(last)
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def server_version(binaries: Path) -> str:
    """Version of the binaries, such as ``18.6``."""
    done = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def child_environment() -> dict[str, str]:
    """Environment of the server: nothing of ours but the search path and the C locale."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def last_words(home: Home) -> str:
    """Last error line of the server's log, or its last line."""
    try:
        lines = [line.strip() for line in home.log_file.read_text(encoding="utf-8", errors="replace").splitlines()]
    except FileNotFoundError:
        return "none"
    spoken = [line for line in lines if line]
    errors = [line for line in spoken if any(word in line for word in ("FATAL", "PANIC", "error:"))]
    return (errors or spoken or ["none"])[-1]


def run(keeper: Keeper, ready: IO[str]) -> int:
    """Life of the daemon: lock, start, tell ``ready``, watch. Returns the exit status."""

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        keeper.stop_requested = True

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with cluster.open_lock(keeper.home.keeper_lock) as alive:
        if not cluster.try_exclusive(alive, patience_s=2.0):
            return 0  # another keeper is there; the client finds its server
        keeper.home.state_file.unlink(missing_ok=True)
        try:
            keeper.prepare()
            keeper.start()
            ready.close()
            keeper.watch()
        except (KeeperError, PrivilegeError, OSError, subprocess.SubprocessError) as error:
            message = " ".join(str(error).split())
            print(f"keeper: {message}", file=sys.stderr, flush=True)  # noqa: T201 — goes to server.log
            if not ready.closed:
                ready.write(message)
                ready.close()
            return 1
        finally:
            keeper.stop()
    return 0


def _begin_log(home: Home) -> None:
    """Start a new log and keep the one before it, whoever wrote that."""
    with contextlib.suppress(FileNotFoundError):
        home.log_file.replace(home.log_file.with_suffix(".log.old"))
    log = os.open(home.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)


def main(arguments: Sequence[str] | None = None) -> int:
    """Become a daemon; the process that was called waits until the server is ready or has failed."""
    parser = argparse.ArgumentParser(prog="postgres_keeper", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("binaries", type=Path)
    parser.add_argument("--idle-grace", type=float, default=2.0)
    options = parser.parse_args(arguments)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answer:
            problem = answer.read()
        sys.stderr.write(problem)
        return 1 if problem else 0
    os.close(reader)
    os.setsid()
    os.umask(0o022)
    home = Home(options.home)
    with os.fdopen(writer, "w", encoding="utf-8") as ready:
        try:
            _begin_log(home)
        except OSError as error:
            ready.write(f"{home.log_file} cannot be written ({error.strerror})")
            return 1
        os.chdir(home.path)
        return run(Keeper(home, options.binaries, options.idle_grace), ready)


if __name__ == "__main__":
    sys.exit(main())
