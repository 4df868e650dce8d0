"""What is declared about a treatment makes the question; what the caller says wins."""

from __future__ import annotations

from typing import Any

import pytest

from src.causal_engine.declaration import Asked, declared_for, graph_for, spec_of
from src.causal_engine.identification import identify
from src.causal_engine.spec import CausalSpec, Estimand
from src.errors import StudyInvalid
from src.synthetic.panel.knowledge import panel_declared

PANEL = panel_declared()
COLUMNS = ("hcp_id", "month", "decile", "rep_calls", "trigger_delivered", "trigger_accepted", "nrx", "market_trx")


def asked(treatment: str = "rep_calls", outcome: str = "nrx", brand: str | None = None, **said: Any) -> CausalSpec:
    return spec_of(Asked(treatment=treatment, outcome=outcome, **said), declared_for(PANEL, treatment, outcome, brand))


def test_keys_lag_and_roles_come_from_the_declaration() -> None:
    spec = asked("email_opens")
    assert (spec.unit_key, spec.time_key, spec.cluster_key, spec.lag) == ("hcp_id", "month", "hcp_id", 2)
    assert set(spec.bad_controls) == {"nbrx", "trx", "market_trx"}
    assert asked("trigger_delivered").randomized
    assert asked("trigger_accepted").instruments == ("trigger_delivered",)


def test_what_the_caller_says_wins() -> None:
    spec = asked("email_opens", lag=0, panel=("npi", "week"), cluster="territory_id", estimand=Estimand.ATT)
    assert (spec.lag, spec.unit_key, spec.time_key) == (0, "npi", "week")
    assert (spec.cluster_key, spec.estimand) == ("territory_id", Estimand.ATT)
    assert asked(random_state=7).random_state == 7
    assert asked(random_state=0).random_state == 0


@pytest.mark.parametrize("outcome", ["nrx", "trx", "nbrx"])
def test_what_is_told_for_one_outcome_holds_for_the_others(outcome: str) -> None:
    known = declared_for(PANEL, "rep_calls", outcome, None)
    spec = spec_of(Asked(treatment="rep_calls", outcome=outcome), known)
    graph = graph_for(spec, known)
    assert graph is not None
    assert ("rep_calls", outcome) in graph.edges
    assert set(spec.bad_controls) == {"nrx", "trx", "nbrx", "market_trx"} - {outcome}


@pytest.mark.parametrize(
    ("treatment", "outcome"),
    [("rep_calls", "decile"), ("rep_calls", "market_trx"), ("trigger_delivered", "trigger_accepted")],
)
def test_no_column_becomes_a_declared_outcome_by_its_name(treatment: str, outcome: str) -> None:
    known = declared_for(PANEL, treatment, outcome, None)
    spec = spec_of(Asked(treatment=treatment, outcome=outcome), known)
    assert graph_for(spec, known) is None
    assert (spec.randomized, spec.bad_controls, spec.mediators) == (False, (), ())
    assert not identify(spec, COLUMNS, graph_for(spec, known)).identified


def test_without_a_list_of_outcomes_only_the_told_one_is_declared() -> None:
    alone = {key: value for key, value in PANEL.items() if key != "outcomes"}
    assert "graph" in declared_for(alone, "rep_calls", "nrx", None)
    assert "graph" not in declared_for(alone, "rep_calls", "trx", None)


@pytest.mark.parametrize(("brand", "hidden"), [("Kisqali", False), ("Fabhalta", True), (None, True)])
def test_brands_may_differ(brand: str | None, hidden: bool) -> None:
    known = declared_for(PANEL, "samples", "nrx", brand)
    assert ("expected_demand" in known["graph"]["latent"]) is hidden


def test_of_another_question_only_the_keys_hold() -> None:
    told = declared_for(PANEL, "rep_calls", "nrx", None)
    spec = spec_of(Asked(treatment="decile", outcome="nrx"), told)
    assert (spec.unit_key, spec.time_key, spec.bad_controls) == ("hcp_id", "month", ())
    assert graph_for(spec, told) is None
    assert declared_for(PANEL, "decile", "nrx", None) == {
        "unit_key": "hcp_id",
        "time_key": "month",
        "cluster_key": "hcp_id",
    }


def test_an_outcome_that_is_not_declared_is_identified_only_by_what_the_caller_says() -> None:
    told = declared_for(PANEL, "rep_calls", "market_trx", None)
    said = spec_of(Asked(treatment="rep_calls", outcome="market_trx", panel=("hcp_id", "month")), told)
    assert identify(said, COLUMNS, None).strategy == "fixed_effects"


def test_without_a_treatment_the_declared_question_is_asked() -> None:
    told = declared_for(PANEL, "rep_calls", "trx", None)
    spec = spec_of(Asked(), told)
    assert (spec.treatment, spec.outcome) == ("rep_calls", "trx")


@pytest.mark.parametrize(("said", "missing"), [({}, "treatment"), ({"treatment": "rep_calls"}, "outcome")])
def test_a_question_without_both_ends_is_refused(said: dict[str, str], missing: str) -> None:
    with pytest.raises(StudyInvalid, match=f"name the {missing} column"):
        spec_of(Asked(**said), {})
