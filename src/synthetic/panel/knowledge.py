"""What does the panel's owner declare about cause and effect, question by question?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from src.errors import ContractViolation, nearest_names
from src.synthetic.panel.world import EMAIL_LAG
from src.synthetic.spec import DeclaredGraph, ProcessSpec, declared

UNIT_KEY, TIME_KEY, CLUSTER_KEY = "hcp_id", "month", "hcp_id"
TRAITS = "hcp_traits"
DEMAND = "expected_demand"
OUTCOMES = ("nrx", "nbrx", "trx")


@dataclass(frozen=True, slots=True)
class PanelQuestion:
    """A demonstration question with a known answer: exists, absent, not_identified or randomized."""

    text: str
    treatment: str
    outcome: str
    brand: str
    region: str | None
    kind: str


PANEL_QUESTIONS = (
    PanelQuestion(
        "Do rep calls raise new prescriptions of Kisqali in the Northeast?",
        "rep_calls", "nrx", "Kisqali", "northeast", "exists",
    ),
    PanelQuestion(
        "Do speaker programs raise new prescriptions of Remibrutinib?",
        "speaker_programs", "nrx", "Remibrutinib", None, "absent",
    ),
    PanelQuestion(
        "Do samples raise new prescriptions of Fabhalta?",
        "samples", "nrx", "Fabhalta", None, "not_identified",
    ),
    PanelQuestion(
        "Do triggers raise new prescriptions of Kisqali?",
        "trigger_delivered", "nrx", "Kisqali", None, "randomized",
    ),
)  # fmt: skip


def panel_spec(treatment: str, outcome: str = "nrx", brand: str | None = None) -> ProcessSpec:
    """Roles and graph of one question on the HCP-month panel.

    Stable HCP traits are behind promotion and scripts; unit effects condition on them, month
    effects on launch, season and competitor. Samples follow expected demand, which is not measured,
    for Fabhalta and therefore in data that pool the brands (``brand=None``).
    Raises ContractViolation for a treatment or outcome the panel does not have.
    """
    if treatment not in _GRAPHS:
        raise ContractViolation(f"the panel has no treatment '{treatment}'; {nearest_names(treatment, _GRAPHS)}")
    if outcome not in OUTCOMES:
        raise ContractViolation(f"the panel has no outcome '{outcome}'; {nearest_names(outcome, OUTCOMES)}")
    return ProcessSpec(
        name="panel",
        graph=_graph(treatment, outcome, brand),
        treatment=treatment,
        outcome=outcome,
        instruments=("trigger_delivered",) if treatment == "trigger_accepted" else (),
        mediators=("trigger_accepted",) if treatment == "trigger_delivered" else (),
        unit_key=UNIT_KEY,
        time_key=TIME_KEY,
        cluster_key=CLUSTER_KEY,
        bad_controls=_afterwards(treatment, outcome),
        randomized=treatment == "trigger_delivered",
        lag=EMAIL_LAG if treatment == "email_opens" else 0,
    )


def panel_declared(treatment: str | None = None, outcome: str = "nrx", brand: str | None = None) -> dict[str, Any]:
    """Declared knowledge of one question in JSON form.

    Without a treatment: what the catalogue stores for the whole panel, keys, the ``outcomes`` that share all
    knowledge and, under ``questions``, the declared knowledge per treatment; one that differs by brand has its brands
    under ``treatment@brand``.
    """
    if treatment is not None:
        return declared(panel_spec(treatment, outcome, brand))
    questions = {name: declared(panel_spec(name, outcome)) for name in _GRAPHS}
    brands = {f"samples@{name}": declared(panel_spec("samples", outcome, name)) for name in ("Remibrutinib", "Kisqali")}
    keys = {"unit_key": UNIT_KEY, "time_key": TIME_KEY, "cluster_key": CLUSTER_KEY}
    return {**keys, "outcomes": list(OUTCOMES), "questions": {**questions, **brands}}


def _afterwards(treatment: str, outcome: str) -> tuple[str, ...]:
    """Panel columns that come after the treatment: the other script counts, and acceptance of a delivered trigger."""
    scripts = tuple(name for name in (*OUTCOMES, "market_trx") if name != outcome)
    return (*scripts, "trigger_accepted") if treatment == "trigger_delivered" else scripts


def _graph(treatment: str, outcome: str, brand: str | None) -> DeclaredGraph:
    edges = [(cause, effect.format(outcome=outcome)) for cause, effect in _GRAPHS[treatment]]
    latent = [TRAITS]
    if treatment == "samples" and brand in (None, "Fabhalta"):
        edges += [(DEMAND, "samples"), (DEMAND, outcome)]
        latent.append(DEMAND)
    if treatment == "trigger_accepted":
        latent.append(DEMAND)
    return DeclaredGraph(tuple(edges), tuple(latent), (TRAITS,))


def _promotion(name: str) -> tuple[tuple[str, str], ...]:
    return ((TRAITS, "decile"), (TRAITS, name), (TRAITS, "{outcome}"), (name, "{outcome}"))


_GRAPHS: dict[str, tuple[tuple[str, str], ...]] = {
    **{name: _promotion(name) for name in ("rep_calls", "email_opens", "samples", "speaker_programs")},
    "trigger_delivered": (
        (TRAITS, "decile"),
        (TRAITS, "{outcome}"),
        (TRAITS, "trigger_accepted"),
        ("trigger_delivered", "trigger_accepted"),
        ("trigger_accepted", "{outcome}"),
    ),
    "trigger_accepted": (
        (TRAITS, "decile"),
        (TRAITS, "trigger_accepted"),
        (TRAITS, "{outcome}"),
        (DEMAND, "trigger_accepted"),
        (DEMAND, "{outcome}"),
        ("trigger_delivered", "trigger_accepted"),
        ("trigger_accepted", "{outcome}"),
    ),
}
