"""What did a change of the corpus do?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Documents by what happened to them; ``chunks`` and ``embedded`` count the pieces and vectors written.

    ``failed`` lists (source, reason). ``model`` is that of the embeddings; where chunks stayed without,
    ``not_embedded`` says why.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    chunks: int = 0
    embedded: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    model: str | None = None
    not_embedded: str | None = None
    seconds: float = 0.0

    def __add__(self, later: IngestReport) -> IngestReport:
        """Both together."""
        return IngestReport(
            added=self.added + later.added,
            updated=self.updated + later.updated,
            unchanged=self.unchanged + later.unchanged,
            deleted=self.deleted + later.deleted,
            chunks=self.chunks + later.chunks,
            embedded=self.embedded + later.embedded,
            failed=self.failed + later.failed,
            notes=self.notes + later.notes,
            model=later.model or self.model,
            not_embedded=later.not_embedded or self.not_embedded,
            seconds=self.seconds + later.seconds,
        )
