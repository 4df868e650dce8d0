"""Without a graph: what does the analyst's own description of the design identify?"""

from __future__ import annotations

from src.causal_engine.identification import wording
from src.causal_engine.results import ExcludedNode, Identification
from src.causal_engine.spec import CausalSpec, Design


def identify_declared(spec: CausalSpec) -> Identification:
    """Identify from declared roles: randomised, discontinuity, instrument, panel, listed confounders, in that order."""
    excluded = _declared_bad_controls(spec)
    adjusted = tuple(name for name in dict.fromkeys(spec.confounders) if name not in {node.name for node in excluded})
    strategy, design, assumptions = _strategy(spec, adjusted)
    reasons = [f"{node.reason}; it is not adjusted for" for node in excluded if node.name in spec.confounders]
    if strategy == "none":
        reasons.append(
            "no confounders, experiment, cutoff, instrument or repeated measurements were named, so nothing says why a "
            f"difference in {spec.outcome} would be an effect of {spec.treatment}"
        )
    return Identification(
        identified=strategy != "none",
        strategy=strategy,
        design=design,
        adjustment_set=adjusted,
        alternatives=(),
        instruments=spec.instruments if design is Design.INSTRUMENT else (),
        mediators=(),
        excluded=excluded,
        assumptions=assumptions,
        reasons=tuple(reasons),
    )


def _strategy(spec: CausalSpec, adjusted: tuple[str, ...]) -> tuple[str, Design, tuple[str, ...]]:
    treatment, outcome = spec.treatment, spec.outcome
    if spec.randomized:
        return "randomization", Design.RANDOMIZED, wording.randomization(treatment, outcome)
    if spec.running_variable is not None and spec.cutoff is not None:
        words = wording.discontinuity(treatment, outcome, spec.running_variable, spec.cutoff)
        return "discontinuity", Design.DISCONTINUITY, words
    if spec.instruments:
        return "instrument", Design.INSTRUMENT, wording.instrument(treatment, outcome, spec.instruments)
    if spec.is_panel:
        words = wording.unit_effects(treatment, outcome, str(spec.unit_key), adjusted)
        return "fixed_effects", Design.PANEL, words
    if adjusted:
        words = wording.no_hidden_confounding(treatment, outcome, adjusted)
        return "declared", Design.OBSERVATIONAL, words
    return "none", Design.OBSERVATIONAL, ()


def _declared_bad_controls(spec: CausalSpec) -> tuple[ExcludedNode, ...]:
    mediators = [
        ExcludedNode(name, "mediator", f"'{name}' was named as a mediator, which carries part of the effect")
        for name in spec.mediators
    ]
    others = [
        ExcludedNode(name, "post-treatment", f"'{name}' was named as a bad control")
        for name in spec.bad_controls
        if name not in spec.mediators
    ]
    return (*mediators, *others)
