"""How is the split of an effect told in a few lines?"""

from __future__ import annotations

from src.causal_engine.mediation.report import MediationReport, PathEffect
from src.causal_engine.wording import MINUS, number, plain


def mediation_findings(report: MediationReport | None) -> tuple[str, ...]:
    """What runs through the mediators and what does not, or why it cannot be said."""
    if report is None:
        return ()
    through = ", ".join(plain(name) for name in report.mediators) or "mediators"
    if report.refusal:
        return (f"The effect is not split at {through}: {report.refusal}.",)
    lines = [
        f"Of the total of {_told(report.effect('total'))}, {_told(report.effect('indirect'))} goes through {through} "
        f"and {_told(report.effect('direct'))} does not."
    ]
    if report.share_indirect is not None and 0 <= report.share_indirect <= 1:
        lines.append(f"That is {report.share_indirect:.0%} through {through}.")
    return tuple(lines)


def mediation_limits(report: MediationReport | None) -> tuple[str, ...]:
    """On what the split rests, and how little would undo it."""
    if report is None or report.refusal:
        return ()
    through = ", ".join(plain(name) for name in report.mediators)
    lines = [f"The split rests on more than the effect does: {' '.join(report.assumptions)}"]
    rho = report.rho_without_indirect
    if rho is not None:
        told = f"{rho:.2f}".replace("-", MINUS)
        lines.append(
            f"Were what else moves {through} and the outcome correlated at {told}, nothing would go through {through} "
            f"(linear model; a shared cause explaining {abs(rho):.0%} of what is left of each would do)."
        )
    return tuple(lines)


def _told(part: PathEffect) -> str:
    return f"{number(part.value)} ({number(part.lower)} to {number(part.upper)})"
