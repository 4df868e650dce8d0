"""Are the ids of spans valid version 7 UUIDs, unique, and in the order of time?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import NAMESPACE_URL, RFC_4122, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.mlops.tracing.ids import uuid7, uuid7_int, uuid_int, uuid_text

# 48 bits of milliseconds last until the year 10889.
NANOSECONDS = st.integers(0, 2**47 * 1_000_000)
TICK_NS = 245  # 1/4096 of a millisecond, rounded up


@given(NANOSECONDS, st.integers(0, 2**62 - 1))
def test_an_id_has_version_variant_time_and_chance_in_their_places(nanoseconds: int, chance: int) -> None:
    made = UUID(int=uuid7_int(lambda: nanoseconds, lambda _: chance))
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == nanoseconds // 1_000_000
    assert made.int & (2**62 - 1) == chance


@given(NANOSECONDS, st.integers(TICK_NS, 10**12))
def test_a_later_id_is_greater_whatever_chance_says(nanoseconds: int, later_by: int) -> None:
    earlier = uuid7_int(lambda: nanoseconds, lambda bits: 2**bits - 1)
    later = uuid7_int(lambda: nanoseconds + later_by, lambda _: 0)
    assert earlier < later
    assert uuid_text(earlier) < uuid_text(later)


def test_ids_made_by_many_threads_at_one_instant_are_distinct() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: uuid7(lambda: 0), range(20_000)))
    assert len(set(made)) == len(made)


@given(st.integers(0, 2**128 - 1))
def test_text_and_number_are_the_same_id(number: int) -> None:
    assert uuid_text(number) == str(UUID(int=number))
    assert {uuid_int(text) for text in (uuid_text(number), f"{number:032x}", f"{number:032X}")} == {number}


@pytest.mark.parametrize("text", ["order-66", "", "00f067aa0ba902b7", "nötig", "0" * 33])
def test_a_foreign_id_stands_for_one_uuid_of_version_5(text: str) -> None:
    assert UUID(int=uuid_int(text)) == uuid5(NAMESPACE_URL, text)
