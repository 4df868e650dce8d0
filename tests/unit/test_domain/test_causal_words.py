"""Which sentences claim a cause or a proof?"""

from __future__ import annotations

import pytest

from src.domain.causal_words import claims_cause, claims_proof


@pytest.mark.parametrize(
    "text",
    [
        "There is no doubt that rep calls drive NRx.",
        "Rep calls not only go with NRx, they drive it.",
        "Calls boosted prescriptions.",
        "More calls boost NRx in the South.",
        "NRx rose as a result of calls.",
        "It does not prove anything, but calls drive NRx.",
        "Without question, NRx grew thanks to calls.",
        "Calls are nothing but what drives NRx.",
        "E-mails fuelled the growth.",
    ],
)
def test_a_claim_of_cause_is_found_however_it_is_stressed(text: str) -> None:
    assert claims_cause(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is not clear whether calls drive NRx.",
        "A hidden cause could explain it away.",
        "Association only: calls need not drive NRx.",
        "The estimated effect of calls on NRx is 0.3.",
        "NRx are not boosted by calls.",
        "The uplift is 3 %.",
    ],
)
def test_a_denial_and_an_estimate_claim_no_cause(text: str) -> None:
    assert not claims_cause(text)


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("There is no doubt about it.", True),
        ("It holds beyond any doubt.", True),
        ("This proves it.", True),
        ("It does not prove it.", False),
        ("That is not beyond doubt.", False),
        ("The data cannot prove this.", False),
    ],
)
def test_what_promises_certainty_is_told_from_what_denies_it(text: str, claimed: bool) -> None:
    assert claims_proof(text) is claimed
