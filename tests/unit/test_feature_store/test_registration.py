"""What counts after a view was changed, by this process or another one, and after the folder was moved?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.errors import DataUnavailable
from src.feature_store.feast_client import FeastClient
from src.feature_store.online import OnlineFeatures
from tests.unit.test_feature_store.worlds import (
    at,
    configuration,
    materialize,
    row,
    write_repository,
    write_rows,
    write_world,
)

pytestmark = pytest.mark.integration

PROFESSIONAL = [{"hcp_id": "hcp_000001"}]
ASKED = pd.DataFrame({"hcp_id": ["hcp_000001"], "event_timestamp": pd.to_datetime(["2024-06-01"], utc=True)})

# Views, each with what differs from its declaration.
Views = dict[str, dict[str, Any]]
NewClient = Callable[..., FeastClient]


@pytest.fixture
async def client_of(tmp_path: Path) -> AsyncIterator[NewClient]:
    """Makes clients on the stores in one folder, each with a repository of its own."""
    write_world(tmp_path / "features")
    async with AsyncExitStack() as opened:

        def make(views: Views, folder: str = "features") -> FeastClient:
            repository = write_repository(tmp_path / f"repository{len(list(tmp_path.iterdir()))}", views)
            client = FeastClient(configuration(tmp_path / folder, repo_path=str(repository)))
            opened.push_async_callback(client.close)
            return client

        yield make


async def online_value(client: FeastClient, ref: str) -> Any:
    answer = await client.get_online_features(PROFESSIONAL, [ref])
    assert isinstance(answer, OnlineFeatures)
    return answer.values[ref.replace(":", "__")][0]


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"ttl_days": 30}, True),
        ({"features": ("decile", "practice_type")}, False),
        ({"condition": "decile > 1"}, False),
    ],
    ids=["nothing", "how long a value counts", "another feature", "other rows"],
)
async def test_a_view_of_other_values_than_before_counts_as_never_materialised(
    client_of: NewClient, changes: dict[str, Any], is_kept: bool
) -> None:
    declared: dict[str, Any] = {"features": ("decile",)}
    client = client_of({"hcp_profile": declared})
    await client.apply()
    materialize(client, "hcp_profile")
    before = client.store().get_feature_view("hcp_profile").materialization_intervals
    again = client_of({"hcp_profile": declared | changes})
    await again.apply()
    after = again.store().get_feature_view("hcp_profile").materialization_intervals
    assert before == [(at("2020-01-01"), at("2024-12-31"))]
    assert after == (before if is_kept else [])


async def test_what_another_process_registers_is_seen_by_a_client_that_is_open(client_of: NewClient) -> None:
    opened = client_of({"hcp_engagement": {}})
    await opened.apply()
    assert await online_value(opened, "hcp_engagement:coverage_status") is None
    # A view that was not there, then a feature that the view did not have.
    features: tuple[str, ...] = ()
    for feature, value in (("decile", 5), ("practice_type", "hospital")):
        with pytest.raises(DataUnavailable, match="e2i features apply"):
            await opened.get_historical_features(ASKED, [f"hcp_profile:{feature}"])
        with pytest.raises(DataUnavailable, match="e2i features apply"):
            await online_value(opened, f"hcp_profile:{feature}")
        features = (*features, feature)
        other = client_of({"hcp_profile": {"features": features}})
        await other.apply()
        materialize(other, "hcp_profile")
        assert await online_value(opened, f"hcp_profile:{feature}") == value


async def test_a_folder_that_was_copied_is_not_read_in_its_old_place(client_of: NewClient, tmp_path: Path) -> None:
    client = client_of({"hcp_profile": {}})
    await client.apply()
    await client.close()
    shutil.copytree(tmp_path / "features", tmp_path / "copy")
    write_rows(tmp_path / "copy", "hcp_profile", [row("hcp_000001", "2024-01-01", decile=7)])
    copy = client_of({"hcp_profile": {}}, "copy")
    with pytest.raises(DataUnavailable, match="moved or copied.*e2i features apply"):
        await copy.get_historical_features(ASKED, ["hcp_profile:decile"])
    with pytest.raises(DataUnavailable, match="moved or copied.*e2i features apply"):
        await copy.materialize(at("2020-01-01"), at("2024-12-31"), ["hcp_profile"])
    await copy.apply()
    answer = await copy.get_historical_features(ASKED, ["hcp_profile:decile"])
    assert isinstance(answer, pd.DataFrame)
    assert answer["hcp_profile__decile"].tolist() == [7]


NO_METRIC_FILES = """
import os
from src.feature_store.library import load_feast
load_feast()
from prometheus_client import values
assert values.ValueClass is values.MutexValue, values.ValueClass
assert not {"PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR"} & set(os.environ)
"""


def test_feast_writes_no_metric_files() -> None:
    # In a process of its own, with no folder named: whoever loads the metrics library first decides for the process.
    unnamed = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS_")}
    command = [sys.executable, "-W", "ignore", "-c", NO_METRIC_FILES]
    done = subprocess.run(command, capture_output=True, text=True, env=unnamed)
    assert (done.returncode, done.stderr) == (0, "")
