"""Is no small group shown, and can none be worked out from what is shown?"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.small_cells import (
    SHIELDED,
    SMALLEST_CELL,
    SUPPRESSED,
    hidden_cells,
    hidden_groups,
    is_small,
    suppressed_rows,
)

sizes = st.integers(0, 40)
tables = st.lists(st.lists(sizes, min_size=3, max_size=3), min_size=1, max_size=4)


@pytest.mark.parametrize(("n", "small"), [(0, True), (10, True), (11, False)])
def test_eleven_is_the_smallest_group_that_is_shown(n: int, small: bool) -> None:
    assert is_small(n) is small
    assert SMALLEST_CELL == 11


@pytest.mark.parametrize(
    ("groups", "hidden"),
    [
        ({"a": 50, "b": 11}, {}),
        ({"a": 50, "b": 10, "c": 40}, {"b": SUPPRESSED, "c": SHIELDED}),
        ({"a": 50, "b": 10, "c": 3}, {"b": SUPPRESSED, "c": SUPPRESSED}),
        ({"a": 3}, {"a": SUPPRESSED}),
        ({}, {}),
    ],
)
def test_a_single_small_group_takes_the_next_smallest_with_it(groups: dict[str, int], hidden: dict[str, str]) -> None:
    assert hidden_groups(groups) == hidden


@given(tables)
def test_no_line_of_a_table_has_a_single_hidden_cell(table: list[list[int]]) -> None:
    cells = {(row, column): n for row, line in enumerate(table) for column, n in enumerate(line)}
    hidden = hidden_cells(cells)
    assert {key for key, n in cells.items() if n < SMALLEST_CELL} == {
        key for key, reason in hidden.items() if reason == SUPPRESSED
    }
    for place, value in itertools.product((0, 1), range(4)):
        line = [key for key in cells if key[place] == value]
        if len(line) > 1:
            assert sum(key in hidden for key in line) != 1


def test_a_table_without_small_cells_is_shown_whole() -> None:
    assert hidden_cells({("a", 1): 11, ("a", 2): 12, ("b", 1): 13}) == {}


def test_a_hidden_row_keeps_its_names_and_nothing_else() -> None:
    rows = [
        {"region": "south", "brand": "Kisqali", "n": 50, "value": 1.5},
        {"region": "south", "brand": "Fabhalta", "n": 10, "value": 2.5},
        {"region": "south", "brand": "Remibrutinib", "n": 30, "value": 3.5},
    ]
    assert suppressed_rows(rows, by=("region", "brand")) == (
        {"region": "south", "brand": "Kisqali", "n": 50, "value": 1.5, "suppressed": None},
        {"region": "south", "brand": "Fabhalta", "n": None, "value": None, "suppressed": SUPPRESSED},
        {"region": "south", "brand": "Remibrutinib", "n": None, "value": None, "suppressed": SHIELDED},
    )


def test_the_size_of_a_group_may_have_another_name() -> None:
    rows = [{"region": "south", "hcps": 3, "n": 500}]
    assert suppressed_rows(rows, by=("region",), size="hcps")[0]["n"] is None
    with pytest.raises(KeyError):
        suppressed_rows(rows, by=("region",), size="patients")
