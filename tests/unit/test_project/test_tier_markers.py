"""Do tests of an agent carry the marker of its tier?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.domain.agents import TIER_OF_AGENT
from tests.suite_rules import NoTier, tier_marker
from tests.unit.test_project.checkout import ROOT

TESTS = Path("/x/tests")
AGENTS = "tests/unit/test_agents"


def collected(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-500:]
    return done.stdout


def test_the_marker_follows_the_table_of_tiers() -> None:
    path = TESTS / "unit/test_agents/test_causal_impact/test_graph.py"
    assert tier_marker(path, TESTS, TIER_OF_AGENT) == "tier2"
    assert tier_marker(path, TESTS, {"causal_impact": 5}) == "tier5"


@pytest.mark.parametrize("path", ["unit/test_domain/test_a.py", "integration/test_agents.py", "test_a.py"])
def test_other_tests_belong_to_no_tier(path: str) -> None:
    assert tier_marker(TESTS / path, TESTS, TIER_OF_AGENT) is None


@pytest.mark.parametrize("path", ["test_agents/test_nobody/test_a.py", "test_agents/test_a.py"])
def test_a_test_of_no_known_agent_is_refused(path: str) -> None:
    with pytest.raises(NoTier, match=r"has no tier in src/domain/agents\.py"):
        tier_marker(TESTS / "unit" / path, TESTS, TIER_OF_AGENT)


def test_the_markers_select_every_test_of_the_agents() -> None:
    tiers = " or ".join(f"tier{tier}" for tier in sorted(set(TIER_OF_AGENT.values())))
    # A later -m takes the place of the configured one, so slow tests are counted too.
    said = collected("-m", tiers, AGENTS)
    assert int(re.search(r"^(\d+) tests collected", said, flags=re.MULTILINE)[1]) > 0  # type: ignore[index]
    assert "deselected" not in said
