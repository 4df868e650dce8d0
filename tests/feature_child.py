"""A process of its own for the feature store: ``freshness FOLDER NOW`` or ``materialize FOLDER DSN CHUNK_ROWS``."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path

from src.feature_store.materialization import Materializer
from src.feature_store.portions import EARLIEST
from src.feature_store.results import FeatureFreshness
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs
from tests.feature_rows import NOW, VIEW, Clock, feature_client, feature_config, utc_now


def say(line: str) -> None:
    """One line to whoever started the process, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def freshness(folder: Path, now: datetime) -> None:
    """Print the answer as one JSON document."""
    client = feature_client(feature_config(folder), clock=Clock(now))
    found = await client.get_feature_freshness(VIEW)
    assert isinstance(found, FeatureFreshness)
    assert found.last_materialized is not None
    say(
        json.dumps(
            {
                "last_materialized": found.last_materialized.isoformat(),
                "status": found.status.value,
                "age_hours": found.age_hours,
            }
        )
    )
    await client.close()


async def materialize(folder: Path, dsn: str, chunk_rows: int) -> None:
    """Materialise in full up to NOW, printing the rows carried over after each portion."""
    config = feature_config(folder, materialization={"chunk_rows": chunk_rows})
    client = feature_client(config)
    async with Database.open(dsn) as database:
        materializer = Materializer(client.store, config, jobs=FeatureJobs(database), clock=utc_now)
        say("begun")
        await materializer.materialize(EARLIEST, NOW, [VIEW], on_progress=lambda progress: say(str(progress.rows)))
    await client.close()


if __name__ == "__main__":
    if sys.argv[1] == "freshness":
        asyncio.run(freshness(Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
    else:
        asyncio.run(materialize(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
