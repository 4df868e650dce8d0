"""Texts that name or number a person are recognised, ordinary business texts are not."""

from __future__ import annotations

import pytest

from src.domain.identifiers import Identifier, IdentifierKind, find_identifiers, without_identifiers

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
        ("HCP000123 wrote 12 scripts", K.PRESCRIBER),
        ("pat000123", K.PATIENT),
        ("Patient P-10234 stopped", K.PATIENT),
        ("patient 10234 stopped therapy", K.PATIENT),
        ("subject 001-023 withdrew", K.PATIENT),
        ("member ID: W123456789", K.PATIENT),
        ("SSN 123 45 6789", K.SOCIAL_SECURITY),
        ("ssn: 123456789", K.SOCIAL_SECURITY),
        ("MRN: A123456", K.RECORD_NUMBER),
        ("medical record number 123456", K.RECORD_NUMBER),
        ("NPI 1234 567 893", K.NPI),
        ("phone 617 555 0199", K.PHONE),
        ("DOB 1961-03-04", K.BIRTH_DATE),
        ("born on March 4, 1961", K.BIRTH_DATE),
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
        "revenue 1234567890 USD, $1234567890 and 1234567890 TRx",
        "The patient number is 123 higher",
        "patient numbers 2024-2025 rose, patient 2024 data, 12000 USD per patient 12000",
        "patients 1234 were enrolled; HCP 12 calls; doctor number 3 in the ranking",
        "cells 200 300 4000 5000",
        "| column | type |\n|---|---|\n| patient_id | varchar(20) |\n| hcp_id | text |",
        "patient_id,trx\n\nTRx, 2025",
        "",
    ],
)
def test_business_texts_hold_none(text: str) -> None:
    assert find_identifiers(text) == ()


def test_each_kind_is_named_once_a_line_and_no_value_is_kept() -> None:
    found = find_identifiers("a@example.org b@example.org\nc@example.org and 212-555-0123")
    assert found == (Identifier(K.EMAIL, 1), Identifier(K.EMAIL, 2), Identifier(K.PHONE, 2))
    assert "example" not in repr(found)


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("| patient_id | age |\n|---|---|\n| P0001 | 33 |\n| P0002 | 41 |\n\n| other | 7 |", (3, 4)),
        ("trx,Patient ID,note\n12,P0001,a; b\n13,P0002,", (2, 3)),
        ("month | **HCP number** | calls\nMarch | 17 | 12", (2,)),
        ("patient_id\nP0001\n778\n\n12", (1, 3)),
    ],
)
def test_the_cells_below_the_heading_of_an_identifier_are_found(table: str, lines: tuple[int, ...]) -> None:
    assert tuple(found.line for found in find_identifiers(table)) == lines


def test_findings_are_cut_out_and_the_rest_stays() -> None:
    text = "Did jane@example.org ask of PAT-00123?\npatient_id,trx\nP0001,12 in March 2025"
    assert without_identifiers(text) == "Did [redacted] ask of [redacted]?\npatient_id,trx\n[redacted],12 in March 2025"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["patient_id_", "patient id 1", "a@b.org ", "+1 ", "1-", "npi ", "born ", "hcp,"])
def test_a_long_text_of_near_misses_is_read_in_linear_time(piece: str) -> None:
    find_identifiers(piece * 20_000)
