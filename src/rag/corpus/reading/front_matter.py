"""What does a Markdown file say of itself before its text begins?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import yaml

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import as_date, tidy

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The keys that are read; others, such as an author's name, are left alone. ``end`` is where the text begins."""

    end: int = 0
    title: str | None = None
    effective_date: date | None = None
    brand: str | None = None
    region: str | None = None


def read_front_matter(text: str) -> FrontMatter:
    """The block of keys between two lines of dashes at the very start; what is no mapping is part of the text.

    Raises UnreadableFile for broken YAML and for a date that is none.
    """
    block = _BLOCK.match(text)
    if block is None:
        return FrontMatter()
    try:
        keys = yaml.safe_load(block[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 2}" if mark is not None else "the block between the dashes"
        raise UnreadableFile(f"its front matter is not YAML ({where})") from error
    except (ValueError, OverflowError, RecursionError) as error:
        # A value of the form of a date or number that is none, such as 2025-02-30.
        raise UnreadableFile(
            f"its front matter holds a value that cannot be ({tidy(str(error))[:80]}); write dates as 2025-03-31"
        ) from error
    if not isinstance(keys, dict):
        return FrontMatter()
    return FrontMatter(
        end=block.end(),
        title=_text(keys, "title"),
        effective_date=_date(keys.get("date")),
        brand=_text(keys, "brand"),
        region=_text(keys, "region"),
    )


def _text(keys: dict[Any, Any], key: str) -> str | None:
    value = keys.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        raise UnreadableFile(f"'{key}:' in its front matter must be a single value")
    return tidy(str(value))


def _date(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    return as_date(str(value), "'date:' in its front matter")
