"""Which parts of the test suite pass, how long do they take and how much memory do they need?

``python scripts/run_batches.py [--from PHASE | --only PHASE | --tier N] [--workers N] [--fresh] [--json]``
runs the phases one after the other and goes on where an earlier run stopped.
Exit codes: 0 all passed, 1 a phase failed or needed more than 4 GB, 2 wrong call, 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.process_family import ProcessFamily  # noqa: E402 — the checkout has to be on the path first
from src.agents.tiers import AGENT_TIERS  # noqa: E402
from src.errors import E2IError  # noqa: E402
from src.settings import PROJECT_ROOT, var_dir  # noqa: E402
from src.storage.partial_files import PartialFile  # noqa: E402


class NothingToRun(E2IError):
    """A phase names no test, or the progress of earlier runs cannot be read."""


@dataclass(frozen=True)
class Phase:
    """Tests run together: ``paths`` under ``tests`` (globs, by spaces); not ``parallel`` where none may overlap."""

    name: str
    paths: str
    parallel: bool = True
    marker: str = ""


MLOPS = "unit/test_mlops/test_"
PHASES = (
    Phase("project", "unit/test_project unit/test_settings"),
    Phase("contracts", "unit/test_contracts unit/test_mlops/test_pandera_schemas.py"),
    Phase("data-quality", f"{MLOPS}*quality*.py {MLOPS}ge_*.py integration/test_validate_command.py"),
    Phase("data-gate", f"{MLOPS}co*.py integration/test_prepare_command.py integration/test_mlops_pipeline.py"),
    Phase("preparation", f"{MLOPS}baseline.py {MLOPS}leakage.py {MLOPS}transforms.py"),
    Phase("features", "unit/test_feature_store integration/test_feature_schedule.py integration/test_features_*.py"),
    Phase("resilience", "unit/test_resilience unit/test_scripted_servers"),
    Phase("models", "unit/test_llm integration/test_llm_command.py"),
    Phase("mlflow", f"{MLOPS}mlflow_*.py {MLOPS}processes.py integration/test_mlflow_*.py"),
    Phase("tracing", "unit/test_mlops/test_tracing_*.py"),
    Phase("opik", "unit/test_mlops/test_opik*.py unit/test_mlops/test_otlp.py"),
    Phase("tuning", f"{MLOPS}optuna_*.py {MLOPS}hpo_*.py {MLOPS}shared_*.py unit/test_execution"),
    Phase("modelling", f"{MLOPS}modelling_*.py {MLOPS}explanation_*.py {MLOPS}serving.py"),
    Phase("training", "unit/test_app integration/test_feature_analysis.py integration/test_agent_runs.py"),
    Phase("faults", "faults", parallel=False),
    Phase("database", "unit/test_database integration/test_migrate.py"),
    Phase("storage", "unit/test_storage contracts integration/test_*database.py integration/test_*postgres.py"),
    Phase("synthetic", "unit/test_synthetic"),
    Phase("engine-estimation", "unit/test_causal_engine/test_[d-p]*.py"),
    Phase("engine-robustness", "unit/test_causal_engine/test_[!d-p]*.py"),
    Phase("agents", "unit/test_agents integration/test_answers.py integration/test_public_data.py"),
    Phase(
        "effects", "integration/test_effect_grid.py integration/test_heterogeneity_*.py integration/test_energy_*.py"
    ),
    Phase("records", "integration/test_audit_chain.py integration/test_prompt*.py"),
    Phase("rag", "unit/test_rag rag"),
    Phase("corpus", "integration/test_corpus*.py integration/test_retrieval*.py"),
    Phase(
        "answers-scored", "integration/test_answer_[ce]*.py integration/test_feedback_*.py integration/test_eval*.py"
    ),
    Phase("asking", "integration/test_ask_*.py integration/test_conv*.py integration/test_mcp_*.py"),
    Phase("asking-models", "integration/test_model_path.py"),
    Phase("surfaces", "unit/test_api integration/test_readme_example.py"),
    Phase("domain", "unit/test_domain integration/test_kpis.py"),
    Phase("reports", "unit/test_report"),
    Phase("datasets", "unit/test_datasets integration/test_loading*.py integration/test_catalogue.py"),
    Phase("observability", "integration/test_obs*.py integration/test_quality_command.py"),
    Phase("commands", "integration/test_data_commands.py integration/test_cli_*.py"),
    Phase("promotion", "unit/test_optimization"),
    Phase("prompt-search", "integration/test_gepa_integration.py"),
    Phase("improvement", "integration/test_improve*.py integration/test_gaming*.py integration/test_demo_*.py"),
    Phase("self-improvement", "integration/test_self_improvement_integration.py", parallel=False),
    Phase("end-to-end", "e2e", parallel=False),
)
PEAK_LIMIT_MB = 4096
SAMPLE_SECONDS = 0.25
ROOT = PROJECT_ROOT
CODE = ("src", "tests", "config", "database", "scripts", "Makefile", "README.md", "pyproject.toml", "requirements.lock")
SELECTABLE = "not slow and not requires_supabase"  # as in the default suite; a marker of our own replaces it
COLUMNS = ("phase", "passed", "failed", "skipped", "seconds", "peak_mb", "state")


@dataclass(frozen=True)
class Result:
    """Outcome of a phase on the code of that fingerprint; ``state`` is passed, failed or over memory."""

    phase: str
    code: str
    state: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    peak_mb: int
    finished_at: str


def fingerprint(root: Path) -> str:
    """Hash of every file a test may depend on."""
    digest = hashlib.sha256()
    for top in (root / name for name in CODE):
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file() and not {"__pycache__", "node_modules"} & set(file.parts):
                digest.update(f"{file.relative_to(root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def command(phase: Phase, workers: int, counts: Path) -> list[str]:
    """The pytest call of a phase. Raises NothingToRun for a path that matches no file."""
    files = []
    for pattern in phase.paths.split():
        if not (found := sorted((ROOT / "tests").glob(pattern))):
            raise NothingToRun(f"phase {phase.name}: no file matches tests/{pattern}")
        files += [str(path.relative_to(ROOT)) for path in found]
    chosen = ["-m", f"{phase.marker} and {SELECTABLE}"] if phase.marker else []
    spread = ["-n", str(workers if phase.parallel else 0), "--dist=loadscope", "--maxfail=3"]
    return [sys.executable, "-m", "pytest", *spread, *chosen, f"--junitxml={counts}", *files]


def run_phase(phase: Phase, workers: int, folder: Path) -> Result:
    """Run one phase to its end, its output in ``folder``; an interrupt ends every process of the phase, no other."""
    code, started, peak = fingerprint(ROOT), time.monotonic(), 0
    counts = folder / f"{phase.name}.xml"
    call = command(phase, workers, counts)
    counts.unlink(missing_ok=True)
    with (
        noted_interrupts() as interrupted,
        (folder / f"{phase.name}.log").open("wb") as log,
        ProcessFamily(call, ROOT, log) as family,
    ):
        while family.exit_code() is None:
            peak = max(peak, family.resident_mb())
            if interrupted.wait(SAMPLE_SECONDS):
                raise KeyboardInterrupt
    state = "failed" if family.exit_code() else "over memory" if peak > PEAK_LIMIT_MB else "passed"
    seconds, now = round(time.monotonic() - started, 1), datetime.now(UTC).isoformat(timespec="seconds")
    return Result(phase.name, code, state, *read_counts(counts), seconds, peak, now)


@contextmanager
def noted_interrupts() -> Iterator[threading.Event]:
    """Note SIGINT and SIGTERM instead of raising at any line: one raised inside a finalizer would be lost."""
    noted = threading.Event()
    before = {which: signal.signal(which, lambda *_: noted.set()) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def read_counts(file: Path) -> tuple[int, int, int]:
    """Passed, failed (errors included) and skipped tests; zeros when pytest did not come to its end."""
    if not file.exists():
        return 0, 0, 0
    suites = ElementTree.parse(file).getroot().iter("testsuite")
    totals = [[int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")] for suite in suites]
    tests, failures, errors, skipped = (sum(column) for column in zip(*totals, strict=True))
    return tests - failures - errors - skipped, failures + errors, skipped


def load_progress(file: Path) -> dict[str, Result]:
    """Results of earlier runs by phase. Raises NothingToRun when the file is not one of ours."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        return {row["phase"]: Result(**row) for row in stored}
    except (ValueError, TypeError, KeyError) as error:
        raise NothingToRun(f"{file} cannot be read ({error}); delete it") from error


