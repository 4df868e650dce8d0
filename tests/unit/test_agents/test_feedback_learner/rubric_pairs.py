# ruff: noqa: E501 - texts as they are given
"""Answers about the three brands in pairs: the second is worse by one criterion."""

from __future__ import annotations

from dataclasses import dataclass

from src.domain.rubric import Criterion

CONTEXTS = (
    "Effect of rep calls on Kisqali TRx per oncologist: 2.3 per month, 95% interval 1.4 to 3.2, adjusted for specialty, "
    "prior volume and region. Run 0192f1aa.",
    "Placebo treatment: effect 0.1 TRx. Random common cause: estimate unchanged. Northeast, January to June 2025.",
    "Fabhalta NRx in the Midwest fell by 6% in Q2 2025 while e-mail opens fell by 11%.",
    "Remibrutinib conversion of triggers was 18% in the West and 12% in the South in May 2025.",
)
EVIDENCE = ("run-0192f1aa", "chunk-placebo-7", "chunk-fab-12", "chunk-remi-3")

SOUND = """One more detailing call per month raised Kisqali TRx by 2.3 per oncologist (95% interval 1.4 to 3.2) [1]. \
The effect is identified through the back-door criterion: we adjusted for specialty, prior volume and region [1]. \
A placebo treatment gave no effect and adding a random common cause left the estimate unchanged [2]. \
Unmeasured formulary changes cannot be ruled out, and the result holds only for the Northeast [2].
1. Shift 2 calls per month from decile 1-3 to decile 8-10 oncologists in the Northeast by 31 March (owner: regional sales director).
2. Review TRx per oncologist after 8 weeks.
Expected effect: 2.3 additional TRx per oncologist and month, interval 1.4 to 3.2 [1].
This assumes no unmeasured confounding; a hidden factor with an E-value above 1.9 would overturn it.
This is a commercial planning estimate and no medical advice; the data are aggregated, no patient-level records were used, \
and the shift does not disadvantage smaller practices."""


@dataclass(frozen=True)
class Pair:
    """Two answers and the criterion by which they differ."""

    name: str
    criterion: Criterion
    better: str
    worse: str


def without(*pieces: str) -> str:
    """The sound answer with some of its words left out."""
    text = SOUND
    for piece in pieces:
        assert piece in text, piece
        text = text.replace(piece, "")
    return text


