"""What did a run do, step by step, and is the record of it still what the run left?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from src.app.tracing import traced_database
from src.storage.audit_chain import AuditChains, ChainSummary, ChainVerdict, RecordedNode


async def verify_chains(reference: str | None) -> Sequence[ChainVerdict]:
    """The verdict on every chain of a run or a trace, or on all chains without a reference. Raises RunNotFound."""
    async with traced_database() as database:
        chains = AuditChains(database)
        if reference is None:
            return await chains.verify_all()
        return [await chains.verify(name) for name in await chains.named(reference)]


async def recorded_chains(reference: str) -> Mapping[str, Sequence[RecordedNode]]:
    """The entries of every chain of a run or a trace. Raises RunNotFound."""
    async with traced_database() as database:
        chains = AuditChains(database)
        return {name: await chains.entries(name) for name in await chains.named(reference)}


async def recent_chains(limit: int) -> Sequence[ChainSummary]:
    """The chains added to last."""
    async with traced_database() as database:
        return await AuditChains(database).recent(limit)
