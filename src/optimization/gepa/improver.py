"""Who makes a better prompt? GEPA or MIPROv2 on the component itself, judged by a model, within hard limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.domain.improvement import ChangeKind, Variant
from src.errors import HPOError
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.opik_connector import OpikConnector
from src.optimization.configuration import ImprovementSettings
from src.optimization.gepa.bridge import Bridge
from src.optimization.gepa.budget import RunBudget
from src.optimization.gepa.component import NotJudged, OpenTools, RunTools
from src.optimization.gepa.configuration import GepaConfig
from src.optimization.gepa.evaluations import Evaluations, already_spent
from src.optimization.gepa.generations import Generation, Listener, Search, Tried, Watcher
from src.optimization.gepa.integration.mlflow_integration import GEPAMLflowCallback, optimization_run, write_candidates
from src.optimization.gepa.integration.opik_integration import GEPAOpikTracer
from src.optimization.gepa.journal import Journal
from src.optimization.gepa.mipro import search_by_mipro
from src.optimization.gepa.optimizer import check_sets, compile_watched, create_gepa_optimizer
from src.optimization.gepa.program import PREDICTOR, examples, judged_metric, numbered, student
from src.optimization.gepa.reflection import PromptProposer, ReflectionEngine, Refusal, reflection_model
from src.optimization.gepa.runs import RunFolder
from src.optimization.gepa.versioning import save_optimized_module
from src.optimization.improver import Candidate, ImprovementTask
from src.optimization.text.copying import copied
from src.optimization.text.privacy import personal

Keep = Callable[[str], Sequence[str]]
"""Which sentences of a prompt must stay word for word."""


def _nothing_refused(text: str) -> str | None:
    return None


def _nothing_kept(text: str) -> Sequence[str]:
    return ()


class PromptImprover:
    """Improves the prompt of a component, see ``Improver``.

    ``open_tools`` opens runner, judge and model on clients that keep the budget it is given. ``max_dollars`` stands
    for that of the settings; None where no price is known, and then tokens alone are limited. ``keep`` names the
    sentences that must stay, ``refusal`` says why a wording may not be used. One that shares more than
    ``longest_copy`` words in a row with an item, or holds what may identify a person, is refused too.
    ``length_margin`` is by how much a wording may grow, as a share of the one in use.

    What is paid for is kept under the task's ``run_name``: carried out again after a kill, a task gets the replies it
    had and ends with the same candidates; carried out again after its end, it gets its result.
    """

    kind = ChangeKind.PROMPT

    def __init__(
        self,
        settings: ImprovementSettings,
        config: GepaConfig,
        open_tools: OpenTools,
        *,
        max_dollars: float | None,
        length_margin: float,
        longest_copy: int,
        keep: Keep = _nothing_kept,
        refusal: Refusal = _nothing_refused,
        mlflow: MLflowConnector | None = None,
        opik: OpikConnector | None = None,
        folder: Path | None = None,
    ) -> None:
        self._settings, self._config = settings, config
        self._open_tools = open_tools
        self._max_dollars, self._length_margin = max_dollars, length_margin
        self._keep, self._refusal, self._longest_copy = keep, refusal, longest_copy
        self._mlflow, self._opik = mlflow, opik
        self._folder = folder or config.versioning.folder

    async def improve(self, task: ImprovementTask) -> Candidate:
        """Search for a better wording; None with the reason where none was better on the validation items.

        Raises HPOError for too few items (naming the counts) and where another process works on the run, NotJudged
        where no model judges, DataUnavailable where component, judge or model cannot be reached: what was paid for
        until then is used when the task is carried out again. A spent budget raises nothing: the best so far is
        returned, and ``reason`` says so.
        """
        check_sets(task.train, task.validation, self._config.reflection_minibatch)
        folder = RunFolder(self._folder, task.run_name, self._config.versioning.keep)
        with folder.journal() as journal:
            # Asked with the journal in hand: another process may have ended the run just before.
            if (candidate := folder.result) is None:
                candidate = await self._carried_out(task, journal, folder)
                folder.finish(candidate)
        return candidate

    async def _carried_out(self, task: ImprovementTask, journal: Journal, folder: RunFolder) -> Candidate:
        budget = RunBudget(self._settings.max_run_tokens, self._max_dollars, already=already_spent(journal))
        component = task.current.component
        bridge = Bridge()
        async with AsyncExitStack() as stack:
            tools = await stack.enter_async_context(self._open_tools(component, budget))
            items = {**numbered(task.train, "train"), **numbered(task.validation, "validation")}
            evaluations = Evaluations(items, tools, bridge, journal, budget, random_state=task.random_state)
            facts = self._facts(task, tools)
            run = await stack.enter_async_context(optimization_run(self._mlflow, component, task.run_name, facts))
            span = await stack.enter_async_context(GEPAOpikTracer(connector=self._opik).trace_run(task.run_name, facts))
            listeners: list[Listener] = [
                GEPAMLflowCallback(run, bridge),
                span.listener(bridge),
                self._progress(task, bridge),
            ]
            watcher = Watcher(listeners, lambda: evaluations.spend)
            search = self._search(task, tools, evaluations, watcher)
            found = await bridge.run_in_thread(search)
            questions = {key: item.query for key, item in items.items()}
            problems = [*watcher.problems, *await span.record_trials(component, found, facts, questions)]
            artifacts = {
                "mlflow_run_id": run.run_id if run is not None else None,
                "opik_optimization_id": span.trace_id,
            }
        candidate = self._candidate(task, found, tools, evaluations.unusable)
        write_candidates(folder.candidates, found)
        kept = {name: value for name, value in artifacts.items() if value is not None}
        if problems:
            kept["not_recorded"] = "; ".join(problems)
        return replace(candidate, artifacts={**candidate.artifacts, **kept})

    def _search(
        self, task: ImprovementTask, tools: RunTools, evaluations: Evaluations, watcher: Watcher
    ) -> Callable[[], Search]:
        text = _text(task.current)
        train, validation = numbered(task.train, "train"), numbered(task.validation, "validation")
        structured = self._settings.optimizer == "gepa"
        model = self._config.reflection_model or self._settings.model or None
        engine = ReflectionEngine(
            tools.model, evaluations, model=model, max_tokens=self._settings.max_tokens, structured=structured
        )
        if not structured:
            return lambda: search_by_mipro(
                text, evaluations, train, validation, reflection_model(engine, model), self._config, watcher,
                random_state=task.random_state, accepted=lambda one: self._acceptable(one, task),
            )  # fmt: skip

        def search() -> Search:
            proposer = PromptProposer(
                keep=self._keep(text),
                lessons=task.lessons if self._settings.use_knowledge_store else (),
                most_characters=self._most_characters(text),
                refusal=lambda one: self._refused(one, task),
                refused=evaluations.unusable,
            )
            trainset, valset = examples(train), examples(validation)
            optimizer = create_gepa_optimizer(
                judged_metric(evaluations),
                trainset,
                valset,
                reflection_model(engine, model),
                self._config.agent(task.current.component).budget,
                task.random_state,
                callbacks=[watcher],
                config=self._config,
                proposer=proposer,
            )
            return compile_watched(optimizer, student(text, evaluations), trainset, valset, watcher)

        return search

    def _most_characters(self, text: str) -> int:
        return int(len(text) * (1 + self._length_margin))

    def _acceptable(self, text: str, task: ImprovementTask) -> bool:
        """Whether a wording that was not made by the proposer complies with what it would have been held to."""
        current = _text(task.current)
        kept = all(sentence in text for sentence in self._keep(current))
        return kept and len(text) <= self._most_characters(current) and self._refused(text, task) is None

    def _refused(self, text: str, task: ImprovementTask) -> str | None:
        """Why a wording may not even be tried; never with words of an item."""
        items = [told for one in (*task.train, *task.validation) for told in one.texts]
        if runs := copied(text, _text(task.current), items, self._longest_copy):
            return f"{len(runs[0].split())} words in a row of it are copied from an example"
        if found := personal(text, _text(task.current), training_texts=items):
            return f"it holds {found[0]}"
        return self._refusal(text)

    def _candidate(self, task: ImprovementTask, found: Search, tools: RunTools, unusable: Sequence[str]) -> Candidate:
        judge = tools.judge.name if tools.judge is not None else None
        ended = (
            f" Proposals that could not be tried: {len(unusable)} (the last one: {unusable[-1]})." if unusable else ""
        )
        ended += f" The run ended early: {found.stopped}." if found.stopped else ""
        if not found.tried:
            return Candidate(None, f"the prompt in use was not judged.{ended}", spend=found.spend, judge=judge)
        best, baseline = found.best, found.baseline
        said = f"{len(found.tried)} wordings were judged on {len(baseline.item_scores)} validation questions"
        if best.score <= baseline.score:
            reason = f"none was better than the one in use ({baseline.score:.3f}): {said}.{ended}"
            return Candidate(None, reason, best.score, baseline.score, found.spend, judge)
        text = best.texts[PREDICTOR]
        saved = save_optimized_module(
            task.current.component,
            best.texts,
            folder=self._folder,
            keep=self._config.versioning.keep,
            score=best.score,
            baseline_score=baseline.score,
            metadata={"run_name": task.run_name, "judge": judge, "random_state": task.random_state},
            now=datetime.now(UTC),
        )
        variant = replace(task.current, content={**task.current.content, "text": text})
        reason = f"{best.score:.3f} instead of {baseline.score:.3f}: {said}.{ended}"
        artifacts = {"version_id": saved.version_id}
        return Candidate(variant, reason, best.score, baseline.score, found.spend, judge, artifacts)

    def _facts(self, task: ImprovementTask, tools: RunTools) -> dict[str, Any]:
        if tools.judge is None:
            raise NotJudged("no model judges answers, and prompts are not improved against rules: configure a model")
        return {
            "component": task.current.component,
            "optimizer": self._settings.optimizer,
            "run_name": task.run_name,
            "random_state": task.random_state,
            "judge": tools.judge.name,
            "baseline_sha256": task.current.sha256,
            "train_items": len(task.train),
            "validation_items": len(task.validation),
        }

    def _progress(self, task: ImprovementTask, bridge: Bridge) -> _Progress:
        most = self._config.metric_calls(task.current.component)
        return _Progress(lambda step, share: bridge.tell(lambda: task.on_progress(step, share)), most)


class _Progress:
    """Tells how far a run is: the share of its metric calls that is used."""

    def __init__(self, tell: Callable[[str, float], None], most: int) -> None:
        self._tell = tell
        self._most = most

    def on_optimization_start(self, texts: Mapping[str, str], train: int, validation: int) -> None:
        self._tell("judging the prompt in use", 0.0)

    def on_generation_start(self, step: int) -> None:
        """Told when it ends."""

    def on_generation_complete(self, generation: Generation, new: Sequence[Tried]) -> None:
        share = min(1.0, generation.metric_calls / self._most)
        self._tell(f"generation {generation.step}, best {generation.best_score:.3f}", share)

    def on_optimization_complete(self, search: Search) -> None:
        self._tell("finished", 1.0)


def _text(current: Variant) -> str:
    text = current.content.get("text")
    if current.kind is not ChangeKind.PROMPT or not isinstance(text, str) or not text.strip():
        raise HPOError(f"{current.component}: there is no prompt text to improve")
    return text
