"""How does an optimisation appear in MLflow? One run; its steps are the generations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from src.mlops.mlflow_connector import MLflowConnector, MLflowRun
from src.optimization.gepa.bridge import Bridge
from src.optimization.gepa.generations import Generation, Search, Tried

EXPERIMENT = "prompt_optimization"


@asynccontextmanager
async def optimization_run(
    connector: MLflowConnector | None, component: str, run_name: str, params: Mapping[str, Any]
) -> AsyncIterator[MLflowRun | None]:
    """The run of one optimisation; None without a connector.

    Runs of processes that are gone are ended first, so that a resumed optimisation leaves none that seems to run.
    """
    if connector is None:
        yield None
        return
    experiment = await connector.get_or_create_experiment(EXPERIMENT)
    await connector.end_abandoned_runs(experiment)
    async with connector.start_run(experiment, run_name, {"component": component, "kind": "gepa"}) as run:
        await run.log_params(params)
        yield run


class GEPAMLflowCallback:
    """Writes generations into a run as they happen; without a run it writes nothing.

    Metrics per step: best and mean score, size of the Pareto front, candidates, metric calls, tokens and dollars.
    Artifacts: the instructions in use and the best ones as text, all candidates as JSON.
    """

    def __init__(self, run: MLflowRun | None, bridge: Bridge) -> None:
        self._run = run
        self._bridge = bridge

    def on_optimization_start(self, texts: Mapping[str, str], train: int, validation: int) -> None:
        """Record what is optimised on how much."""
        if self._run is not None:
            lengths = {f"characters_{name}": len(text) for name, text in texts.items()}
            self._bridge(self._run.log_params({"train_items": train, "validation_items": validation, **lengths}))

    def on_generation_start(self, step: int) -> None:
        """Nothing to write yet."""

    def on_generation_complete(self, generation: Generation, new: Sequence[Tried] = ()) -> None:
        """Record one step."""
        if self._run is not None:
            self._bridge(self._run.log_metrics(generation.metrics(), generation.step))

    def on_optimization_complete(self, search: Search) -> None:
        """Record the candidates and what came of them."""
        if self._run is None or not search.tried:
            return
        with tempfile.TemporaryDirectory(prefix="e2i-gepa-") as folder:
            files = write_instructions(Path(folder) / "instructions", search)
            self._bridge(self._run.log_artifact(files))
        gain = search.best.score - search.baseline.score
        tags = {"best_candidate": search.best.index, "stopped": search.stopped or "", "improved": gain > 0}
        self._bridge(self._run.set_tags(tags))
        last = search.generations[-1].step if search.generations else 0
        self._bridge(self._run.log_metrics({"gain": gain}, last))


def write_instructions(folder: Path, search: Search) -> Path:
    """The texts of a search as files below ``folder``."""
    folder.mkdir(parents=True)
    for kind, tried in (("baseline", search.baseline), ("best", search.best)):
        for name, text in tried.texts.items():
            (folder / f"{kind}_{name}.md").write_text(text, "utf-8")
    write_candidates(folder / "candidates.json", search)
    return folder


def write_candidates(file: Path, search: Search) -> None:
    """All candidates of a search as JSON: texts, scores, parents."""
    found = [{**asdict(one), "texts": dict(one.texts), "item_scores": dict(one.item_scores)} for one in search.tried]
    file.write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")
