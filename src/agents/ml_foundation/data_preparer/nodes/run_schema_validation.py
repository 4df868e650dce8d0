"""Check every rule of the contract."""

from __future__ import annotations

import asyncio
from collections import Counter

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import did_not_run, failed, passed
from src.agents.ml_foundation.data_preparer.services import PLACE, frames_of, services_of
from src.agents.ml_foundation.data_preparer.source import held_to
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.pandera_schemas import SchemaValidation

LAYER = "schema"
RULES_NAMED = 20


@traced_node(PLACE, "run_schema_validation")
async def run_schema_validation(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """One blocker for each rule that is broken."""
    services, frames = services_of(runtime.context), frames_of(runtime.context)
    found = await asyncio.to_thread(services.schema, frames.read, held_to(frames.table))
    if found.status in ("passed", "failed"):
        frames.failures = found.errors
    if found.status == "skipped":
        return did_not_run(services, LAYER, found.reason or "the schema was not checked")
    return passed(LAYER) if found.passed else failed(LAYER, await asyncio.to_thread(broken_rules, found))


def broken_rules(found: SchemaValidation) -> tuple[str, ...]:
    """What is wrong in the words of the contract, with the number of rows; no value of any row."""
    rows = Counter((error.message, error.index is None) for error in found.errors)
    lines = [message if whole else f"{message} ({_rows(n)})" for (message, whole), n in rows.most_common()]
    more = len(lines) - RULES_NAMED
    listed = lines[:RULES_NAMED] + ([f"{more} more rules are broken"] if more > 0 else [])
    return tuple(listed) or (found.reason or f"the check ended with status {found.status}",)


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"
