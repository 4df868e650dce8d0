"""Does the embedded server come when it is needed, go when it is not, and survive being killed?"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from src.errors import DatabaseUnavailable
from src.settings import PROJECT_ROOT
from src.storage import cluster
from src.storage.cluster import Home
from src.storage.connection import connect
from src.storage.embedded_postgres import EmbeddedPostgres

GRACE_S = 0.3
CLIENT = Path(__file__).with_name("embedded_client.py")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a stopped server whose cluster is made, to copy."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("prepared") / "pg")
    server.attach().close()
    server.stop()
    return server.home.path


@pytest.fixture
def server(prepared: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, in a folder with spaces, gone afterwards."""
    home = tmp_path / "a folder with spaces" / "pg"
    home.parent.mkdir()
    subprocess.run(["cp", "-a", prepared, home], check=True)
    yield from stopped_afterwards(EmbeddedPostgres(home, idle_grace_s=GRACE_S))


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server whose folder does not exist yet."""
    yield from stopped_afterwards(EmbeddedPostgres(tmp_path / "new" / "pg", idle_grace_s=GRACE_S))


def stopped_afterwards(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    yield server
    server.stop()
    wait_until(lambda: not server_processes(server.home), "the server to stop")


def start_client(server: EmbeddedPostgres) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CLIENT), str(server.home.path), str(GRACE_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
    )


def said_address(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    return client.stdout.readline().strip()


def end(client: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        client.kill()
    client.communicate("\n" if not kill else None, timeout=20)


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def server_processes(home: Home) -> list[psutil.Process]:
    """Every process that was started with this server's folder on its command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home.path) in part for part in process.info["cmdline"] or []) and process.pid != os.getpid():
            found.append(process)
    return [process for process in found if "embedded_client" not in " ".join(process.info["cmdline"])]