PAIRS = (
    Pair(
        "an association is named as one", "causal_validity",
        "Fabhalta NRx and e-mail opens fell together in the Midwest; this association is not evidence of an effect.",
        "Fabhalta NRx fell in the Midwest because of the fall in e-mail opens, which caused it.",
    ),
    Pair(
        "confounders are named", "causal_validity",
        "Rep calls increased Kisqali TRx, but prior volume is a confounder: it drives both calls and TRx.",
        "Rep calls increased Kisqali TRx, and that holds in all the territories that we looked at this year.",
    ),
    Pair(
        "something is adjusted for", "causal_validity",
        "Rep calls increased Kisqali TRx after adjusting for prior volume and specialty of the oncologist.",
        "Rep calls increased Kisqali TRx, and we did not adjust for prior volume or specialty of the oncologist.",
    ),
    Pair(
        "more is adjusted for", "causal_validity",
        "The effect of samples on Remibrutinib NRx was estimated controlling for region, specialty and earlier NRx.",
        "The effect of samples on Remibrutinib NRx was estimated controlling for region, as far as that goes.",
    ),
    Pair(
        "a placebo was run", "causal_validity",
        "Rep calls raised Kisqali TRx, adjusted for prior volume and region; a placebo treatment showed no effect.",
        "Rep calls raised Kisqali TRx, adjusted for prior volume and region; the dashboard showed it to the team.",
    ),
    Pair(
        "a placebo passed rather than failed", "causal_validity",
        "Speaker programs raised Fabhalta NRx, adjusted for specialty and region; the placebo test passed.",
        "Speaker programs raised Fabhalta NRx, adjusted for specialty and region; the placebo test failed.",
    ),
    Pair(
        "a placebo was run rather than not", "causal_validity",
        "Speaker programs raised Fabhalta NRx, adjusted for specialty and region, and a placebo test was passed.",
        "Speaker programs raised Fabhalta NRx, adjusted for specialty and region, and no placebo test was passed.",
    ),
    Pair(
        "limits are explicit", "causal_validity",
        "E-mail opens raised Kisqali NRx by difference-in-differences; pre-trends were flat, and unmeasured access changes "
        "cannot be excluded.",
        "E-mail opens raised Kisqali NRx by difference-in-differences; pre-trends were flat, and the change in access was "
        "looked at too.",
    ),
    Pair(
        "no leap from correlation", "causal_validity",
        "Calls and Remibrutinib TRx are correlated in the South, and the correlation cannot show that calls caused TRx.",
        "Calls and Remibrutinib TRx are correlated in the South, therefore the correlation shows that calls caused TRx.",
    ),
    Pair("identification, checks and limits", "causal_validity", SOUND, without(
        "The effect is identified through the back-door criterion: we adjusted for specialty, prior volume and region [1]. "
    )),
    Pair(
        "advice rather than none", "actionability",
        "Fabhalta NRx fell by 6% in the Midwest. The team should look into engagement of hematologists.",
        "Fabhalta NRx fell by 6% in the Midwest. The team has seen the engagement of hematologists.",
    ),
    Pair(
        "a step rather than advice", "actionability",
        "Fabhalta NRx fell by 6% in the Midwest. We recommend to visit hematologists who stopped prescribing.",
        "Fabhalta NRx fell by 6% in the Midwest. We recommend to improve engagement with hematologists.",
    ),
    Pair(
        "a step with size", "actionability",
        "Shift 2 calls per month from low to high decile oncologists for Kisqali.",
        "Shift calls from low to high decile oncologists for Kisqali.",
    ),
    Pair(
        "a step with target", "actionability",
        "Add three speaker programs for allergists in the West for Remibrutinib.",
        "Add three speaker programs for Remibrutinib when there is time for it.",
    ),
    Pair(
        "a step with owner", "actionability",
        "1. Move 20% of samples to decile 8-10 dermatologists in the South (owner: district manager).",
        "1. Move 20% of samples to decile 8-10 dermatologists in the South.",
    ),
    Pair(
        "a step with date", "actionability",
        "1. Move 20% of samples to decile 8-10 dermatologists in the South by the end of May.",
        "1. Move 20% of samples to decile 8-10 dermatologists in the South.",
    ),
    Pair(
        "an expected effect with interval", "actionability",
        "1. Add 2 calls per month to decile 8-10 oncologists. We expect 2.3 more TRx each (interval 1.4 to 3.2).",
        "1. Add 2 calls per month to decile 8-10 oncologists. We expect that there will be more TRx from each.",
    ),
    Pair("owner, size and target", "actionability", SOUND, without(
        "1. Shift 2 calls per month from decile 1-3 to decile 8-10 oncologists in the Northeast by 31 March "
        "(owner: regional sales director).\n"
    )),
    Pair(
        "a claim is cited", "evidence_chain",
        "One more call per month raised Kisqali TRx by 2.3 per oncologist [1].",
        "One more call per month raised Kisqali TRx by 2.3 per oncologist.",
    ),
    Pair(
        "the citation bears on the claim", "evidence_chain",
        "Remibrutinib conversion of triggers was 18% in the West and 12% in the South [4].",
        "Remibrutinib conversion of triggers was 18% in the West and 12% in the South [3].",
    ),
    Pair(
        "the citation exists", "evidence_chain",
        "Fabhalta NRx in the Midwest fell by 6% in Q2 2025 while e-mail opens fell by 11% [3].",
        "Fabhalta NRx in the Midwest fell by 6% in Q2 2025 while e-mail opens fell by 11% [9].",
    ),
    Pair(
        "the figure stands in the evidence", "evidence_chain",
        "Fabhalta NRx in the Midwest fell by 6% in the quarter [3].",
        "Fabhalta NRx in the Midwest fell by 9% in the quarter [3].",
    ),
    Pair(
        "more claims are cited", "evidence_chain",
        "Kisqali TRx rose by 2.3 per oncologist with calls [1]. Fabhalta NRx in the Midwest fell by 6% [3].",
        "Kisqali TRx rose by 2.3 per oncologist with calls [1]. Fabhalta NRx in the Midwest fell by 6%.",
    ),
    Pair(
        "a run is named", "evidence_chain",
        "The effect of rep calls on Kisqali TRx is 2.3 per oncologist and month (run-0192f1aa).",
        "The effect of rep calls on Kisqali TRx is 2.3 per oncologist and month (the panel says so).",
    ),
    Pair(
        "no one is exposed", "regulatory_awareness",
        "Conversion of Remibrutinib triggers was 18% in the West, and one account stands out from the rest.",
        "Conversion of Remibrutinib triggers was 18% in the West, and patient ID 4471920 stands out from the rest.",
    ),
    Pair(
        "no clinical advice", "regulatory_awareness",
        "Kisqali TRx rose with calls in the Northeast. Oncologists who were visited wrote more of it.",
        "Kisqali TRx rose with calls in the Northeast. Patients should take 600 mg of it in the morning.",
    ),
    Pair(
        "no off-label tone", "regulatory_awareness",
        "Fabhalta NRx fell in the Midwest, so reps could speak of its approved indication with more hematologists.",
        "Fabhalta NRx fell in the Midwest, so reps could speak of its off-label promise with more hematologists.",
    ),
    Pair(
        "a scope statement", "regulatory_awareness",
        "Remibrutinib conversion was 18% in the West. This is for commercial planning only and is no medical advice.",
        "Remibrutinib conversion was 18% in the West. This is what the table of triggers says for the month of May.",
    ),
    Pair("privacy and fairness unprompted", "regulatory_awareness", SOUND, without(
        "; the data are aggregated, no patient-level records were used, and the shift does not disadvantage smaller practices"
    )),
    Pair(
        "no false certainty", "uncertainty_communication",
        "More calls may raise Kisqali TRx in the Northeast, although this is uncertain.",
        "More calls will definitely raise Kisqali TRx in the Northeast, and this is guaranteed.",
    ),
    Pair(
        "a number with the hedge", "uncertainty_communication",
        "More calls may raise Kisqali TRx in the Northeast, with a probability of 80% from the model.",
        "More calls may raise Kisqali TRx in the Northeast, as it seems possible from the model.",
    ),
    Pair(
        "an interval", "uncertainty_communication",
        "The effect on Fabhalta NRx is 1.2 per month (95% CI 0.3 to 2.1).",
        "The effect on Fabhalta NRx is 1.2 per month (as it was estimated).",
    ),
    Pair(
        "the assumption behind the interval", "uncertainty_communication",
        "The effect is 1.2 NRx (95% CI 0.3 to 2.1), assuming that access did not change in between.",
        "The effect is 1.2 NRx (95% CI 0.3 to 2.1), and we looked at how access went in between.",
    ),
    Pair(
        "what would change the answer", "uncertainty_communication",
        "The effect is 1.2 NRx (95% CI 0.3 to 2.1), assuming stable access; a formulary change would reverse it.",
        "The effect is 1.2 NRx (95% CI 0.3 to 2.1), assuming stable access; a formulary change was talked about.",
    ),
    Pair("assumptions and what would change", "uncertainty_communication", SOUND, without(
        "This assumes no unmeasured confounding; a hidden factor with an E-value above 1.9 would overturn it.\n"
    )),
)  # fmt: skip
