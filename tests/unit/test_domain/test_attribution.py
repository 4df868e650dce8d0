"""Is a number told of another measure found, and is one told of its own left alone?"""

from __future__ import annotations

import pytest

from src.domain.attribution import misattributed
from src.domain.findings import Figure

FIGURES = (
    Figure("effect", 0.298, "NRx per additional unit of rep calls", "run:1#1", 0.274, 0.321),
    Figure("TRx of Kisqali in the South", 812.0, "", "step:1/0"),
    Figure("target: TRx of Kisqali in the South", 900.0, "", "step:1/0"),
    Figure("share of high-decile prescribers not reached", 0.42, "share", "step:1/1"),
    Figure("rows used", 1500.0, "rows", "run:1#1"),
)
SAID = ("37 new prescriptions were counted. The samples were 900.",)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Each call goes with 0.298 TRx.", "0.298"),
        ("Each call goes with 0.298 NRx.", None),
        ("TRx rise by 0.298.", "0.298"),
        ("NRx in the South are 812.", "812"),
        ("The target of e-mail opens is 900.", "900"),
        ("TRx are 812 and NRx are 900.", "900"),
    ],
)
def test_a_number_of_one_measure_is_not_told_of_another(text: str, number: str | None) -> None:
    found = misattributed(text, FIGURES, SAID)
    assert [one.split()[0] for one in found] == ([] if number is None else [number])


@pytest.mark.parametrize(
    "text",
    [
        "Rep calls go with 0.298 NRx (95 % interval 0.274 to 0.321).",
        "TRx are 812, against a target of 900.",
        "42 % are not reached by rep calls.",
        "It rests on 1,500 rows of NRx.",
        "37 new prescriptions were counted.",
        "Samples came to 900.",
        "The value is 0.298.",
    ],
)
def test_a_number_of_its_own_measure_or_of_none_is_left_alone(text: str) -> None:
    assert misattributed(text, FIGURES, SAID) == ()