def scalar(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def make_table(dsn: str, rows: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(f"CREATE TABLE kept AS SELECT generate_series(1, {rows:d}) AS n")


def test_an_attached_process_gets_a_durable_loopback_server_with_vectors(new_server: EmbeddedPostgres) -> None:
    with new_server.attach() as lease:
        assert scalar(lease.dsn, "SHOW fsync") == "on"
        assert scalar(lease.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert scalar(lease.dsn, "SHOW timezone") == "UTC"
        assert scalar(lease.dsn, "SELECT current_database()") == "e2i"
        with psycopg.connect(lease.dsn) as connection:
            connection.execute("CREATE EXTENSION vector")
        assert scalar(lease.dsn, "SELECT '[1,0]'::vector <-> '[0,0]'::vector") == 1.0


def test_the_password_is_secret_and_required(server: EmbeddedPostgres) -> None:
    with server.attach() as lease:
        password = server.home.password_file.read_text()
        assert stat.S_IMODE(server.home.password_file.stat().st_mode) == 0o600
        assert password not in str(server.status())
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(lease.dsn.replace(password, "guess"))


def test_the_server_goes_when_the_last_client_has_gone(server: EmbeddedPostgres) -> None:
    server.attach().close()
    wait_until(lambda: not server_processes(server.home), "the server to stop")
    assert not server.status().running


def test_a_killed_client_leaves_no_server(server: EmbeddedPostgres) -> None:
    client = start_client(server)
    assert said_address(client)
    assert server.status().in_use
    end(client, kill=True)
    wait_until(lambda: not server_processes(server.home), "the server to stop")


def test_the_server_stays_while_one_of_two_processes_remains(server: EmbeddedPostgres) -> None:
    first, second = start_client(server), start_client(server)
    address = said_address(first)
    assert said_address(second) == address
    end(first)
    time.sleep(GRACE_S + 1)
    assert scalar(address, "SELECT 1") == 1
    end(second)


def test_six_processes_at_once_share_one_server(server: EmbeddedPostgres) -> None:
    clients = [start_client(server) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        addresses = set(threads.map(said_address, clients))
    pid = server.status().pid
    assert len(addresses) == 1
    postmasters = [p for p in server_processes(server.home) if p.name() == "postgres" and p.pid == pid]
    assert len(postmasters) == 1
    for client in clients:
        end(client)


def test_a_call_soon_after_another_reuses_the_server(server: EmbeddedPostgres) -> None:
    server = EmbeddedPostgres(server.home.path, idle_grace_s=60)
    server.attach().close()
    pid = server.status().pid
    time.sleep(0.5)
    server.attach().close()
    assert server.status().pid == pid


def test_a_killed_server_comes_back_with_its_data(server: EmbeddedPostgres) -> None:
    with server.attach() as lease:
        make_table(lease.dsn, 1000)
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server.status().pid not in (None, pid), "the keeper to restart the server")
        with server.attach() as again:
            assert again.dsn == lease.dsn
            assert scalar(again.dsn, "SELECT count(*) FROM kept") == 1000


@pytest.mark.skipif(sys.platform != "linux", reason="needs the death signal of a Linux server")
def test_a_killed_keeper_leaves_no_server_and_the_next_client_starts_one(server: EmbeddedPostgres) -> None:
    with server.attach() as lease:
        make_table(lease.dsn, 10)
        running = cluster.read_state(server.home)
        assert running is not None
        os.kill(running.keeper_pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(running.server_pid), "the server to follow its keeper")
        with server.attach() as again:
            assert scalar(again.dsn, "SELECT count(*) FROM kept") == 10


async def test_an_attached_program_recovers_from_killed_server_and_keeper(server: EmbeddedPostgres) -> None:
    async with connect(server=server) as database:
        await database.execute("CREATE TABLE kept (n int)")
        for victim in ("server_pid", "keeper_pid"):
            running = cluster.read_state(server.home)
            assert running is not None
            os.kill(getattr(running, victim), signal.SIGKILL)
            wait_until(lambda pid=running.server_pid: not psutil.pid_exists(pid), "the server to be gone")
            assert await database.fetch("SELECT * FROM kept") == []


def test_a_pinned_server_stays_until_it_is_stopped(server: EmbeddedPostgres) -> None:
    assert server.start().pinned
    time.sleep(GRACE_S + 1)
    status = server.status()
    assert (status.running, status.in_use) == (True, False)
    assert not server.stop().running
    wait_until(lambda: not server_processes(server.home), "the server to stop")


def test_stop_does_not_take_the_server_from_a_process_that_uses_it(server: EmbeddedPostgres) -> None:
    with server.attach() as lease:
        server.start()
        status = server.stop()
        assert (status.running, status.pinned) == (True, False)
        assert scalar(lease.dsn, "SELECT 1") == 1
    wait_until(lambda: not server_processes(server.home), "the server to stop after its user")


def test_reset_deletes_the_data_but_not_under_a_user(server: EmbeddedPostgres) -> None:
    with server.attach() as lease:
        make_table(lease.dsn, 1)
        with pytest.raises(DatabaseUnavailable, match="in use"):
            server.reset()
    server.reset()
    assert not server.home.cluster.exists()
    with server.attach() as lease:
        assert scalar(lease.dsn, "SELECT to_regclass('kept')") is None


def test_a_kill_during_the_first_start_leaves_nothing_half_made(new_server: EmbeddedPostgres) -> None:
    client = start_client(new_server)
    wait_until(new_server.home.staging.exists, "initdb to begin")
    for process in server_processes(new_server.home):
        process.kill()
    end(client, kill=True)
    assert not new_server.home.cluster.exists()
    with new_server.attach() as lease:
        assert scalar(lease.dsn, "SELECT 1") == 1
    assert not new_server.home.staging.exists()


def test_a_folder_goes_while_a_dying_process_still_works_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "cluster.new"
    folder.mkdir()
    work = f"""
import itertools, pathlib, time
end = time.monotonic() + 1
for n in itertools.count():
    file = pathlib.Path({str(folder)!r}, str(n % 50))
    try:
        file.touch()
        file.with_name(str((n + 25) % 50)).unlink(missing_ok=True)
    except FileNotFoundError:
        break
    if time.monotonic() > end:
        break
"""
    with subprocess.Popen([sys.executable, "-c", work]) as dying:
        wait_until(lambda: any(folder.iterdir()), "the process to make files")
        cluster.remove_folder(folder)
        assert not folder.exists()
        dying.wait()


def test_a_folder_that_cannot_be_emptied_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

    monkeypatch.setattr("shutil.rmtree", refused)
    with pytest.raises(OSError, match="not empty"):
        cluster.remove_folder(tmp_path, patience_s=0.05)


def test_a_pid_file_that_names_another_program_does_not_prevent_the_start(server: EmbeddedPostgres) -> None:
    server.attach().close()
    server.stop()
    with subprocess.Popen(["sleep", "60"], user="nobody" if os.geteuid() == 0 else None) as stranger:
        lines = [str(stranger.pid), str(server.home.cluster), "1", "5432", "", "127.0.0.1", "1 1", "ready   "]
        (server.home.cluster / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with server.attach() as lease:
            assert scalar(lease.dsn, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_the_modes_of_parent_folders_stay_as_they_are(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "var").mkdir(parents=True)
    private.chmod(0o700)
    parents = [private / "var", private, *private.parents]
    before = {folder: (folder.stat().st_mode, folder.stat().st_uid) for folder in parents}
    server = EmbeddedPostgres(private / "var" / "pg", idle_grace_s=GRACE_S)
    with server.attach() as lease:
        assert scalar(lease.dsn, "SELECT 1") == 1
    server.stop()
    assert {folder: (folder.stat().st_mode, folder.stat().st_uid) for folder in parents} == before


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match="E2I_VAR_DIR") as caught:
        EmbeddedPostgres(tmp_path / "file" / "pg").attach()
    assert "\n" not in str(caught.value)


def test_a_damaged_cluster_is_one_clear_line(server: EmbeddedPostgres) -> None:
    server.attach().close()
    server.stop()
    shutil.rmtree(server.home.cluster / "base")
    (server.home.cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseUnavailable) as caught:
        server.attach()
    assert "\n" not in str(caught.value)
    wait_until(lambda: not server_processes(server.home), "the keeper to end")


def test_the_server_stops_when_its_folder_is_gone(server: EmbeddedPostgres) -> None:
    with server.attach():
        processes = server_processes(server.home)
        server.home.path.rename(server.home.path.with_name("elsewhere"))
        wait_until(lambda: not any(p.is_running() for p in processes), "the server to stop")
