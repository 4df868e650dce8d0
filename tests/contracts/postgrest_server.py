"""How does a PostgREST-compatible server (``@supabase/lite`` on Node) get started on a database?"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "supabase"
READY_S = 60.0


class ServerMissing(Exception):
    """The server cannot be started here; the message says what is absent."""


def installed_program() -> Path:
    """The server's program, installed with npm on first use. Raises ServerMissing."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise ServerMissing(f"'{tool}' is not installed: the suite over HTTP runs on Node 20 or later")
    program = PACKAGE / "node_modules" / ".bin" / "lite"
    if not program.exists():
        done = subprocess.run(["npm", "install"], cwd=PACKAGE, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not program.exists():
            raise ServerMissing(f"npm install failed: {done.stderr.strip()[-400:]}")
    return program


@contextmanager
def postgrest_server(dsn: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Run the server on a database; gives its URL and secret key. Raises ServerMissing."""
    program = installed_program()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = "sb_secret_" + secrets.token_hex(16)
    config = folder / "supabase" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'project_id = "contract"\n[api]\nenabled = true\nport = {port}\n'
        f'[db]\ndriver = "postgres"\nurl = "{dsn}"\n'
        f'[auth]\nsecret_key = "{key}"\npublishable_key = "sb_publishable_{secrets.token_hex(16)}"\n'
    )
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "start", "--no-admin"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "LITE_TELEMETRY": "0", "DO_NOT_TRACK": "1"},
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, folder / "server.log")
            yield url, key
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/rest/v1/", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise ServerMissing(f"the PostgREST-compatible server does not come up: {log.read_text()[-800:]}")
