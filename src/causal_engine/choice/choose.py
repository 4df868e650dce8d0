"""Which design and estimators answer this question on these data, why, and which were passed over?"""

from __future__ import annotations

from collections.abc import Sequence

from src.causal_engine.choice.facts import Facts, facts_of
from src.causal_engine.choice.tree import Option, options_for
from src.causal_engine.results import DesignChoice, Identification, RejectedOption
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import Study

_DESIGN_REASONS = {
    Design.RANDOMIZED: "treatment was assigned at random",
    Design.DISCONTINUITY: "a cutoff in a running variable decides who is treated",
    Design.INSTRUMENT: "an instrument moves the treatment and reaches the outcome only through it",
    Design.PANEL: "units are observed repeatedly, so that each is compared with itself",
    Design.FRONT_DOOR: "nothing measured closes the back door, but the mediators carry the whole effect",
    Design.OBSERVATIONAL: "the measured confounders are taken to be all that treatment and outcome share",
}


def choose(study: Study, identification: Identification) -> DesignChoice:
    """The design that identification found, its estimators in order, and everything that was not taken."""
    facts = facts_of(study, identification.design)
    options = options_for(facts)
    names = _ordered(facts, options)
    asked = study.spec.estimator
    reasons = [_DESIGN_REASONS[facts.design]]
    if asked is not None:
        names = (asked, *(name for name in names if name != asked))
        reasons.append(f"{asked} was asked for by name; nothing answers in its place")
    else:
        reasons.append(next(f"{one.name}: {one.because}" for one in options if one.name == names[0]))
    return DesignChoice(
        design=facts.design,
        estimators=names,
        reasons=tuple(reasons),
        rejected=(*_other_designs(study.spec, identification), *_other_estimators(facts, options, names)),
        facts=facts.in_words(),
    )


def estimators_for(study: Study, design: Design) -> tuple[str, ...]:
    """Names of the estimators of a design: first the one whose answer is given, then those shown beside it."""
    facts = facts_of(study, design)
    return _ordered(facts, options_for(facts))


def fallbacks(study: Study, design: Design) -> tuple[Option, ...]:
    """Options that may answer after another one refused, in the tree's order."""
    return tuple(one for one in options_for(facts_of(study, design)) if one.after)


def _ordered(facts: Facts, options: Sequence[Option]) -> tuple[str, ...]:
    fit = [one for one in options if one.unfit(facts) is None]
    first = next((one for one in fit if one.behind(facts) is None), fit[0] if fit else options[0])
    return (first.name, *(one.name for one in fit if one.name != first.name))


def _other_estimators(facts: Facts, options: Sequence[Option], names: tuple[str, ...]) -> tuple[RejectedOption, ...]:
    found = []
    for one in options:
        if one.name == names[0]:
            continue
        unfit = one.unfit(facts)
        behind = one.behind(facts)
        if unfit is not None:
            found.append(RejectedOption(one.name, unfit))
        elif behind is not None:
            found.append(RejectedOption(one.name, f"{behind} (shown beside)"))
        else:
            found.append(RejectedOption(one.name, f"comes after {names[0]}: {one.because} (shown beside)"))
    return tuple(found)


def _other_designs(spec: CausalSpec, identification: Identification) -> tuple[RejectedOption, ...]:
    named = {
        Design.RANDOMIZED: (spec.randomized, "nobody said that treatment was assigned at random"),
        Design.DISCONTINUITY: (spec.running_variable is not None, "no running variable with a cutoff was named"),
        Design.INSTRUMENT: (bool(spec.instruments), "no instrument was named"),
        Design.PANEL: (spec.is_panel, "no unit and time columns were named"),
        Design.FRONT_DOOR: (bool(spec.mediators), "no mediators that carry the whole effect were named"),
        Design.OBSERVATIONAL: (bool(spec.confounders), "no confounders were named"),
    }
    taken = identification.design.value.replace("_", " ")
    return tuple(
        RejectedOption(
            design.value.replace("_", " "),
            f"the {taken} design comes first, or the graph rules this one out" if said else missing,
        )
        for design, (said, missing) in named.items()
        if design is not identification.design
    )
