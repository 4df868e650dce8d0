"""Evaluate answers over a dataset: ``python scripts/run_ragas_eval.py [--dataset FILE] [--fail-on-threshold] …``.

Exits with 0, with 1 when ``--fail-on-threshold`` is given and a threshold is not reached or a metric is worse than in
the run it is compared with, and with 2 for a mistake in options, data or configuration.
"""

from __future__ import annotations

import argparse
import asyncio
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
            outcome = asyncio.run(evaluate_answers(request, lambda done, of: report(f"{done} of {of}", done / of)))
        _tell(outcome, options)
    except E2IError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    failed = bool(outcome.failures or outcome.inferior)
    return NOT_REACHED if failed and options.fail_on_threshold else REACHED


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
    """Raises UnreadableFile for a file whose folder is not there, before anything is paid for."""
    for file in files:
        if file is not None and not file.resolve().parent.is_dir():
            raise UnreadableFile(f"{file}: the folder does not exist")


def _tell(outcome: EvaluationOutcome, options: argparse.Namespace) -> None:
    import orjson

    document = outcome_document(outcome)
    _write(options.output, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z))
    _write(options.junit, junit(outcome))
    if options.json:
        output.print_json(document)
        return
    for line in outcome_lines(outcome, verbose=options.verbose):
        print(line)


def _write(file: Path | None, content: bytes) -> None:
    if file is None:
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UnreadableFile(f"{file}: cannot be written ({type(error).__name__})") from error


if __name__ == "__main__":
    sys.exit(main())
