"""Does a condition mean what it says? The same for every adapter of ``TableGateway``."""

from __future__ import annotations

from collections.abc import Sequence

from src.storage.gateway import Op, Where


def check_where(item: Where) -> None:
    """Raise ValueError for a condition that cannot mean what it says."""
    if item.op is Op.IS:
        if item.value is not None and not isinstance(item.value, bool):
            raise ValueError(f"IS compares '{item.column}' with None, True or False only")
        return
    if item.value is None:
        raise ValueError(f"comparing '{item.column}' with None matches nothing; use Op.IS")
    if item.op is Op.IN and (isinstance(item.value, str) or not isinstance(item.value, Sequence)):
        raise ValueError(f"IN compares '{item.column}' with a sequence of values")


def refuse_all_rows(verb: str, where: Sequence[Where]) -> None:
    """Raise ValueError when there is no condition."""
    if not where:
        raise ValueError(f"{verb} without a condition would touch every row")
