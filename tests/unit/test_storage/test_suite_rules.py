"""Does the suite refuse the network and lazy skips?"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.suite_rules import NetworkRefused, folder_markers, is_local, skip_problem


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_a_connection_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    with socket.socket() as client, pytest.raises(NetworkRefused, match="this machine only"):
        client.connect(address)


def test_a_connection_to_this_machine_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())


def test_unix_sockets_are_local() -> None:
    assert is_local(socket.AF_UNIX, "/tmp/socket")


@pytest.mark.parametrize(
    "reason", ["needs an Opik server", "needs ../shared/data/pharma", "Skipped: needs a model key"]
)
def test_an_absent_service_or_data_set_is_a_reason_to_skip(reason: str) -> None:
    assert skip_problem(reason) is None


@pytest.mark.parametrize("reason", ["flaky", "could not import 'feast'", "needs time", "Skipped: todo"])
def test_any_other_reason_to_skip_is_a_failure(reason: str) -> None:
    assert skip_problem(reason) is not None


def test_markers_follow_the_folder() -> None:
    tests = Path("/x/tests")
    assert folder_markers(tests / "unit" / "test_a.py", tests) == ("unit",)
    assert folder_markers(tests / "e2e" / "test_a.py", tests) == ("e2e",)
    assert folder_markers(tests / "test_a.py", tests) == ()


def test_generated_files_go_to_a_temporary_folder() -> None:
    from src.settings import PROJECT_ROOT, var_dir

    assert not var_dir().is_relative_to(PROJECT_ROOT)
    assert "DATABASE_URL" not in os.environ
