"""How does a database function say that what is asked of it cannot be done?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from src.errors import ContractViolation


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a function of ours refuses (no such row, not in this state) into ContractViolation with its words."""
    try:
        yield
    except (psycopg.errors.NoDataFound, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        raise ContractViolation(error.diag.message_primary or "refused by the database") from error
