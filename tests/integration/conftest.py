"""What has to hold after every integration test?"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from src.mlops.tracing.orphans import find_orphans
from tests.conftest import close_connector


@pytest.fixture(autouse=True)
def _no_orphans(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every stored span has an existing, ended parent; a test that kills processes says so by ``leaves_orphans``."""
    dsn = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else None
    yield
    if dsn is None or request.node.get_closest_marker("leaves_orphans"):
        return
    close_connector()
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        if connection.execute("SELECT to_regclass('ml_observability_spans') AS there").fetchone()["there"] is None:
            return
        spans = connection.execute(
            "SELECT trace_id, span_id, parent_span_id, operation_type, ended_at FROM ml_observability_spans"
        ).fetchall()
    assert find_orphans(spans) == []
