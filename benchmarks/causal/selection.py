"""Which scores tell the true effect function from wrong ones, and how often?

Twenty draws of the acceptance process with 1,500 rows, once with a continuous and once with a binary
outcome: the share of draws in which the truth scores better than each of eleven wrong functions, for
the energy score, its two parts, the R-loss and the published energy scores. Exit code 1 when the
energy score prefers the truth in fewer than 90 % of the draws to any of them, or than 95 % overall.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.causal.effects import report
from src.causal_engine.energy_score.effect_data import effect_data
from src.causal_engine.energy_score.scoring import EnergyScore, score_effects
from tests.effect_processes import WRONG_EFFECTS, draw_sample

IN_EACH, OVERALL = 0.90, 0.95


def figures(score: EnergyScore) -> dict[str, float]:
    named = {"energy score": score.score, "distance": score.distance, "DR-loss": score.loss, "R-loss": score.r_loss}
    return named | {f"published {name}": value for name, value in score.variants}


def wins(rows: int, state: int, *, binary: bool) -> dict[str, dict[str, bool]]:
    """For each kind of score and each wrong function whether the truth does better."""
    sample, rng = draw_sample(rows, state, binary=binary), np.random.default_rng(1_000 + state)
    effects = {name: wrong(sample, rng) for name, wrong in WRONG_EFFECTS.items()} | {"truth": sample.truth}
    scored = {k: figures(v) for k, v in score_effects(effect_data(sample.study), effects, draws=2).scores.items()}
    return {kind: {name: best < scored[name][kind] for name in WRONG_EFFECTS} for kind, best in scored["truth"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_500)
    parser.add_argument("--states", type=int, default=20)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--write", action="store_true", help="put the table into the Markdown file beside this script")
    arguments = parser.parse_args()
    shares: dict[str, dict[str, dict[str, float]]] = {}
    with threadpool_limits(1):
        for outcome in ("continuous", "binary"):
            draws = []
            for state in range(arguments.states):
                draws.append(wins(arguments.rows, state, binary=outcome == "binary"))
                print(f"{outcome} {state + 1}/{arguments.states}", file=sys.stderr, flush=True)
            shares[outcome] = {
                kind: {name: float(np.mean([draw[kind][name] for draw in draws])) for name in WRONG_EFFECTS}
                for kind in draws[0]
            }
    report(__file__, str(__doc__), json.dumps(shares) if arguments.json else _table(shares), write=arguments.write)
    ours = [kinds["energy score"].values() for kinds in shares.values()]
    sys.exit(0 if all(min(each) >= IN_EACH and np.mean(list(each)) >= OVERALL for each in ours) else 1)


def _table(shares: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = []
    for outcome, kinds in shares.items():
        lines += [f"{outcome} outcome:", "", f"| truth beats | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
        for name in (*WRONG_EFFECTS, "all"):
            values = [np.mean(list(k.values())) if name == "all" else k[name] for k in kinds.values()]
            lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
