"""Does the true effect function beat every wrong one by its energy score, draw after draw?"""

from __future__ import annotations

import numpy as np
import pytest

from src.causal_engine.energy_score.effect_data import effect_data
from src.causal_engine.energy_score.scoring import score_effects
from tests.effect_processes import WRONG_EFFECTS, Sample, draw_sample

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STATES = 20
ROWS = 1_500
IN_EACH, OVERALL = 0.90, 0.95


def wins(sample: Sample, state: int) -> dict[str, bool]:
    rng = np.random.default_rng(1_000 + state)
    effects = {name: wrong(sample, rng) for name, wrong in WRONG_EFFECTS.items()} | {"truth": sample.truth}
    scores = score_effects(effect_data(sample.study), effects, draws=2, variants=False).scores
    assert len({score.score for score in scores.values()}) == len(scores)
    return {name: scores["truth"].score < scores[name].score for name in WRONG_EFFECTS}


@pytest.mark.parametrize("binary", [False, True], ids=["continuous", "binary"])
def test_the_true_effect_beats_every_wrong_one(binary: bool) -> None:
    draws = [wins(draw_sample(ROWS, state, binary=binary), state) for state in range(STATES)]
    share = {name: float(np.mean([draw[name] for draw in draws])) for name in WRONG_EFFECTS}
    assert min(share.values()) >= IN_EACH, share
    assert np.mean(list(share.values())) >= OVERALL, share
