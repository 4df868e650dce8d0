"""`make demo`'s command on a fresh folder: it answers, stays on this machine, and every span arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.command_line import E2I


def test_a_child_process_that_reaches_for_another_machine_is_refused_and_noted(tmp_path: Path) -> None:
    note = tmp_path / "refused"
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    environment = {**os.environ, "E2I_TEST_REFUSALS": str(note)}
    tried = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert tried.returncode == 1
    assert "PermissionError" in tried.stderr
    assert "192.0.2.1" in note.read_text("utf-8")


def test_the_demonstration_stays_on_this_machine_and_all_its_spans_are_stored(tmp_path: Path) -> None:
    note = tmp_path / "refused"
    environment = {**os.environ, "E2I_VAR_DIR": str(tmp_path / "var"), "E2I_TEST_REFUSALS": str(note)}
    environment.pop("DATABASE_URL", None)

    def e2i(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(E2I), *arguments], env=environment, capture_output=True, text=True, timeout=280)

    shown = e2i("demo")
    assert shown.returncode == 0, shown.stderr
    assert not note.exists(), note.read_text("utf-8")
    traces = json.loads(e2i("observe", "traces", "--json").stdout)["traces"]
    assert sum(trace["spans"] for trace in traces) > 20
    assert {"e2i demo"} <= {trace["operation"] for trace in traces}
    assert e2i("observe", "orphans", "--settled", "0").returncode == 0
    database = json.loads(e2i("observe", "status", "--json").stdout)["sinks"]["database"]
    assert database["adds_up"]
    assert (database["dead"], database["dropped"]) == (0, 0)
