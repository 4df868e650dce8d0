# ruff: noqa: E501 - texts as they are given
"""Pairs in other words than the rules were made with: the second of each is the worse answer."""

from __future__ import annotations

from src.domain.rubric import Criterion

OTHER_PAIRS: tuple[tuple[Criterion, str, str], ...] = (
    ('causal_validity', 'Territories with more samples also had more Remibrutinib starts, but we cannot say that samples caused them because sicker practices may request both.', 'Samples caused the growth in Remibrutinib starts in these territories.'),
    ('causal_validity', 'After matching practices on size and prior prescribing, speaker attendance increased Fabhalta NRx by 4%. A negative control outcome was unaffected.', 'Speaker attendance increased Fabhalta NRx by 4%.'),
    ('causal_validity', 'A randomised holdout of 200 accounts shows that e-mails lifted Kisqali TRx by 3%.', 'Accounts that got e-mails had 3% higher Kisqali TRx, so e-mails work.'),
    ('causal_validity', 'The estimate controls for region, payer mix and seasonality, and the refutation tests held.', 'The estimate does not control for region, payer mix or seasonality.'),
    ('causal_validity', 'Kisqali share growth coincided with the campaign; seasonality is a possible confounder we have not ruled out.', 'The campaign drove Kisqali share growth.'),
    ('causal_validity', 'Instrumenting call volume with rep vacancies gives an effect of 1.8 TRx; the instrument is weak in the South, which limits the conclusion.', 'Call volume gives an effect of 1.8 TRx in all regions, as the dashboard makes clear.'),
    ('causal_validity', 'We used difference-in-differences with parallel pre-trends verified; the effect was 5%.', 'We compared before and after; the effect was 5%.'),
    ('actionability', 'Have the West team lead reassign 3 reps to the top 50 dermatology accounts by June 1.', 'The West team could do better with dermatology accounts.'),
    ('actionability', 'Reduce low-decile sampling by 25% in the South and reinvest in e-mail follow-ups within 6 weeks.', 'Sampling in the South deserves attention.'),
    ('actionability', 'Recommendation: pilot 2 extra calls per month for 40 Fabhalta hematologists from April; owner: Midwest district manager; expected gain 0.8 NRx each (90% CI 0.2-1.4).', 'Recommendation: pilot extra calls for Fabhalta hematologists.'),
    ('actionability', 'Next step: re-run the analysis with May data and freeze e-mail sends to inactive prescribers.', 'It is important to be aware of e-mail dynamics.'),
    ('actionability', 'Target the 120 oncologists in deciles 7-9 with one additional visit each month.', 'Leverage insights to optimise oncologist engagement.'),
    ('actionability', 'Stop speaker programs in the 12 territories where conversion stayed under 5%.', 'Conversion stayed under 5% in 12 territories.'),
    ('actionability', 'Assign the key account manager to contact the five largest accounts before the end of Q3.', 'Contact accounts.'),
    ('evidence_chain', 'Conversion of Remibrutinib triggers was 18% in the West [4].', 'According to our data, conversion of Remibrutinib triggers was 18% in the West.'),
    ('evidence_chain', 'Rep calls add 2.3 Kisqali TRx per oncologist [1]. The placebo effect was 0.1 TRx [2].', 'Rep calls add 2.3 Kisqali TRx per oncologist [2]. The placebo effect was 0.1 TRx [4].'),
    ('evidence_chain', 'Fabhalta NRx fell by 6% in the Midwest (chunk-fab-12).', 'Fabhalta NRx fell by 6% in the Midwest (see the attachment).'),
    ('evidence_chain', 'E-mail opens fell 11% [3], and Fabhalta NRx fell 6% [3].', 'E-mail opens fell 11%, and Fabhalta NRx fell 6%, as is well known.'),
    ('regulatory_awareness', 'Prescriber-level results are shown only in groups of at least 11 prescribers.', 'Dr. Lee at (617) 555-0134 wrote 14 scripts last month.'),
    ('regulatory_awareness', 'This analysis covers promotion only; it gives no treatment recommendation.', 'Physicians should switch patients to Kisqali because it works better.'),
    ('regulatory_awareness', 'Messaging stays within the approved label of Fabhalta.', 'Reps can mention that Fabhalta also works for unapproved uses.'),
    ('regulatory_awareness', 'We checked that the targeting rule does not disadvantage rural clinics.', 'We checked that the targeting rule maximises volume of clinics.'),
    ('regulatory_awareness', 'All figures are aggregated; no patient-level data were used.', 'All figures are final; no further data were used.'),
    ('regulatory_awareness', 'Kisqali TRx grew 4%. These results inform commercial decisions and are not medical advice.', 'Kisqali TRx grew 4%. Kisqali is the best treatment for patients.'),
    ('uncertainty_communication', 'We estimate 2.1 extra TRx per rep call, with a 95% confidence interval of 0.9 to 3.3.', 'Each rep call brings exactly 2.1 extra TRx, guaranteed.'),
    ('uncertainty_communication', 'The lift is probably 2-4%, but the sample is small.', 'The lift is 3%.'),
    ('uncertainty_communication', 'If payer coverage had changed at the same time, the effect would shrink; under stable coverage it is 2.1 (CI 0.9 to 3.3).', 'The effect is 2.1 (CI 0.9 to 3.3).'),
    ('uncertainty_communication', 'Confidence is moderate: the standard error is 0.6 around 2.1.', 'Confidence is high, there is no doubt about it.'),
    ('uncertainty_communication', 'The result depends on the assumption of no spillover between territories; 90% interval 0.4 to 1.9.', 'The result is 1.1 and always holds.'),
    ('uncertainty_communication', 'It might be that samples help, though the data are too thin to say how much.', 'Samples help.'),
    ('causal_validity', 'The 4% gain in Fabhalta NRx is estimated with account fixed effects; leave-one-out and permutation checks agree.', 'The 4% gain in Fabhalta NRx is plotted for each account.'),
    ('causal_validity', 'Prior prescribing explains both call volume and TRx, so the raw gap of 9 TRx is not the effect of calls; after adjustment for it 2.3 TRx remain.', 'The gap of 9 TRx between called and uncalled oncologists is the effect of calls.'),
    ('actionability', 'Ask the South brand team to trial two lunch meetings per quarter at 25 allergy clinics.', 'Allergy clinics in the South are a growth area.'),
    ('actionability', '1. Raise e-mail cadence to 3 per month for lapsed Kisqali writers. 2. Measure TRx after 60 days.', '1. Think about cadence. 2. Think about TRx.'),
    ('actionability', 'Rep capacity should move from decile 2 to decile 9 hematologists: 1.5 calls per week.', 'Rep capacity should be used better.'),
    ('evidence_chain', 'The South converted at 12% [4]; the West at 18% [4].', 'The South converted at 12% [12]; the West at 18% [12].'),
    ('regulatory_awareness', 'Results cover commercial targeting only; nothing here should guide treatment of a patient, and cells under 11 were suppressed.', 'Results can guide the treatment of a patient.'),
    ('uncertainty_communication', 'Plausible values run from 0.9 to 3.3 TRx per call (95% interval), provided formulary status was constant.', 'The value is 2.1 TRx per call.'),
    ('uncertainty_communication', 'An unmeasured driver 1.8 times as strong as prior volume would explain the effect away.', 'Nothing would explain the effect away; it is absolutely certain.'),
    ('uncertainty_communication', 'The forecast is 410 TRx with an 80% range of 370 to 455.', 'The forecast is 410 TRx, more or less.'),
)  # fmt: skip
