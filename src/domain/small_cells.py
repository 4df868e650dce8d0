"""Which groups are too small to be shown, and which others would reveal them?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

SMALLEST_CELL = 11
SUPPRESSED = f"n < {SMALLEST_CELL}, suppressed"
SHIELDED = "suppressed, would reveal a small group"

Name = TypeVar("Name")
Cell = tuple[Any, ...]


def is_small(n: int) -> bool:
    """Whether a group of ``n`` is too small to be shown."""
    return n < SMALLEST_CELL


def counted(n: int) -> str:
    """``n`` in a sentence, or that it is small."""
    return f"fewer than {SMALLEST_CELL}" if is_small(n) else f"{n:,}"


def hidden_groups(sizes: Mapping[Name, int]) -> dict[Name, str]:
    """The groups of one total that are hidden, with the words shown instead.

    Where exactly one group is small the next smallest goes too: total minus the others would give the hidden one.
    """
    return {name: reason for (name,), reason in hidden_cells({(name,): n for name, n in sizes.items()}).items()}


def hidden_cells(sizes: Mapping[Cell, int]) -> dict[Cell, str]:
    """The cells of a table that are hidden, with the words shown instead; a key has a value per way it is grouped.

    In a line of the table, the cells that differ in one part of the key only, one hidden cell follows from the line's
    total: another one of that line is hidden with it, the smallest, until no line has a single one.
    """
    hidden, lines = {key: SUPPRESSED for key in sizes if is_small(sizes[key])}, _lines(sizes)
    while (more := _given_away(lines, sizes, hidden)) is not None:
        hidden[more] = SHIELDED
    return hidden


def _given_away(lines: Iterable[Sequence[Cell]], sizes: Mapping[Cell, int], hidden: Mapping[Cell, str]) -> Cell | None:
    """The next cell to hide: the smallest of a line in which one other is hidden alone."""
    for line in lines:
        shown = [key for key in line if key not in hidden]
        if shown and len(line) - len(shown) == 1:
            return min(shown, key=sizes.__getitem__)
    return None


def _lines(sizes: Iterable[Cell]) -> list[list[Cell]]:
    lines: dict[tuple[int, Cell], list[Cell]] = defaultdict(list)
    for key in sizes:
        for place in range(len(key)):
            lines[place, (*key[:place], *key[place + 1 :])].append(key)
    return list(lines.values())


def suppressed_rows(
    rows: Sequence[Mapping[str, Any]], by: Sequence[str], size: str = "n"
) -> tuple[dict[str, Any], ...]:
    """Grouped rows as they may be shown: a hidden one keeps its names ``by`` and has None for everything else.

    ``size`` names the number of units (prescribers, patients, territories: whoever is to be protected, not rows of a
    panel) in a group. Every row gets ``suppressed``: the words to show instead of its values, None for a row that is
    shown. Raises KeyError for rows without these columns.
    """
    hidden = hidden_cells({_key(row, by): int(row[size]) for row in rows})
    return tuple(
        {**(row if (reason := hidden.get(_key(row, by))) is None else _blank(row, by)), "suppressed": reason}
        for row in rows
    )


def _key(row: Mapping[str, Any], by: Sequence[str]) -> Cell:
    return tuple(row[name] for name in by)


def _blank(row: Mapping[str, Any], by: Sequence[str]) -> dict[str, Any]:
    return {name: value if name in by else None for name, value in row.items()}
