"""What may a test of this project do? Judgements used by conftest.py, free of pytest."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER_MARKERS = {
    "unit": ("unit",),
    "integration": ("integration",),
    "contracts": ("integration",),
    "faults": ("integration",),
    "statistical": ("slow",),
    "e2e": ("e2e",),
}
# Folders that hold agents and are none.
TIER_FOLDERS = ("test_ml_foundation", "test_tier_0")
_ABSENT = re.compile(r"^needs .*\b(server|service|key|shared/data)\b")


class NetworkRefused(RuntimeError):
    """A test tried to talk to a machine other than this one."""


class NoTier(LookupError):
    """A test stands among those of the agents but belongs to none."""


def folder_markers(path: Path, tests: Path) -> tuple[str, ...]:
    """Markers of every test under a folder of ``tests``."""
    parts = path.relative_to(tests).parts if path.is_relative_to(tests) else ()
    return FOLDER_MARKERS.get(parts[0], ()) if len(parts) > 1 else ()


def tier_marker(path: Path, tests: Path, tiers: Mapping[str, int]) -> str | None:
    """Marker of a test under ``unit/test_agents/[test_ml_foundation/|test_tier_0/]test_<agent>``, else None.

    Raises NoTier.
    """
    agents = tests / "unit" / "test_agents"
    if not path.is_relative_to(agents):
        return None
    folders = [part for part in path.relative_to(agents).parts if part not in TIER_FOLDERS]
    agent = folders[0].removeprefix("test_")
    if agent not in tiers:
        raise NoTier(f"{path.relative_to(tests.parent)}: agent '{agent}' has no tier in src/domain/agents.py")
    return f"tier{tiers[agent]}"


def skip_problem(reason: str) -> str | None:
    """Why a skip with this reason is a failure, or None when it is allowed."""
    said = reason.removeprefix("Skipped: ")
    if _ABSENT.match(said):
        return None
    return f"a test may skip only for an absent live service or shared/data ('needs …'), not because: {said}"


def is_local(family: int, address: Any) -> bool:
    """Whether a socket address stays on this machine."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = address[0]
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_foreign(family: int, address: Any) -> None:
    """Raise NetworkRefused unless the address stays on this machine."""
    if not is_local(family, address):
        raise NetworkRefused(f"a test tried to connect to {address}; tests use this machine only")
