"""Are files of test servers kept in memory only where there is room, and those of killed tests cleared away?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.memory_folder import folder_in_memory


def test_each_call_has_a_folder_of_its_own_and_leaves_those_of_living_processes(tmp_path: Path) -> None:
    first, second = folder_in_memory(tmp_path, 0), folder_in_memory(tmp_path, 0)
    assert first is not None
    assert second is not None
    assert set(tmp_path.iterdir()) == {first, second}


def test_folders_of_processes_that_are_gone_are_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    abandoned = tmp_path / f"e2i-tests-{gone.pid}-abc" / "cluster"
    abandoned.mkdir(parents=True)
    (tmp_path / "PostgreSQL.123").write_bytes(b"x")
    made = folder_in_memory(tmp_path, 0)
    assert made is not None
    assert made.name.startswith(f"e2i-tests-{os.getpid()}-")
    assert set(tmp_path.iterdir()) == {made, tmp_path / "PostgreSQL.123"}


def test_too_little_room_or_no_such_place_is_no_folder(tmp_path: Path) -> None:
    assert folder_in_memory(tmp_path, 2**62) is None
    assert folder_in_memory(tmp_path / "nowhere", 0) is None
    assert list(tmp_path.iterdir()) == []