def store_progress(file: Path, results: dict[str, Result]) -> None:
    """Write all results, whole or not at all."""
    with PartialFile(file.parent) as partial:
        partial.handle.write(json.dumps([asdict(result) for result in results.values()], indent=1).encode())
        partial.commit(file)


def run(phases: tuple[Phase, ...], workers: int, *, fresh: bool) -> list[Result]:
    """Run the phases that have not passed on this code yet, and store each result as it comes."""
    file, folder, results = var_dir() / "batches.json", var_dir() / "batches", []
    folder.mkdir(parents=True, exist_ok=True)
    progress = load_progress(file)
    for phase in phases:
        before = progress.get(phase.name)
        if not fresh and before and (before.state, before.code) == ("passed", fingerprint(ROOT)):
            say(f"{phase.name}: passed on this code at {before.finished_at}; --fresh runs it again")
        else:
            say(f"{phase.name}: running, {psutil.virtual_memory().available // 2**20} MB of memory free")
            progress[phase.name] = run_phase(phase, workers, folder)
            store_progress(file, progress)
            say(f"{phase.name}: {progress[phase.name].state}, output in {folder / phase.name}.log")
        results.append(progress[phase.name])
    return results


def say(line: str) -> None:
    """Progress goes to standard error, so that standard output holds the table or the JSON document alone."""
    print(line, file=sys.stderr, flush=True)


