#!/usr/bin/env python
"""Generate a synthetic dataset with its causal truth.

Example: python scripts/generate_data.py --process confounded --rows 100000 --random-state 7 --out var/confounded
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.errors import E2IError
from src.synthetic import PROCESS_NAMES, generate, generate_panel, hcps_for_rows
from src.synthetic.library import PANEL
from src.synthetic.spec import OUTCOME_KINDS

Progress = Callable[[int, int], None]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when the folder was written, 2 with one line on standard error when it was not."""
    arguments = parse(argv)
    try:
        with progress_bar(arguments.process) as on_progress:
            summary = run(arguments, on_progress)
    except (E2IError, OSError) as error:
        print(f"generate_data: {error}", file=sys.stderr)
        return 2
    print(json.dumps(summary) if arguments.json else "\n".join(f"{key}: {value}" for key, value in summary.items()))
    return 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--process", required=True, metavar="NAME", help=", ".join(PROCESS_NAMES))
    parser.add_argument("--rows", required=True, type=int, help="rows (for the panel: HCP-months, at least)")
    parser.add_argument("--random-state", type=int, default=42, help="default: 42")
    parser.add_argument("--out", required=True, type=Path, help="new or empty folder")
    parser.add_argument("--outcome", choices=OUTCOME_KINDS, default="continuous", help="default: continuous")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, on_progress: Progress) -> dict[str, object]:
    """Generate into the folder and summarise what is there."""
    summary: dict[str, object] = {"process": arguments.process, "random_state": arguments.random_state}
    if arguments.process == PANEL:
        panel = generate_panel(
            hcps_for_rows(arguments.rows), arguments.random_state, out_dir=arguments.out, on_progress=on_progress
        )
        tables = {name: len(frame) for name, frame in panel.tables.items()}
        return {**summary, "hcps": panel.truth.n_hcps, "tables": tables, "folder": str(arguments.out)}
    data = generate(
        arguments.process,
        arguments.rows,
        arguments.random_state,
        out_dir=arguments.out,
        outcome=arguments.outcome,
        on_progress=on_progress,
    )
    truth = data.truth
    return {
        **summary,
        "rows": truth.n_rows,
        "ate": truth.ate,
        "naive": truth.naive_estimate,
        "folder": str(arguments.out),
    }


@contextmanager
def progress_bar(name: str) -> Iterator[Progress]:
    """A bar on standard error, silent where that is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
