"""Is a question kept without the persons it names, however they are written?"""

from __future__ import annotations

import pytest

from src.app.interactions import without_persons


@pytest.mark.parametrize(
    "written",
    ["hcp_000123", "ｈｃｐ_０００１２３", "h\u200bcp_000123", "hcp\u00ad_000123"],
    ids=["plain", "full width", "zero width", "soft hyphen"],
)
def test_an_id_is_taken_out_in_every_writing(written: str) -> None:
    kept = without_persons(f"What does {written} write?")
    assert "[redacted]" in kept
    assert "123" not in kept
    assert "１２３" not in kept


def test_a_question_that_names_nobody_is_kept_as_it_is() -> None:
    question = "Did more calls raise TRx of Kisqali in the Northeast — by how much?"
    assert without_persons(question) == question
