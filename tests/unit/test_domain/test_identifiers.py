"""Texts that name or number a person are recognised, ordinary business texts are not."""

from __future__ import annotations

import pytest

from src.domain.identifiers import Identifier, IdentifierKind, find_identifiers

K = IdentifierKind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail jane.doe@example.org now", K.EMAIL),
        ("call (212) 555-0123", K.PHONE),
        ("call 212-555-0123.", K.PHONE),
        ("call +41 61 324 11 11", K.PHONE),
        ("call 3125550123", K.PHONE),
        ("NPI 1234567890", K.NPI),
        ("npi: 0234567890", K.NPI),
        ('{"npi": "1234567893"}', K.NPI),
        ("prescriber 1234567893 wrote", K.NPI),
        ("pat_000123 started", K.PATIENT),
        ("Patient ID: A-1234", K.PATIENT),
        ("patient_id=778899", K.PATIENT),
        ("MRN 445566", K.RECORD_NUMBER),
        ("hcp_000123 was visited", K.PRESCRIBER),
        ("123-45-6789", K.SOCIAL_SECURITY),
    ],
)
def test_an_identifier_is_found_with_its_kind(text: str, kind: IdentifierKind) -> None:
    assert find_identifiers(f"first line\n{text}\nlast line") == (Identifier(kind, 2),)


@pytest.mark.parametrize(
    "text",
    [
        "TRx rose from 1,234 to 1,310 between 2025-03-01 and 2025-04-01.",
        "1,234,567,890 US dollars and 1250000000.5",
        "see https://doi.org/10.1016/j.1234567890 and version 1.2.3",
        "patient identification in 123 centres; patient IDs are pseudonymous",
        "CD4+ 200 300 400 cells, Q1 2025 / Q2 2025",
        "the @mentions of brand",
        "hcp_profiles.hcp_id is the key",
        "",
    ],
)
def test_business_texts_hold_none(text: str) -> None:
    assert find_identifiers(text) == ()


def test_each_kind_is_named_once_a_line_and_no_value_is_kept() -> None:
    found = find_identifiers("a@example.org b@example.org\nc@example.org and 212-555-0123")
    assert found == (Identifier(K.EMAIL, 1), Identifier(K.EMAIL, 2), Identifier(K.PHONE, 2))
    assert "example" not in repr(found)
