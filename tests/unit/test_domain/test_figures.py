"""A number of a text is known, or it is named."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.domain.figures import (
    Known,
    is_rounding,
    stated_names,
    stated_numbers,
    unfounded_names,
    unfounded_numbers,
)
from src.domain.number_reading import read_numbers

VALUES = st.floats(min_value=1e-4, max_value=1e7, allow_nan=False)


def values(text: str) -> list[float]:
    return [round(one.value, 12) for one in stated_numbers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5 rows", [1234.5]),
        ("1\u202f234 rows", [1234.0]),
        ("1'234'567", [1234567.0]),
        ("1,2,3", [1.0, 2.0, 3.0]),
        ("[0.12,0.31]", [0.12, 0.31]),
        ("a 95 % CI [12, 31]; it is 20 [12, 31]", [12.0, 31.0, 20.0, 12.0, 31.0]),
        ("−0.3, -0.3, –0.3, +0.3", [-0.3, -0.3, -0.3, 0.3]),
        ("0.12–0.31 and 0.12-0.31", [0.12, 0.31, 0.12, 0.31]),
        ("−0.12 to −0.05", [-0.12, -0.05]),
        ("minus 3 and negative 4", [-3.0, -4.0]),
        ("1.2 million, 3k, $5.2M, 2bn", [1.2e6, 3000.0, 5.2e6, 2e9]),
        ("1.2e-5, 1.2 × 10^-5, 1.2 × 10⁻⁵", [1.2e-5, 1.2e-5, 1.2e-5]),
        ("3x, 2.5-fold, 4 times, ×6", [3.0, 2.5, 4.0, 6.0]),
        ("25 bps", [0.25]),
        ("2½ and ½", [2.5, 0.5]),
        ("１２ and ٣ and 1\u200b2", [12.0, 3.0, 12.0]),
        (".5 of it", [0.5]),
        ("p=0.03;n=40", [0.03, 40.0]),
        ("twenty-five and two hundred and five thousand", [25.0, 205000.0]),
        ("half a million and a hundred", [500000.0, 100.0]),
        ("zero point three, two and a half", [0.3, 2.5]),
        ("twice, doubled, triple, halved, tenfold", [2.0, 2.0, 3.0, 0.5, 10.0]),
        ("two thirds, three quarters of it, one in five", [round(2 / 3, 12), 0.75, 0.2]),
        ("thousands of prescribers", [1000.0]),
        ("5-day, 12-month, 40mg, top-10", [5.0, 12.0, 40.0, 10.0]),
        ("24/7", [24.0, 7.0]),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str, expected: list[float]) -> None:
    assert values(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "the 95 % interval, a 95% CI, 95 percent confidence interval, 95%-CI, an interval (95 %)",
        "ninety-five percent interval",
        "1. First\n2) second\n(3) third\n- 4. fourth",
        "as stated [1][2], and elsewhere [1, 3]. On slide 3, see Table 4",
        "one of them, no one, a few, the third reason, the second half, at first",
        "double machine learning, doubly robust, a double-blind design, half-year figures, its half-life",
        "Q3 2025, 2025-03, since 2024, 2025-03-04T12:00:00Z, 3 March 2025, FY25, 2024/25, 14:30",
        "BU6, HER2, hcp_000123, run:0192ab-3, chunk:report#12, COVID-19, v1.2.3, R², 3rd",
        "0192ab3c-7f00-7abc-8def-0123456789ab and 9f86d081884c7d65",
    ],
)
def test_names_dates_levels_and_markers_are_no_numbers(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("in Q3 2025 and March 2025", ["Q3 2025", "March 2025"]),
        ("BU6 by hcp_000123", ["BU6", "hcp_000123"]),
        ("since 2024, in the second quarter of 2025", ["2024", "second quarter of 2025"]),
        ("the 3rd of 1.2.3", ["3rd", "1.2.3"]),
        ("rose by 2024 in 2024", ["2024"]),
    ],
)
def test_names_are_told_as_written(text: str, names: list[str]) -> None:
    assert [one.text for one in stated_names(text)] == names


@given(st.text(alphabet="0123456789.,-−–%$ abQx/()[]:^½²\n", max_size=40))
def test_no_digit_escapes(text: str) -> None:
    covered = read_numbers(text).covered
    for place, character in enumerate(text):
        if unicodedata.normalize("NFKC", character)[0].isdigit():
            assert any(start <= place < end for start, end in covered), (character, text)


@given(st.text(max_size=60))
def test_any_text_can_be_read_and_repeats_no_place(text: str) -> None:
    covered = sorted(read_numbers(text).covered)
    assert all(end <= start for (_, end), (start, _) in zip(covered, covered[1:], strict=False))
    assert unfounded_numbers(text, (), [text]) == ()


@given(VALUES, st.integers(1, 6), st.sampled_from(["{}", "{} NRx", "about {}", "({})", "0 to {} units"]))
def test_any_rounding_of_a_known_number_passes(value: float, digits: int, shown: str) -> None:
    places = digits - 1 - math.floor(math.log10(value))
    text = f"{round(value, places):,.{max(0, places)}f}"
    assume(places >= 0 or float(text.replace(",", "")) == round(value))
    assert unfounded_numbers(shown.format(text), [value, 0.0]) == ()
    assert unfounded_numbers(shown.format(f"−{text}"), [-value, 0.0]) == ()


@given(st.floats(0.01, 1.0), st.integers(0, 2))
def test_any_percentage_of_a_known_share_passes(share: float, places: int) -> None:
    text = f"{100 * share:.{places}f}"
    assume(float(text) >= 1)
    assert unfounded_numbers(f"{text} % and {text} percent", [Known(share, "share of prescribers")]) == ()


@given(VALUES, st.integers(0, 4), st.integers(1, 500), st.booleans())
def test_any_number_that_differs_by_more_than_rounding_fails(
    value: float, places: int, units: int, above: bool
) -> None:
    unit = 10.0**-places
    wrong = round(value, places) + (units if above else -units) * unit
    assume(wrong > 0 and abs(wrong - value) > 0.5001 * unit + 1e-6 * value)
    text = f"{wrong:.{places}f}"
    assert unfounded_numbers(f"It is {text}.", [value]) == (text,)


@given(VALUES)
def test_the_other_sign_fails(value: float) -> None:
    assert unfounded_numbers(f"It rose by {value!r}.", [-value]) != ()
    assert unfounded_numbers(f"It fell by {value!r}.", [value]) != ()
    assert unfounded_numbers(f"−{value!r}", [value]) != ()
    assert unfounded_numbers(f"It fell by {value!r}.", [-value]) == ()


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("TRx fell by 3, a drop of 3 units, 3 fewer, a loss of about 3", [-3.0]),
        ("the lower end is 0.12", [0.12]),
        ("1.2 million", [1_234_567.0]),
        ("about 1,200", [1_234.0]),
        ("12 % to 31 %, 12 to 31 %, between 12 and 31 %", [Known(0.12, "share"), Known(0.31, "share")]),
        ("12 %", [Known(12.0, "%")]),
        ("0.3 % more for each percent", [Known(0.3, "elasticity")]),
        ("a third of them, two thirds", [0.333, 0.667]),
        ("half of them", [Known(50.0, "%")]),
        ("the interval excludes zero and stays above 0", []),
        ("0", [0.0]),
        ("2.5x, 2.5 times", [Known(2.5, "risk ratio")]),
        ("0.95 or 1.0, 10 and 0.01", [0.951, 1.0, 9.96, 0.00996]),
    ],
)
def test_what_is_known_may_be_said(text: str, known: list[float | Known]) -> None:
    assert unfounded_numbers(text, known) == ()


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Fewer than 11 of 290 prescribers of high deciles had fewer than 1 call.", [11.0, 290.0, 1.0]),
        ("Less than eleven of 290 were reached.", [11.0, 290.0]),
        ("Below 11 of 290 wrote any, more than 20 of 290 none.", [11.0, 20.0, 290.0]),
        ("It fell by 3, less than 5 of 290 gave it up.", [-3.0, 5.0, 290.0]),
    ],
)
def test_a_bound_is_no_movement(text: str, known: list[float]) -> None:
    assert unfounded_numbers(text, known) == ()
    assert unfounded_numbers(text, [-one for one in known]) != ()


@pytest.mark.parametrize("text", ["TRx is less than expected by 3", "3 fewer than 5", "lower than a year ago by 3"])
def test_a_comparison_with_an_amount_still_moves(text: str) -> None:
    assert unfounded_numbers(text, [-3.0, 5.0]) == ()
    assert unfounded_numbers(text, [3.0, 5.0]) == ("3",)


@pytest.mark.parametrize(
    ("text", "known", "named"),
    [
        ("TRx fell by 3", [3.0], "3"),
        ("TRx rose by 3", [-3.0], "3"),
        ("3", [-3.0], "3"),
        ("1,200", [1_234.0], "1,200"),
        ("about 20", [15.2], "20"),
        ("0", [0.3], "0"),
        ("0.00", [0.003], "0.00"),
        ("1", [0.6], "1"),
        ("0.12", [0.129], "0.12"),
        ("30 %", [Known(0.3, "NRx per call")], "30 %"),
        ("0.3 %", [Known(0.3, "NRx per call")], "0.3 %"),
        ("4,000 %", [Known(4_000, "rows")], "4,000 %"),
        ("twice", [0.21, 0.12], "twice"),
        ("3x", [0.3], "3x"),
        ("3x", [Known(3.0, "segments")], "3x"),
        ("Three times", [Known(3.0, "segments")], "Three times"),
        ("12k", [12.0], "12k"),
        ("1.2 billion", [1.2e6], "1.2 billion"),
        ("a 90 % interval", [90.0], "90 % interval"),
        ("1O0", [100.0, 1.0], "1O0"),
        ("1.200", [1200.0], "1.200"),
        ("2024 more", [2025.0], "2024"),
        ("uplift-42", [], "42"),
        ("１２", [11.0], "１２"),
        ("1\u200b3", [1.0, 3.0], "1\u200b3"),
        ("XII is 12", [13.0], "12"),
        ("dozens of calls", [], "dozens"),
        ("one in five", [0.3], "one in five"),
    ],
)
def test_what_is_not_known_is_named(text: str, known: list[float | Known], named: str) -> None:
    assert unfounded_numbers(text, known) == (named,)


def test_what_the_texts_state_may_be_said() -> None:
    texts = [
        "NRx fell by 3.2 % on 1,250 rows; a third of them twice; the share is 0.31; 90 % interval 1 to 2; code 3x4y."
    ]
    assert unfounded_numbers("It fell by 3.2 %, or 3 %, on 1,250 rows, a third; 31 %; 3x4y", (), texts) == ()
    assert unfounded_numbers("It rose by 4", (), texts) == ("4",)
    assert unfounded_numbers("1 % to 2 %", (), ["1.5 to 2.5 NRx"]) == ("1 %", "2 %")
    assert unfounded_numbers("the 95 % interval", (), texts) == ("95 % interval",)
    assert unfounded_numbers("the 90 % interval", (), texts) == ()


def test_a_percent_sign_is_not_lent_to_another_unit_of_the_texts() -> None:
    assert unfounded_numbers("30 %", (), ["0.3 is the share"]) == ()
    assert unfounded_numbers("30 %", (), ["0.3 NRx per call"]) == ("30 %",)


@pytest.mark.parametrize(
    ("text", "texts", "unknown"),
    [
        ("March 2025", ["2025-03"], ()),
        ("2025", ["as of 2025-03-04"], ()),
        ("in 2025", ["Q3 2025"], ()),
        ("Q3", ["Q3 2025"], ()),
        ("the third quarter of 2025", ["Q3 2025"], ()),
        ("Q4 2025", ["Q3 2025, Q4 2024"], ("Q4 2025",)),
        ("in 2031", ["Q3 2025"], ("2031",)),
        ("BU6 and BU7", ["bu6"], ("BU7",)),
    ],
)
def test_dates_and_codes_must_stand_in_the_texts(text: str, texts: list[str], unknown: tuple[str, ...]) -> None:
    assert unfounded_names(text, texts) == unknown


def test_a_rounding_can_be_held_closer() -> None:
    (one,) = stated_numbers("0.2")
    assert is_rounding(one, 0.15)
    assert not is_rounding(one, 0.15, within=0.05)
    assert not is_rounding(one, math.inf)


@given(
    st.floats(min_value=1e-3, max_value=1e6),
    st.sampled_from(["", "share", "%", "NRx"]),
    st.lists(st.floats(min_value=-1e9, max_value=1e9), max_size=30),
)
def test_a_value_as_it_is_written_is_found_among_any_others(value: float, unit: str, others: list[float]) -> None:
    known = [Known(other, "NRx") for other in others] + [Known(value, unit)]
    written = f"{value:.4g}"
    if "e" not in written:
        assert unfounded_numbers(f"It is {written}.", known) == ()
    if unit == "share" and "e" not in f"{100 * value:.4g}":
        assert unfounded_numbers(f"It is {100 * value:.4g} %.", known) == ()
