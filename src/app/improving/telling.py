"""How is a change told to a person who has to answer for it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from src.domain.improvement import Hop
from src.optimization.improver import Spend
from src.optimization.pipeline.results import ActionStory, HopDone


def story_lines(story: ActionStory) -> list[str]:
    """What changed, why, on which evidence, at which cost, by whom, and whether the record is whole."""
    action = story.action
    lines = [
        f"{action.component} {action.action_id}: {action.status}",
        f"Kind: {action.improvement_type}; wished for because: {action.action_description}",
    ]
    if action.blocked_reason:
        lines.append(f"Stopped: {action.blocked_reason}")
    if action.rollback_reason:
        lines.append(f"Taken back: {action.rollback_reason}")
    if action.outcome_delta is not None:
        verb = "better" if action.outcome_improved else "not better"
        lines.append(f"Effect: {action.outcome_delta:+.3f} over {action.samples_measured} answers, {verb}")
    lines += [f"Approved by: {story.approved_by or 'nobody had to'}", f"Spend: {spend_words(story.spend)}"]
    if story.follows:
        lines.append(f"Next: {story.follows}")
    lines += ["", "What changes:", story.diff or "(nothing is kept of it)", "", "What was done:"]
    for hop in story.hops:
        lines += _hop_lines(hop)
    record = "as it was written" if story.intact else f"NOT as it was written: {story.problem}"
    return [*lines, "", f"Record: {len(story.hops)} entries, {record}"]


def spend_words(spend: Spend) -> str:
    """Calls, tokens by purpose, and dollars where prices are known."""
    if not spend.calls:
        return "no model was asked"
    dollars = "price unknown" if spend.dollars is None else f"{spend.dollars:.2f} US dollars"
    tokens = f"{spend.task_tokens:,} task, {spend.reflection_tokens:,} reflection, {spend.judge_tokens:,} judge tokens"
    return f"{spend.calls:,} calls, {tokens}, {dollars}"


def _hop_lines(hop: HopDone) -> Iterator[str]:
    attempt = f" (attempt {hop.attempt})" if hop.attempt > 1 else ""
    yield f"  {hop.at:%Y-%m-%d %H:%M} UTC  {hop.hop}{attempt}, by {hop.actor} -> {hop.status}"
    yield from (f"      {line}" for line in evidence_lines(hop))


def evidence_lines(hop: HopDone) -> list[str]:
    """What a hop rests on, in words and figures."""
    evidence = hop.evidence
    verdict = evidence.get("verdict")
    lines = [str(evidence[name]) for name in ("reason", "approval") if evidence.get(name)]
    if evidence.get("validation_score") is not None and evidence.get("baseline_score") is not None:
        scores = f"{evidence['validation_score']:.3f} instead of {evidence['baseline_score']:.3f}"
        lines.append(f"on the validation questions: {scores}, judged by {evidence.get('judge') or 'labels'}")
    if evidence.get("guardrails"):
        lines += [f"guardrail {name}: {why}" for name, why in evidence["guardrails"].items()]
    elif hop.hop is Hop.GUARDED:
        lines.append("no guardrail is broken")
    if isinstance(verdict, Mapping):
        lines += _verdict_lines(verdict)
    if hop.hop is Hop.CANARY:
        lines.append(f"version {evidence['treatment']} answers {evidence['share']:.0%} of the sessions")
    if hop.hop is Hop.PROMOTED:
        lines.append(f"version {evidence['version']} in place of {evidence['replaces']}")
    return lines


def _verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    lines = [f"verdict: {verdict['outcome']}"]
    reasons = verdict.get("reasons") or ([verdict["reason"]] if verdict.get("reason") else [])
    lines += [str(one) for one in reasons]
    compared = {"target": verdict.get("target"), **(verdict.get("metrics") or {})}
    for name, one in compared.items():
        if one:
            lines.append(
                f"{name}: {one['candidate']:.3f} instead of {one['baseline']:.3f}, difference {one['difference']:+.3f} "
                f"({one['low']:+.3f} to {one['high']:+.3f}), n = {one['n']}"
            )
    for name in ("cost", "latency", "length"):
        if one := verdict.get(name):
            interval = "" if one.get("low") is None else f" ({one['low']:.2f} to {one['high']:.2f})"
            lines.append(f"{name}: {one['ratio']:.2f} times as much{interval}, at most {one['limit']:.2f}")
    if verdict.get("n_needed"):
        lines.append(f"{verdict['n']} different questions, {verdict['n_needed']} needed; look {verdict['look']}")
    return lines
