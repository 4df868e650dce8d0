"""What can be retrieved: documents, their sections, and the chunks they are cut into."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any


class SourceType(StrEnum):
    """Where a document comes from: a file someone added, or a text written from the tables."""

    FILE = "file"
    KPI_SUMMARY = "kpi_summary"
    CAUSAL_PATH = "causal_path"
    DEFINITION = "definition"
    RUN_REPORT = "run_report"


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading; ``headings`` from the outermost, ``start`` its first character in the whole text."""

    text: str
    headings: tuple[str, ...] = ()
    start: int = 0


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document before it is cut. ``source_id`` is stable: the same source read again has the same id.

    ``brand`` and ``region`` are members of the contract's enums, None where the document is about none or all.
    ``uri`` is what a reader can open. ``metadata`` holds JSON values and nothing personal.
    """

    source_type: SourceType
    source_id: str
    title: str
    sections: tuple[Section, ...]
    brand: str | None = None
    region: str | None = None
    effective_date: date | None = None
    uri: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content_sha256(self) -> str:
        """Digest of title, headings and text."""
        digest = hashlib.sha256(self.title.encode())
        for section in self.sections:
            digest.update(b"\x1e" + "\x1f".join((*section.headings, section.text)).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one section: ``start`` and ``end`` are characters of the document's text, tokens are word pieces."""

    ordinal: int
    content: str
    token_count: int
    section: str
    start: int
    end: int
