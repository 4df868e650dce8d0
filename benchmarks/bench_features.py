"""How fast are features read online, and how fast are they carried into the online store?

python -m benchmarks.bench_features [--entities 20000] [--reads 300] [--quick] [--json]

Embedded stores (Parquet through DuckDB, SQLite). A read asks for the view hcp_profile of 100 professionals:
the three features a score might need, and all eight; the plain ``feast.FeatureStore`` beside the client in
the same process, in turn. Prints median and 95th percentile in milliseconds. Exit status 1 when the
95th percentile of the client's three-feature read reaches 10 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

VIEW = "hcp_profile"
FEATURES = ("decile", "practice_type", "years_experience")
LIMIT_MS = 10.0
ASKED = 100
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


def write_source(folder: Path, entities: int) -> None:
    """One row per professional."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from src.contracts.feature_views import FEATURE_VIEWS, get_feature_view
    from src.feature_store.repository import parquet_path
    from src.feature_store.sources import source_schema

    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for view in FEATURE_VIEWS:
        pq.write_table(source_schema(view).empty_table(), parquet_path(folder, view.name))
    times = [BEGIN + timedelta(minutes=int(minute)) for minute in rng.integers(0, 400_000, entities)]
    columns = {
        "hcp_id": [f"hcp_{i:06d}" for i in range(entities)],
        "practice_type": rng.choice(["solo", "group", "hospital"], entities).tolist(),
        "practice_size": rng.choice(["small", "large"], entities).tolist(),
        "priority_tier": rng.integers(1, 6, entities),
        "decile": rng.integers(1, 11, entities),
        "total_patient_volume": rng.integers(0, 900, entities),
        "target_patient_volume": rng.integers(0, 90, entities),
        "years_experience": rng.integers(0, 60, entities),
        "affiliations": [["A", "B"]] * entities,
        "event_timestamp": times,
        "created_timestamp": times,
    }
    table = pa.Table.from_pydict(columns, source_schema(get_feature_view(VIEW)))
    pq.write_table(table, parquet_path(folder, VIEW))


async def read_times(client: Any, entities: int, reads: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of read, the kinds in turn."""
    from src.contracts.feature_views import get_feature_view

    rng = np.random.default_rng(2)
    three = [f"{VIEW}:{name}" for name in FEATURES]
    whole = [f"{VIEW}:{name}" for name in get_feature_view(VIEW).features]
    store = client.store()
    taken: dict[str, list[float]] = {"client, 3 features": [], "client, 8 features": [], "feast, 3 features": []}
    for _ in range(reads + 10):
        rows = [{"hcp_id": f"hcp_{i:06d}"} for i in rng.integers(0, entities, ASKED)]
        taken["client, 3 features"].append(await _timed(lambda rows=rows: client.get_online_features(rows, three)))
        taken["client, 8 features"].append(await _timed(lambda rows=rows: client.get_online_features(rows, whole)))
        began = time.perf_counter()
        store.get_online_features(features=three, entity_rows=rows).to_dict()
        taken["feast, 3 features"].append(time.perf_counter() - began)
    return {name: _summary(values[10:]) for name, values in taken.items()}


async def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    answer = await call()
    assert len(answer) == ASKED
    return time.perf_counter() - began


def _summary(seconds: list[float]) -> dict[str, float]:
    median, p95 = np.quantile(np.array(seconds) * 1000, [0.5, 0.95])
    return {"median_ms": round(float(median), 2), "p95_ms": round(float(p95), 2)}


async def measure(entities: int, reads: int) -> dict[str, Any]:
    """Carry all professionals over, then read."""
    from src.feature_store.configuration import FeastConfig
    from src.feature_store.feast_client import FeastClient

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "features"
        write_source(folder, entities)
        client = FeastClient(FeastConfig.model_validate({"offline_store": {"path": str(folder)}}))
        await client.apply()
        began, cpu = time.perf_counter(), time.process_time()
        done = await client.materialize(BEGIN - timedelta(days=1), datetime.now(UTC), [VIEW])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert done.rows == entities
        carried = {"rows": done.rows, "rows_per_s": round(done.rows / seconds), "cpu_s": round(cpu, 1)}
        found = {"materialised": carried, "reads": await read_times(client, entities, reads)}
        await client.close()
        return found


def main() -> int:
    """Exit status 1 when reading is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--reads", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="2,000 professionals, 60 reads")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    entities, reads = (2_000, 60) if chosen.quick else (chosen.entities, chosen.reads)
    found = asyncio.run(measure(entities, reads))
    ok = found["reads"]["client, 3 features"]["p95_ms"] < LIMIT_MS
    if chosen.json:
        print(json.dumps({**found, "within_limit": ok}))
    else:
        for name, figures in found["reads"].items():
            print(f"{name:<20} median {figures['median_ms']:>7.2f} ms   p95 {figures['p95_ms']:>7.2f} ms")
        carried = found["materialised"]
        print(f"materialised {carried['rows']:,} rows, {carried['rows_per_s']:,} a second, {carried['cpu_s']} s CPU")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
