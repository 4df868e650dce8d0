"""Evaluate answers over a dataset: ``python scripts/run_ragas_eval.py [--dataset FILE] [--fail-on-threshold] …``.

Exits with 0, with 1 when ``--fail-on-threshold`` is given and a threshold is not reached, or a metric is worse than in
the run it is compared with, or nothing of the two runs can be compared, and with 2 for a mistake in options, data or
configuration and for an error nobody expected.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.app.rag_evaluation import (  # noqa: E402 — the checkout has to be on the path first
    EvaluationOutcome,
    EvaluationRequest,
    evaluate_answers,
)
from src.app.rag_evaluation_text import junit, outcome_document, outcome_lines  # noqa: E402
from src.app.tracing import command_span  # noqa: E402
from src.cli import output  # noqa: E402
from src.errors import E2IError, UnreadableFile  # noqa: E402
from src.rag.scores import RAGAS_METRICS  # noqa: E402

REACHED, NOT_REACHED, MISTAKE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run with the given options; returns the exit code."""
    options = parser().parse_args(arguments)
    request = EvaluationRequest(
        dataset=options.dataset,
        thresholds={name: limit for name in RAGAS_METRICS if (limit := getattr(options, name)) is not None},
        log_to_mlflow=not options.no_mlflow,
        mlflow_experiment=options.mlflow_experiment,
        provider=options.provider,
        pipeline=options.pipeline,
        limit=options.limit,
        compare=options.compare,
        run_id=options.run_id,
    )
    try:
        _writable(options.output, options.junit)
        with command_span("evaluate"), output.bar("evaluating", quiet=options.json) as report:
            work = evaluate_answers(
                request,
                lambda done, of: report(f"{done} of {of}", done / of),
                # Written at once: what was paid for outlasts a comparison that goes wrong.
                on_report=lambda found: _write_files(found, options),
            )
            outcome = asyncio.run(work)
        _tell(outcome, options)
    except Exception as error:
        if options.debug or os.environ.get("E2I_DEBUG"):
            raise
        expected = isinstance(error, E2IError)
        said = f"{error}" if expected else f"unexpected {type(error).__name__}: {error} (--debug shows the traceback)"
        print(" ".join(said.split()), file=sys.stderr)
        return MISTAKE
    return NOT_REACHED if outcome.failed and options.fail_on_threshold else REACHED


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Example: run_ragas_eval.py --dataset questions.jsonl --pipeline none --no-mlflow --fail-on-threshold",
    )
    made.add_argument(
        "--dataset", default="default", metavar="FILE", help="JSON or JSON lines, or: default, adversarial"
    )
    for name in RAGAS_METRICS:
        made.add_argument(f"--{name.replace('_', '-')}", type=_share, metavar="0..1", help=f"threshold of {name}")
    made.add_argument("--no-mlflow", action="store_true", help="do not log the run to MLflow")
    made.add_argument("--mlflow-experiment", default="rag-evaluation", metavar="NAME", help="experiment in MLflow")
    made.add_argument("--fail-on-threshold", action="store_true", help="exit with 1 below a threshold")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the report as JSON")
    made.add_argument("--junit", type=Path, metavar="FILE", help="write the report as JUnit XML")
    made.add_argument("--verbose", action="store_true", help="a line for every sample")
    made.add_argument(
        "--provider",
        choices=("auto", "anthropic", "openai", "none"),
        default="auto",
        help="who judges; none: heuristic",
    )
    made.add_argument("--limit", type=int, metavar="N", help="the first N samples only")
    made.add_argument(
        "--pipeline",
        choices=("corpus", "none"),
        default="corpus",
        help="whose answers: of this system over its corpus, or those in the dataset",
    )
    made.add_argument("--compare", metavar="RUN_OR_FILE", help="an earlier run's id, or its report written by --output")
    made.add_argument("--run-id", metavar="UUID", help="continue the interrupted run of that id")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    made.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return made


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a threshold lies between 0 and 1, not at {text}")
    return value


def _writable(*files: Path | None) -> None:
    """Raises UnreadableFile for what cannot be written as a file, before anything is paid for."""
    wanted = [file for file in files if file is not None]
    for file in wanted:
        target = file.resolve()
        if not target.parent.is_dir():
            raise UnreadableFile(f"{file}: the folder does not exist")
        if target.is_dir():
            raise UnreadableFile(f"{file}: is a folder, not a file to write to")
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise UnreadableFile(f"{file}: cannot be written (no permission)")
    if len({file.resolve() for file in wanted}) < len(wanted):
        raise UnreadableFile(f"{wanted[0]}: is named for the report and for JUnit; give each a file of its own")


def _tell(outcome: EvaluationOutcome, options: argparse.Namespace) -> None:
    _write_files(outcome, options)
    if options.json:
        output.print_json(outcome_document(outcome))
        return
    for line in outcome_lines(outcome, verbose=options.verbose):
        print(line)


def _write_files(outcome: EvaluationOutcome, options: argparse.Namespace) -> None:
    import orjson

    _write(options.output, orjson.dumps(outcome_document(outcome), option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z))
    _write(options.junit, junit(outcome))


def _write(file: Path | None, content: bytes) -> None:
    if file is None:
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UnreadableFile(f"{file}: cannot be written ({type(error).__name__})") from error


if __name__ == "__main__":
    sys.exit(main())
