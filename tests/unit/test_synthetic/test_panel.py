"""The HCP-month panel: what exists is found, what does not is not, what cannot be known shows it."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from src.errors import ContractViolation
from src.synthetic import PANEL_QUESTIONS, PanelDataset, panel_declared
from src.synthetic.panel.scripts import poisson_quantile
from src.synthetic.panel.simulation import simulate_chunk
from src.synthetic.panel.truth import PanelTruthSums
from src.synthetic.panel.world import BRANDS, MONTHS, unit_effects
from src.synthetic.streams import Streams
from tests.unit.test_synthetic.regressions import shift, within

REQUIRED = {
    "hcp_id", "month", "brand", "region", "state", "specialty", "decile", "practice_type", "territory_id",
    "months_since_launch", "competitor_launch", "rep_calls", "email_opens", "samples", "speaker_programs",
    "lottery_rank", "trigger_capacity", "trigger_delivered", "trigger_accepted", "trx", "nrx", "nbrx", "market_trx",
}  # fmt: skip


def rows(data: PanelDataset, brand: str, region: str | None = None) -> pd.DataFrame:
    frame = data.panel[data.panel["brand"] == brand]
    return frame[frame["region"] == region].copy() if region else frame.copy()


def effect_and_lead(frame: pd.DataFrame, treatment: str, lag: int = 0) -> tuple[float, float, float, float]:
    """Two-way estimate with its standard error, and lead coefficient with its t value."""
    frame = frame.assign(now=shift(frame, treatment, lag, "hcp_id"), lead=shift(frame, treatment, lag - 1, "hcp_id"))
    alone, error = within(frame, "nrx", ["now"], "hcp_id")
    both, errors = within(frame, "nrx", ["now", "lead"], "hcp_id")
    return alone[0], error[0], both[1], both[1] / errors[1]


@pytest.mark.parametrize(
    ("treatment", "brand", "region", "lag"),
    [
        ("rep_calls", "Kisqali", "northeast", 0),
        ("rep_calls", "Kisqali", None, 0),
        ("rep_calls", "Fabhalta", None, 0),
        ("email_opens", "Remibrutinib", None, 2),
        ("trigger_delivered", "Kisqali", None, 0),
        ("speaker_programs", "Remibrutinib", None, 0),
        ("samples", "Kisqali", None, 0),
    ],
)
def test_identified_effects_lie_in_the_clustered_interval_and_leads_are_silent(
    panel_dataset: PanelDataset, treatment: str, brand: str, region: str | None, lag: int
) -> None:
    estimate, error, _, lead_t = effect_and_lead(rows(panel_dataset, brand, region), treatment, lag)
    truth = panel_dataset.truth.effect(treatment, "nrx", brand, region)
    assert abs(estimate - truth.effect) < 1.96 * error
    assert abs(lead_t) < 1.96
    assert truth.identifiable
    assert truth.lag == lag


def test_calls_on_kisqali_in_the_northeast_have_power(panel_dataset: PanelDataset) -> None:
    estimate, error, _, _ = effect_and_lead(rows(panel_dataset, "Kisqali", "northeast"), "rep_calls")
    assert estimate / error > 8


def test_speaker_programs_do_nothing_for_remibrutinib_but_look_as_if(panel_dataset: PanelDataset) -> None:
    for region in (None, "northeast", "south", "midwest", "west"):
        assert panel_dataset.truth.effect("speaker_programs", "nrx", "Remibrutinib", region).effect == 0.0
    frame = rows(panel_dataset, "Remibrutinib")
    assert np.polyfit(frame["speaker_programs"], frame["nrx"], 1)[0] > 0.2


@pytest.mark.parametrize("region", [None, "northeast"])
def test_fabhalta_samples_follow_demand_so_effect_is_false_and_lead_fires(
    panel_dataset: PanelDataset, region: str | None
) -> None:
    truth = panel_dataset.truth.effect("samples", "nrx", "Fabhalta", region)
    assert truth.effect == 0.0
    assert not truth.identifiable
    estimate, error, lead, lead_t = effect_and_lead(rows(panel_dataset, "Fabhalta", region), "samples")
    assert estimate > 8 * error
    assert lead > 0.1 * estimate
    assert lead_t > 5
    assert "expected_demand" not in panel_dataset.panel.columns


def test_delivery_is_an_instrument_for_acceptance_which_is_confounded(panel_dataset: PanelDataset) -> None:
    frame = rows(panel_dataset, "Kisqali")
    truth = panel_dataset.truth.effect("trigger_accepted", "nrx", "Kisqali")
    reduced, error = within(frame, "nrx", ["trigger_delivered"], "hcp_id")
    first, _ = within(frame, "trigger_accepted", ["trigger_delivered"], "hcp_id")
    assert abs(reduced[0] / first[0] - truth.complier_effect) < 1.96 * error[0] / first[0]
    accepting = frame[frame["trigger_delivered"] == 1].groupby("trigger_accepted")["nrx"].mean()
    assert accepting[1] - accepting[0] > truth.effect


def test_triggers_go_to_the_lowest_ranks_of_each_territory_within_capacity(panel_dataset: PanelDataset) -> None:
    frame = panel_dataset.panel
    assert (frame["trigger_delivered"] == (frame["lottery_rank"] <= frame["trigger_capacity"])).all()
    cells = frame.groupby(["territory_id", "month"])
    assert (cells["trigger_delivered"].sum() == cells["trigger_capacity"].first()).all()
    assert not frame.duplicated(["territory_id", "month", "lottery_rank"]).any()
    assert abs(np.corrcoef(frame["trigger_delivered"], frame["decile"])[0, 1]) < 0.015


def test_truth_equals_an_independent_simulation_with_one_more_call() -> None:
    world = simulate_chunk(Streams(3, "panel", 0), 1_000)
    sums = PanelTruthSums()
    sums.add(world.hcps, world.promotion, world.model, world.n)
    truth = sums.finish(1_000, 3)
    mean = np.maximum(world.model.untouched + _lift(world), 0.05)
    more = np.maximum(mean + unit_effects("rep_calls", world.hcps.brand, world.hcps.region)[:, None], 0.05)
    change = poisson.ppf(world.model.luck, more) - poisson.ppf(world.model.luck, mean)
    for code, brand in enumerate(BRANDS):
        cells = change[world.hcps.brand == code]
        assert truth.effect("rep_calls", "nrx", brand).effect == pytest.approx(cells.mean(), abs=1e-9)
        assert truth.effect("rep_calls", "nrx", brand).n == cells.size


def _lift(world: object) -> np.ndarray:
    promotion, hcps = world.promotion, world.hcps  # type: ignore[attr-defined]
    amounts = {
        "rep_calls": promotion.rep_calls,
        "email_opens": promotion.past_email_opens,
        "samples": promotion.samples,
        "speaker_programs": promotion.speaker_programs,
        "trigger_accepted": promotion.trigger_delivered & promotion.would_accept,
    }
    return sum(unit_effects(name, hcps.brand, hcps.region)[:, None] * amount for name, amount in amounts.items())


def test_realised_effects_are_close_to_the_laws_behind_them(panel_dataset: PanelDataset) -> None:
    truth = panel_dataset.truth
    assert truth.effect("rep_calls", "nrx", "Kisqali", "northeast").effect == pytest.approx(0.36, abs=0.02)
    assert truth.effect("rep_calls", "nrx", "Kisqali", "west").effect == pytest.approx(0.24, abs=0.02)
    assert truth.effect("rep_calls", "nbrx", "Kisqali").effect == pytest.approx(0.30 * 0.30, abs=0.01)
    assert truth.effect("rep_calls", "trx", "Kisqali").effect == truth.effect("rep_calls", "nrx", "Kisqali").effect
    assert truth.effect("email_opens", "nrx", "Remibrutinib").effect == pytest.approx(0.15, abs=0.01)
    with pytest.raises(ContractViolation):
        truth.effect("rep_calls", "nrx", "Humira")


def test_the_panel_is_complete_and_its_counts_are_consistent(panel_dataset: PanelDataset) -> None:
    frame = panel_dataset.panel
    assert set(frame.columns) >= REQUIRED
    assert len(frame) == 3_000 * MONTHS
    assert not frame.duplicated(["hcp_id", "month"]).any()
    assert not frame.isna().any().any()
    assert (frame["nbrx"] <= frame["nrx"]).all()
    assert (frame["nrx"] <= frame["trx"]).all()
    assert (frame["trx"] <= frame["market_trx"]).all()
    assert (str(frame["month"].min()), str(frame["month"].max())) == ("2022-01-01", "2024-12-01")
    assert frame.groupby("brand")["hcp_id"].nunique().to_dict() == dict.fromkeys(BRANDS, 1_000)


def test_launch_lifts_scripts_and_a_competitor_lowers_them(panel_dataset: PanelDataset) -> None:
    monthly = rows(panel_dataset, "Remibrutinib").groupby("month")["nrx"].mean()
    assert monthly.iloc[12:24].mean() > monthly.iloc[:12].mean() + 0.5
    kisqali = rows(panel_dataset, "Kisqali")
    levels = kisqali.groupby("competitor_launch")["nrx"].mean()
    assert levels[1] < levels[0]


def test_poisson_quantile_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    uniform, mean = rng.random(5_000), rng.uniform(0.05, 30.0, 5_000)
    np.testing.assert_array_equal(poisson_quantile(uniform, mean), poisson.ppf(uniform, mean))


def test_declared_graphs_name_the_hidden_demand_only_where_it_drives_samples() -> None:
    assert "expected_demand" in panel_declared("samples", brand="Fabhalta")["graph"]["latent"]
    assert "expected_demand" in panel_declared("samples")["graph"]["latent"]
    assert panel_declared("samples", brand="Kisqali")["graph"]["latent"] == ["hcp_traits"]
    assert panel_declared("email_opens")["lag"] == 2
    assert panel_declared("trigger_delivered")["randomized"] is True
    assert panel_declared("trigger_accepted")["instruments"] == ["trigger_delivered"]
    catalogue = panel_declared()
    assert catalogue["unit_key"] == "hcp_id"
    assert catalogue["questions"]["samples"] == panel_declared("samples")
    assert catalogue["questions"]["samples@Kisqali"] == panel_declared("samples", brand="Kisqali")


def test_every_demonstration_question_has_a_stored_answer(panel_dataset: PanelDataset) -> None:
    kinds = {}
    for question in PANEL_QUESTIONS:
        truth = panel_dataset.truth.effect(question.treatment, question.outcome, question.brand, question.region)
        kinds[question.kind] = (truth.effect > 0, truth.identifiable)
    assert kinds == {
        "exists": (True, True),
        "absent": (False, True),
        "not_identified": (False, False),
        "randomized": (True, True),
    }
