"""Which questions are asked in the demonstration, each once?"""

from __future__ import annotations

import itertools

BRANDS = ("Kisqali", "Fabhalta", "Remibrutinib")
TREATMENTS = ("rep calls", "samples", "speaker programs", "e-mail opens")
OUTCOMES = ("new prescriptions (NRx)", "total prescriptions (TRx)", "new-to-brand prescriptions (NBRx)")
REGIONS = ("", " in the northeast", " in the south")


def effect_questions() -> tuple[str, ...]:
    """Questions after effects, all different, brands and treatments in turn."""
    found = [
        f"What is the effect of {treatment} on {outcome} of {brand}{region}?"
        for region, outcome, treatment, brand in itertools.product(REGIONS, OUTCOMES, TREATMENTS, BRANDS)
    ]
    return tuple(found)
