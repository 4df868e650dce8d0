"""How good is a wording on an item? Run and judged once, kept, and never scored from what no model judged."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from src.domain.identifiers import without_identifiers
from src.domain.improvement import LearningItem, digest
from src.errors import BudgetExhausted, MalformedReply, ModelRefused
from src.llm.budget import Spending
from src.optimization.gepa.bridge import Bridge, RunStopped
from src.optimization.gepa.budget import RunBudget
from src.optimization.gepa.component import Judgement, NotJudged, Ran, RunTools
from src.optimization.gepa.journal import Journal
from src.optimization.improver import Spend

UNUSABLE = (MalformedReply, ModelRefused)
"""A model answered, and nothing can be made of what it said."""
NO_ANSWER = Judgement(0.0, "There was no answer at all. Whatever the input, the component must answer.")
TRIES_OF_A_JUDGE = 2

Value = TypeVar("Value")


class Evaluations:
    """Answers and judgements of one run by wording and item; called from the optimiser's threads.

    An answer with problems scores 0: the problems are the feedback. Every method raises RunStopped when the budget
    is spent, or when component or judge cannot be reached or fails; what was paid for until then is kept.
    """

    def __init__(
        self,
        items: Mapping[str, LearningItem],
        tools: RunTools,
        bridge: Bridge,
        journal: Journal,
        budget: RunBudget,
        *,
        random_state: int,
    ) -> None:
        if tools.judge is None:
            raise NotJudged("no model judges answers, and prompts are not improved against rules: configure a model")
        self.items = items
        self.exact: dict[str, str] = {}
        """The wording that is meant by one that dspy tidied up."""
        self.unusable: list[str] = []
        """Why something that the reflecting model proposed could not be tried."""
        self._tools, self._judge = tools, tools.judge
        self._bridge, self._journal, self._budget = bridge, journal, budget
        self._seed = random_state
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._asked: defaultdict[str, int] = defaultdict(int)
        self._digests = {key: digest(_shown(item)) for key, item in items.items()}
        self._lock = threading.Lock()
        self._task_tokens = int(journal.last.get("task_tokens", 0))
        self._reflection_tokens = int(journal.last.get("reflection_tokens", 0))
        self._calls = int(journal.last.get("calls", 0))
        budget.priced = bool(journal.last.get("priced", True))
        budget.on_change = lambda: journal.note(**self._so_far())

    def ran(self, text: str, item: str) -> Ran:
        """What the component says to an item with ``text`` as its prompt."""
        text = self.exact.get(text, text)
        key = digest([self._seed, text, self._digests[item]])
        with self._lock_of("ran", key):
            if (kept := self._journal.get("ran", key)) is not None:
                return _read_ran(kept)
            ran = self._run(text, self.items[item])
            with self._lock:
                self._task_tokens += ran.tokens or 0
            self._keep("ran", key, _document(ran))
            return _read_ran(_document(ran))

    def judged(self, text: str, item: str) -> Judgement:
        """How good that was."""
        ran = self.ran(text, item)
        if ran.problems:
            return Judgement(0.0, "This must never happen: " + "; ".join(ran.problems) + ".")
        if not ran.answer.strip():
            return NO_ANSWER
        key = digest([self._seed, self._judge.name, self.exact.get(text, text), self._digests[item]])
        with self._lock_of("judged", key):
            if (kept := self._journal.get("judged", key)) is not None:
                return Judgement(**kept)
            found = self._judge_it(self.items[item], ran)
            judgement = replace(found, feedback=without_identifiers(found.feedback), metrics=dict(found.metrics))
            self._keep("judged", key, asdict(judgement))
            return judgement

    def reflected(self, request: Any, ask: Callable[[], Coroutine[Any, Any, tuple[str, int]]]) -> str:
        """The reflecting model's reply to ``request``, a JSON document; ``ask()`` is the coroutine that asks it.

        Raises MalformedReply or ModelRefused, again too in a resumed run, and says so in ``unusable``.
        """
        asked = digest([self._seed, request])
        with self._lock:
            self._asked[asked] += 1
            key = f"{asked}-{self._asked[asked]}"
        kept = self._journal.get("reflected", key)
        if kept is None:
            kept = self._reflection(ask)
            self._keep("reflected", key, kept)
        if "text" in kept:
            return str(kept["text"])
        self.unusable.append(str(kept["unusable"]))
        raise (ModelRefused if kept["refused"] else MalformedReply)(str(kept["unusable"]))

    @property
    def spend(self) -> Spend:
        """What the run has used, earlier attempts included; what is neither task nor reflection was judging."""
        spent = self._budget.spent
        judging = max(0, spent.tokens - self._task_tokens - self._reflection_tokens)
        dollars = spent.dollars if self._budget.priced else None
        return Spend(self._all_calls, self._task_tokens, self._reflection_tokens, judging, dollars)

    @property
    def _all_calls(self) -> int:
        return self._calls + self._budget.calls

    def _lock_of(self, kind: str, key: str) -> threading.Lock:
        with self._lock:
            return self._locks[kind + key]

    def _reflection(self, ask: Callable[[], Coroutine[Any, Any, tuple[str, int]]]) -> dict[str, Any]:
        try:
            text, tokens = self._called(ask())
        except UNUSABLE as error:
            return {"unusable": str(error), "refused": isinstance(error, ModelRefused)}
        with self._lock:
            self._reflection_tokens += tokens
        return {"text": text}

    def _run(self, text: str, item: LearningItem) -> Ran:
        try:
            return self._called(self._tools.runner.run(text, item))
        except UNUSABLE as error:
            return Ran("", problems=(f"the model's reply could not be used ({error})",))

    def _judge_it(self, item: LearningItem, ran: Ran) -> Judgement:
        """What no model judged has no score, so a judge that cannot be used ends the run."""
        error: Exception | None = None
        for _ in range(TRIES_OF_A_JUDGE):
            try:
                return self._called(self._judge.judge(item, ran), spared=(*UNUSABLE, NotJudged))
            except (*UNUSABLE, NotJudged) as found:
                error = found
        raise self._stop(RunStopped(str(error), error)) from error

    def _called(self, work: Coroutine[Any, Any, Value], *, spared: tuple[type[Exception], ...] = UNUSABLE) -> Value:
        """The result of a coroutine that may spend. Whatever it gave, a spent budget ends the run.

        What it raises ends the run too, but for ``spared``: dspy takes every other exception for a score of 0.
        """
        try:
            found = self._bridge(work)
        except BudgetExhausted as error:
            raise self._stop(RunStopped(str(error))) from error
        except Exception as error:
            self._refuse_overspent()
            if isinstance(error, spared):
                raise
            raise self._stop(RunStopped(str(error), error)) from error
        self._refuse_overspent()
        return found

    def _refuse_overspent(self) -> None:
        if self._budget.refused is not None:
            raise self._stop(RunStopped(self._budget.refused))

    def _stop(self, why: RunStopped) -> RunStopped:
        self._bridge.stop(why)
        return why

    def _keep(self, kind: str, key: str, reply: Mapping[str, Any]) -> None:
        self._journal.put(kind, key, reply, **self._so_far())

    def _so_far(self) -> dict[str, Any]:
        committed = self._budget.committed
        with self._lock:
            return {
                "tokens": committed.tokens,
                "dollars": committed.dollars,
                "calls": self._all_calls,
                "task_tokens": self._task_tokens,
                "reflection_tokens": self._reflection_tokens,
                "priced": self._budget.priced,
            }


def already_spent(journal: Journal) -> Spending:
    """What earlier attempts of a run used; of calls that a kill cut off the most that they can have used."""
    return Spending(int(journal.last.get("tokens", 0)), float(journal.last.get("dollars", 0.0)))


def _shown(item: LearningItem) -> list[Any]:
    """What decides how an item is answered and judged."""
    return [item.interaction_id, item.query, dict(item.inputs), list(item.contexts)]


def _document(ran: Ran) -> dict[str, Any]:
    """As it is kept: without identifiers of persons."""
    clean = {name: [without_identifiers(one) for one in getattr(ran, name)] for name in ("contexts", "problems")}
    return {**asdict(ran), "answer": without_identifiers(ran.answer), **clean}


def _read_ran(kept: Mapping[str, Any]) -> Ran:
    return Ran(**{**kept, "contexts": tuple(kept["contexts"]), "problems": tuple(kept["problems"])})