def table(results: list[Result]) -> str:
    """Results as aligned text."""
    rows = [[name.replace("_", " ") for name in COLUMNS]]
    rows += [[str(getattr(result, name)) for name in COLUMNS] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def chosen_phases(options: argparse.Namespace) -> tuple[Phase, ...]:
    """The phases the options name; a tier has one small phase per agent."""
    if options.tier is not None:
        mark = f"tier{options.tier}"
        agents = [name for name, tier in AGENT_TIERS.items() if tier == options.tier]
        folder = "unit/test_agents/test_ml_foundation" if options.tier == 0 else "unit/test_agents"
        return tuple(Phase(f"{mark}-{name}", f"{folder}/test_{name}", marker=mark) for name in agents)
    first = [phase.name for phase in PHASES].index(options.only or options.start or PHASES[0].name)
    return PHASES[first : first + 1] if options.only else PHASES[first:]


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    names = [phase.name for phase in PHASES]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--from", dest="start", choices=names, help="this phase and those after it")
    which.add_argument("--only", choices=names, help="this phase alone")
    which.add_argument("--tier", type=int, choices=sorted(set(AGENT_TIERS.values())), help="tests of a tier's agents")
    parser.add_argument("--workers", type=int, choices=range(5), default=2, help="pytest workers of a phase")
    parser.add_argument("--fresh", action="store_true", help="run phases again that passed on this code")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen phases and print their table."""
    options = options_of(arguments)
    try:
        results = run(chosen_phases(options), options.workers, fresh=options.fresh)
    except E2IError as error:
        say(f"run_batches: {error}")
        return 2
    except KeyboardInterrupt:
        say("run_batches: interrupted; the same command goes on with the phase that was running")
        return 130
    print(json.dumps([asdict(result) for result in results]) if options.json else table(results))
    return 0 if all(result.state == "passed" for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
