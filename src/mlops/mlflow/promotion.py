"""May this version enter that stage? The rules of config/mlflow/mlflow.yaml, applied to what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from src.mlops.mlflow.configuration import StageRules
from src.mlops.mlflow.results import Evidence, ModelStage, Waiver

# The names under which a run holds them; a metric of the test set comes before one of unknown origin.
AUC_NAMES = ("test_auc", "test_roc_auc", "auc", "roc_auc")
R2_NAMES = ("test_r2", "r2")
# Rows of each split: together those the model was made and judged with. Runs of other tools name only the whole.
SPLIT_NAMES = ("train_samples", "validation_samples", "test_samples")
SAMPLES_NAMES = ("test_samples", "n_samples", "samples")
# R² of a model that says the mean of the target for every row.
R2_OF_THE_MEAN = 0.0

_NEXT = {
    ModelStage.DEVELOPMENT: {ModelStage.STAGING},
    ModelStage.STAGING: {ModelStage.SHADOW},
    ModelStage.SHADOW: {ModelStage.PRODUCTION},
    ModelStage.PRODUCTION: {ModelStage.DEPRECATED},
    ModelStage.DEPRECATED: set[ModelStage](),
    ModelStage.ARCHIVED: set[ModelStage](),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that shall move: where it is, since when, what is known of it and of the version in production."""

    stage: ModelStage
    since: datetime | None
    known: Evidence
    champion_auc: float | None
    was_champion: bool
    champion_r2: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that is not met; ``rule`` is the name a waiver uses."""

    rule: str
    reason: str


def known_facts(metrics: Mapping[str, float], params: Mapping[str, str], given: Evidence) -> Evidence:
    """What is known of a version: the metrics stored with its run first, what the caller adds where they are silent."""
    auc, r2 = _first(AUC_NAMES, metrics), _first(R2_NAMES, metrics)
    # What the run says settles whether it is a classifier or a regression: the other measure cannot be claimed.
    silent = auc is None and r2 is None
    return Evidence(
        auc=given.auc if silent else auc,
        r2=given.r2 if silent else r2,
        samples=next((n for n in (_samples(metrics, params), given.samples) if n is not None), None),
        requests=metrics.get("shadow_requests", given.requests),
        error_rate=metrics.get("shadow_error_rate", given.error_rate),
        p99_ms=metrics.get("shadow_p99_ms", given.p99_ms),
        hours=given.hours,
        stated_by=given.stated_by,
    )


def refusals(
    rules: StageRules,
    candidate: Candidate,
    to: ModelStage,
    *,
    approval: str | None,
    waiver: Waiver | None,
    now: datetime,
) -> list[Refusal]:
    """Every rule that forbids the move and is not waived; empty when the version may move.

    The champion before the present one may return to production without passing the path again.
    """
    if to is candidate.stage:
        return [Refusal("path", f"it is in {to} already")]
    if to is ModelStage.ARCHIVED:
        return []
    found = list(_not_met(rules, candidate, to, approval, now))
    waived = _waived(waiver)
    return [refusal for refusal in found if refusal.rule not in waived or refusal.rule == "approval"]


def _not_met(
    rules: StageRules, candidate: Candidate, to: ModelStage, approval: str | None, now: datetime
) -> Iterator[Refusal]:
    rollback = to is ModelStage.PRODUCTION and candidate.was_champion
    if not rollback:
        yield from _off_the_path(candidate.stage, to)
        yield from _too_weak(rules, candidate, to, now)
    if to is ModelStage.PRODUCTION and rules.production.require_approval and not (approval or "").strip():
        yield Refusal("approval", "production needs the name of the person who approves it")


def _off_the_path(stage: ModelStage, to: ModelStage) -> Iterator[Refusal]:
    allowed = _NEXT[stage] | {ModelStage.ARCHIVED}
    if to not in allowed:
        yield Refusal("path", f"from {stage} a version goes to {' or '.join(sorted(allowed))}, not to {to}")


def _too_weak(rules: StageRules, candidate: Candidate, to: ModelStage, now: datetime) -> Iterator[Refusal]:
    known = candidate.known
    if to is ModelStage.STAGING:
        yield from _too_inexact(known, rules.staging.min_auc)
        yield from _at_least("min_samples", "samples", known.samples, rules.staging.min_samples)
    elif to is ModelStage.SHADOW:
        yield from _too_inexact(known, rules.shadow.min_auc)
    elif to is ModelStage.PRODUCTION:
        yield from _too_inexact(known, rules.production.min_auc)
        yield from _behind_the_champion(candidate, rules.production.champion_ratio)
        yield from _observed_too_little(rules, candidate, now)


def _too_inexact(known: Evidence, min_auc: float) -> Iterator[Refusal]:
    """A regression is judged by R², everything else by AUC; R² has no scale on which one number suits all targets."""
    if known.auc is not None or known.r2 is None:
        yield from _at_least("min_auc", "AUC", known.auc, min_auc)
    elif not known.r2 > R2_OF_THE_MEAN:
        yield Refusal("min_r2", f"R² is {known.r2:g}: no better than the mean of the target (needed: above 0)")


def _behind_the_champion(candidate: Candidate, ratio: float) -> Iterator[Refusal]:
    known = candidate.known
    for what, own, champions in (
        ("AUC", known.auc, candidate.champion_auc),
        ("R²", known.r2, candidate.champion_r2),
    ):
        if champions is not None:
            yield from _at_least("champion_ratio", f"{what} beside the version in production", own, ratio * champions)


def _observed_too_little(rules: StageRules, candidate: Candidate, now: datetime) -> Iterator[Refusal]:
    needed, known = rules.production.shadow, candidate.known
    in_shadow = candidate.stage is ModelStage.SHADOW and candidate.since is not None
    hours = (now - candidate.since) / timedelta(hours=1) if in_shadow and candidate.since else None
    if hours is not None and known.hours is not None and known.hours > hours:
        yield Refusal("min_hours", f"{known.hours:g} hours in shadow are stated, and it is there for {hours:g}")
    else:
        counted = hours if hours is None or known.hours is None else known.hours
        yield from _at_least("min_hours", "hours in shadow", counted, needed.min_hours)
    yield from _at_least("min_requests", "requests in shadow", known.requests, needed.min_requests)
    yield from _at_most("max_error_rate", "error rate in shadow", known.error_rate, needed.max_error_rate)
    yield from _at_most("max_p99_ms", "p99 latency in shadow (ms)", known.p99_ms, needed.max_p99_ms)


def _at_least(rule: str, what: str, value: float | None, bound: float) -> Iterator[Refusal]:
    if value is None:
        yield Refusal(rule, f"{what} is not known (needed: at least {bound:g})")
    elif not value >= bound:
        yield Refusal(rule, f"{what} is {value:g}, below {bound:g}")


def _at_most(rule: str, what: str, value: float | None, bound: float) -> Iterator[Refusal]:
    if value is None:
        yield Refusal(rule, f"{what} is not known (needed: at most {bound:g})")
    elif not value <= bound:
        yield Refusal(rule, f"{what} is {value:g}, above {bound:g}")


def _waived(waiver: Waiver | None) -> frozenset[str]:
    """A waiver that nobody signed or that gives no reason waives nothing."""
    return waiver.rules if waiver is not None and waiver.signed else frozenset()


def _samples(metrics: Mapping[str, float], params: Mapping[str, str]) -> float | None:
    """Rows of all splits the run names; otherwise the one number it has for the whole."""
    splits = [metrics[name] for name in SPLIT_NAMES if name in metrics]
    whole = _first(SAMPLES_NAMES, metrics)
    found = (sum(splits) if splits else whole, _param(SAMPLES_NAMES, params))
    return next((n for n in found if n is not None), None)


def _first(names: tuple[str, ...], values: Mapping[str, float]) -> float | None:
    return next((values[name] for name in names if name in values), None)


def _param(names: tuple[str, ...], params: Mapping[str, str]) -> float | None:
    text = next((params[name] for name in names if name in params), "")
    return float(text) if text.replace(".", "", 1).isdigit() else None
