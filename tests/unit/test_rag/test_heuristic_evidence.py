"""Does evidence rise only with what speaks for a claim, whatever the weights, and is the fit what it says?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rag import calibrating, fitting
from benchmarks.rag.heuristics import Item
from src.errors import ConfigError
from src.rag.heuristics.calibration import Shape
from src.rag.heuristics.claims import claims
from src.rag.heuristics.evidence import Traits, evidence, fewer, near_one, traits
from src.rag.heuristics.evidence_weights import (
    WEIGHTS_FILE,
    AgainstWeights,
    EvidenceWeights,
    ForWeights,
    load_weights,
)
from src.rag.heuristics.faithfulness import raw_faithfulness
from src.rag.heuristics.runs import shared_runs
from src.rag.heuristics.support import Closest, support_in

CONTEXT = "Kisqali TRx rose by 12% in the Northeast in Q3 2024. Rep calls were planned as usual in the region."
CLAIM = "Kisqali TRx rose by 12% in the Northeast in Q3 2024."
WORDS = ["calls", "rose", "fell", "samples", "not", "planned", "patients", "only", "share", "never"]
WORDS += ["Kisqali", "Fabhalta", "Northeast", "12%", "30%"]

texts = st.lists(st.sampled_from(WORDS), min_size=2, max_size=12).map(lambda words: f"{' '.join(words)}.")


def traits_of(claim: str, contexts: Sequence[str] = (CONTEXT,)) -> Traits:
    (tokens,) = claims(claim)
    return traits(tokens, contexts, support_in(tokens, tuple(contexts)))


def weights_of(rng: random.Random) -> EvidenceWeights:
    """Any weights: none is negative."""
    speaks_for = [ForWeights(**{name: rng.random() for name in ForWeights.model_fields}) for _ in range(2)]
    against = AgainstWeights(**{name: rng.random() for name in AgainstWeights.model_fields})
    return EvidenceWeights(answer=speaks_for[0], statement=speaks_for[1], against=against)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(texts, min_size=2, max_size=4), st.booleans(), st.integers(0, 1_000))
def test_taking_a_context_away_never_raises_the_evidence_under_any_weights(
    claim: str, contexts: list[str], asked: bool, seed: int
) -> None:
    if not claims(claim):
        return
    weights = weights_of(random.Random(seed))
    whole = evidence(traits_of(claim, contexts), asked=asked, weights=weights)
    for at in range(len(contexts)):
        less = traits_of(claim, contexts[:at] + contexts[at + 1 :])
        assert evidence(less, asked=asked, weights=weights) <= whole + 1e-12


FOUND = traits_of(CLAIM)
RAISED = {"words_found": 0.5, "letters_found": 0.5, "density": 0.2, "triples": 0.2}
WORSE_SAID = {
    "order": 0.2,
    "content_order": 0.2,
    "direction": True,
    "no_direction": True,
    "negation": True,
    "antonym": True,
    "overreach": True,
    "figures_elsewhere": 1.0,
    "names_elsewhere": 1.0,
    "others_figure": True,
}
DOUBTED = {"denies": True, "denial_unread": True, "absolute_unread": True, "new_words": 3}


def worse(name: str) -> Traits:
    if name in RAISED:
        return replace(FOUND, **{name: RAISED[name]})
    if name in DOUBTED:
        doubts = replace(FOUND.doubts, **{name: DOUBTED[name]})
        return replace(FOUND, doubts=doubts, new_words=doubts.new_words)
    if name == "unseen_numbers":
        return replace(FOUND, unseen_numbers=1.0)
    said: Closest = replace(FOUND.closest[0], **{name: WORSE_SAID[name]})
    return replace(FOUND, closest=(said,))


@pytest.mark.parametrize("asked", [True, False], ids=["answer", "statement"])
@pytest.mark.parametrize("name", [*RAISED, *WORSE_SAID, *DOUBTED, "unseen_numbers"])
def test_every_trait_moves_the_evidence_the_way_it_speaks(name: str, asked: bool) -> None:
    weights = load_weights()
    assert evidence(worse(name), asked=asked, weights=weights) < evidence(FOUND, asked=asked, weights=weights)


def test_the_best_of_the_contexts_counts_and_a_claim_that_shares_no_word_has_none() -> None:
    weights = load_weights()
    opposite = CONTEXT.replace("rose", "fell")
    alone = evidence(traits_of(CLAIM), asked=True, weights=weights)
    both = evidence(traits_of(CLAIM, (opposite, CONTEXT)), asked=True, weights=weights)
    assert evidence(traits_of(CLAIM, (opposite,)), asked=True, weights=weights) < alone == pytest.approx(both)
    assert evidence(traits_of("Moons orbit planets.", ("Calls rose.",)), asked=True, weights=weights) == 0.0


def test_only_whether_there_is_a_question_counts_not_what_it_is() -> None:
    one, other, none = (raw_faithfulness(CLAIM, [CONTEXT], question) for question in ("Why?", "How much?", "?"))
    assert one is not None
    assert other is not None
    assert none is not None
    assert one.value == other.value != none.value


@pytest.mark.parametrize(
    ("claim", "density", "triples"),
    [
        ("alpha beta gamma delta", 1.0, 1.0),
        ("beta gamma delta", 1.0, 1.0),
        ("alpha beta delta gamma", (4 + 1 + 1) / 16, 0.0),
        ("alpha beta gamma omega", 9 / 16, 0.5),
        ("omega sigma kappa lambda", 0.0, 0.0),
        ("alpha beta", 1.0, 1.0),
        ("beta alpha", 0.5, 0.0),
    ],
)
def test_runs_are_measured_in_words_beyond_grammar(claim: str, density: float, triples: float) -> None:
    (tokens,) = claims(claim)
    found = shared_runs(tokens, ("Of the alpha and a beta, gamma is delta.", "Nothing else."))
    assert (found.density, found.triples) == pytest.approx((density, triples))


def test_a_word_of_the_same_beginning_shares_letters_and_grammar_alone_has_none() -> None:
    (near,), (far,) = claims("prescribers"), claims("moons")
    context = ("Prescriptions rose.",)
    near_share, far_share = shared_runs(near, context).letters, shared_runs(far, context).letters
    assert near_share is not None
    assert far_share == 0.0 < near_share < 1.0


def test_scales_rise_with_shares_and_fall_with_counts() -> None:
    shares, counts = [near_one(share) for share in (0.0, 0.5, 0.9, 1.0)], [fewer(count) for count in (0, 1, 5)]
    assert shares == sorted(shares)
    assert shares[-1] - shares[-2] > (shares[1] - shares[0]) / 5
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("against", "denial", -0.1), "against.denial"),
        (("answer", "order", None), "answer.order"),
        (("statement", "surprise", 1.0), "statement.surprise"),
    ],
)
def test_weights_that_could_turn_a_trait_round_are_refused(
    change: tuple[str, str, float | None], named: str, tmp_path: Path
) -> None:
    raw = yaml.safe_load(WEIGHTS_FILE.read_text("utf-8"))
    part, key, value = change
    raw[part] = {**raw[part], key: value}
    copy = tmp_path / "weights.yaml"
    copy.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load_weights(copy)


def made_up(seed: int, rows: int = 40) -> fitting.Answers:
    """Answers of one or two claims; the first trait and the first of those against decide the label."""
    rng = np.random.default_rng(seed)
    item = np.sort(np.r_[np.arange(rows), rng.integers(0, rows, rows // 2)])
    columns = rng.normal(size=(len(item), len(fitting.FOR) + len(fitting.AGAINST)))
    deciding = np.array([columns[item == at][:, [0, len(fitting.FOR)]].sum(1).mean() for at in range(rows)])
    counted = np.bincount(item)[item]
    return fitting.Answers(
        label=(deciding + rng.normal(scale=0.3, size=rows) > 0).astype(int),
        group=np.array([f"context {at // 2}" for at in range(rows)]),
        asked=np.arange(rows) % 2 == 0,
        baselines=np.zeros((rows, 3)),
        item=item,
        rows=columns,
        offset=np.zeros(len(item)),
        part=1 / counted,
    )


def test_the_slope_of_the_loss_is_that_of_its_values() -> None:
    own = made_up(1)
    sets = [("begin", own), ("q2", made_up(2))]
    loss = fitting._loss(sets, [one.rows for _, one in sets], fitting._pairs(sets))
    at = np.random.default_rng(3).uniform(0.05, 0.3, 2 * len(fitting.FOR) + len(fitting.AGAINST) + 2)
    _, slope = loss(at)
    step = 1e-6
    for place in range(len(at)):
        moved = np.eye(len(at))[place] * step
        assert (loss(at + moved)[0] - loss(at - moved)[0]) / (2 * step) == pytest.approx(slope[place], abs=1e-5)


def test_the_fit_finds_what_decides_and_gives_nothing_a_negative_weight() -> None:
    sets = [("begin", made_up(1, 120)), ("q2", made_up(2, 120))]
    model = fitting.fit(sets)
    weights = model.weights[:, :-1]
    assert (weights >= 0).all()
    assert (weights[0, len(fitting.FOR) :] == weights[1, len(fitting.FOR) :]).all()
    deciding = [0, len(fitting.FOR)]
    assert weights[:, deciding].min() > np.delete(weights, deciding, axis=1).max()
    fresh = made_up(9, 120)
    assert fitting.auroc(fresh.label.tolist(), model.score(fresh).tolist()) > 0.85


def test_held_out_scores_come_from_weights_that_never_saw_the_context() -> None:
    sets = {"begin": made_up(1, 60), "q2": made_up(2, 60)}
    scores, fold = fitting.cross_validated(sets, draw=0)["q2"]
    label = sets["q2"].label.copy()
    turned = fold == 0
    label[turned] = 1 - label[turned]
    other = fitting.cross_validated({"begin": sets["begin"], "q2": replace(sets["q2"], label=label)}, draw=0)["q2"][0]
    assert (other[turned] == scores[turned]).all()
    assert (other[~turned] != scores[~turned]).any()


def test_rows_about_one_context_lie_in_one_fold_of_every_set() -> None:
    groups = np.array(["one", "two", "three", "one", "two"])
    assert fitting.fold_of(groups, 0).tolist() == [*fitting.fold_of(groups[:3], 0), *fitting.fold_of(groups[:2], 0)]
    assert len({tuple(fitting.fold_of(np.array(list("abcdefgh")), draw)) for draw in range(3)}) > 1


@pytest.mark.parametrize(("turned", "agreement"), [(False, 1.0), (True, 0.0)])
def test_agreement_is_judged_on_the_fold_that_weights_and_table_never_saw(turned: bool, agreement: float) -> None:
    label = np.arange(120) % 2
    fold = (np.arange(120) // 2) % fitting.FOLDS
    raw = np.tile(0.2 + 0.6 * label, (fitting.FOLDS, 1))
    if turned:
        raw[fold, np.arange(120)] = 0.8 - 0.6 * label
    items = [
        Item("begin", str(at), int(one), 0.0, None, Shape(True, 30, 1, 9), 0.0, (0.0, 0.0), 0.0)
        for at, one in enumerate(label)
    ]
    assert calibrating.held_out_agreement(items, fold.tolist(), raw) == pytest.approx(agreement)
