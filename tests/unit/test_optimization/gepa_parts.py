"""A component whose answers depend on what its prompt asks for, a judge that reads them, and a model that learns."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

from src.domain.improvement import ChangeKind, LearningItem, Lesson, Variant
from src.domain.prices import ModelPrice, PriceTable
from src.errors import DataUnavailable
from src.llm.budget import Budget
from src.llm.client import LLMClient, LLMReply, Message
from src.llm.configuration import load_llm_config
from src.llm.detection import client_over
from src.llm.scripted import ScriptedVendor
from src.optimization.configuration import ImprovementSettings
from src.optimization.gepa.component import Judgement, Ran, RunTools
from src.optimization.gepa.configuration import GepaConfig, load_gepa_config
from src.optimization.gepa.improver import PromptImprover
from src.optimization.gepa.library import load_dspy
from src.optimization.improver import ImprovementTask
from src.scripted_servers.replies import Prompt, Reply

WEAK = "You put findings into words.\nNothing about single patients or prescribers."
KEPT = "Nothing about single patients or prescribers."
WANTED = {
    "interval": ("Give the 95 % interval of each figure.", "The 95 % interval is in the findings."),
    "owner": ("Name who should act.", "The regional lead should act."),
    "limits": ("Say what the evidence cannot show.", "It cannot show what happens elsewhere."),
}
"""What a good answer has: the sentence of a prompt that asks for it, and the answer's sentence."""
PRICES = PriceTable(as_of=date(2026, 10, 7), models={"scripted": ModelPrice(input=1.0, output=2.0)})
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def item(number: int, question: str = "", **changes: Any) -> LearningItem:
    """An answered question of the component."""
    asked = question or f"Question {number} about region {['north', 'south', 'east', 'west'][number % 4]}?"
    known = {"contexts": ("The effect is 4.2.",), "inputs": {"findings": f"effect {number}.5"}, **changes}
    return LearningItem(f"item-{number}", f"trace-{number}", "explainer", asked, "old answer", created_at=NOW, **known)


def items(first: int, count: int) -> list[LearningItem]:
    """Answered questions in a row."""
    return [item(number) for number in range(first, first + count)]


def task(run_name: str = "cycle-1-explainer", *, lessons: Sequence[Lesson] = (), **changes: Any) -> ImprovementTask:
    """Six items to learn from, five to choose by."""
    current = Variant("explainer", ChangeKind.PROMPT, {"text": WEAK})
    given = {"current": current, "train": items(0, 6), "validation": items(6, 5), "random_state": 7, **changes}
    return ImprovementTask(lessons=lessons, run_name=run_name, **given)


def answer_to(prompt: Prompt) -> str:
    """What the component's model says: more where its instructions ask for more."""
    said = [answer for asked, answer in WANTED.values() if asked in prompt.system]
    return " ".join(["The effect is positive.", *said])


def verdict_on(answer: str) -> dict[str, Any]:
    """What the judge's model says of an answer."""
    missing = [name for name, (_, said) in WANTED.items() if said not in answer]
    return {"score": 1 - 0.3 * len(missing), "feedback": "; ".join(f"the {name} is missing" for name in missing)}


def better_prompt(prompt: Prompt) -> dict[str, str]:
    """What the reflecting model proposes: the prompt it is shown, with the first thing that the feedback misses."""
    current = current_of(prompt)
    missing = re.findall(r"the (\w+) is missing", prompt.last)
    wanted = next((WANTED[name][0] for name in missing if WANTED[name][0] not in current), "")
    return {"new_instruction": f"{current}\n{wanted}".strip()}


def current_of(prompt: Prompt) -> str:
    """The instructions that the reflecting model is shown."""
    return prompt.last.split("[[ ## current_instruction ## ]]\n")[1].split("\n\n[[ ## ")[0]


def scripted(reflect: Callable[[Prompt], Any] = better_prompt) -> Callable[[Prompt], Reply]:
    """The one model behind component, judge and reflection."""

    def reply(prompt: Prompt) -> Reply:
        if "[[ ## current_instruction ## ]]" in prompt.last:
            return Reply.json(reflect(prompt))
        if prompt.system == "Judge the answer.":
            return Reply.json(verdict_on(prompt.last))
        return Reply(answer_to(prompt))

    return reply


@dataclass
class AskingRunner:
    """The component: its prompt is the system prompt of one call."""

    client: LLMClient
    ran: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, text: str, item: LearningItem) -> Ran:
        self.ran.append((text, item.interaction_id))
        reply = await self.client.complete([Message("user", item.query)], purpose="narration", system=text)
        if not isinstance(reply, LLMReply):
            raise DataUnavailable(f"the component's model cannot be reached: {reply.reason}")
        tokens = (reply.input_tokens or 0) + (reply.output_tokens or 0)
        return Ran(reply.text, item.contexts, tokens, reply.cost)


@dataclass
class AskingJudge:
    """The judge: one call for each answer."""

    client: LLMClient
    name: str = "scripted-judge"

    async def judge(self, item: LearningItem, ran: Ran) -> Judgement:
        reply = await self.client.complete([Message("user", ran.answer)], purpose="judge", system="Judge the answer.")
        if not isinstance(reply, LLMReply):
            raise DataUnavailable(f"the judge cannot be reached: {reply.reason}")
        found = orjson.loads(reply.text)
        return Judgement(found["score"], found["feedback"] or "nothing is missing", {"complete": found["score"]})


class Model:
    """A scripted model, and the tools made on it; counts what it was asked over all runs."""

    def __init__(self, script: Any = None, *, judge: Callable[[LLMClient], Any] = AskingJudge) -> None:
        self.vendor = ScriptedVendor(script or scripted())
        self.judge = judge
        self.runner: AskingRunner | None = None
        self.wrap: Callable[[AskingRunner], Any] = lambda runner: runner
        self.budgets: list[Budget] = []

    @property
    def calls(self) -> int:
        return len(self.vendor.requests)

    @property
    def reflections(self) -> list[str]:
        """The prompts of the reflecting model."""
        return [one.messages[-1].content for one in self.vendor.requests if one.purpose == "reflection"]

    @asynccontextmanager
    async def open(self, component: str, budget: Budget) -> AsyncIterator[RunTools]:
        config = load_llm_config(environ={})
        models = dict.fromkeys(config.anthropic.models.by_purpose(), "scripted")
        client = client_over(self.vendor, config, models=models, prices=PRICES, budget=budget)
        self.budgets.append(budget)
        self.runner = AskingRunner(client)
        yield RunTools(self.wrap(self.runner), self.judge(client), client)


def settings(**changes: Any) -> ImprovementSettings:
    """The shipped settings of improvement with changes."""
    shipped = {
        "optimizer": "gepa", "model": "", "max_tokens": 2000, "use_knowledge_store": True, "veto_similarity": 0.92,
        "retrieval_trials": 5, "max_run_tokens": 2_000_000, "max_run_dollars": 10.0, "random_state": 42,
    }  # fmt: skip
    return ImprovementSettings.model_validate({**shipped, **changes})


def config(calls: int = 40, **changes: Any) -> GepaConfig:
    """The shipped configuration with few metric calls."""
    shipped = load_gepa_config(environ={}).model_dump()
    budgets = dict.fromkeys(("light", "medium", "heavy"), calls)
    return GepaConfig.model_validate({**shipped, "budgets": budgets, **changes})


def improver(model: Model, folder: Path, *, calls: int = 40, **changes: Any) -> PromptImprover:
    """An improver on the scripted model; ``changes`` are its arguments, ``settings`` and ``config`` included."""
    options: Mapping[str, Any] = {
        "max_dollars": None,
        "length_margin": 3.0,
        "longest_copy": 8,
        "keep": lambda text: [KEPT],
        "folder": folder,
        **changes,
    }
    given = dict(options)
    chosen, configuration = given.pop("settings", settings()), given.pop("config", config(calls))
    return PromptImprover(chosen, configuration, model.open, **given)


class WritingEngine:
    """A dspy engine with scripted replies."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply = reply
        self.asked: list[str] = []

    def complete(self, request: Any) -> Any:
        from dspy.lm15 import Message, Response, TextPart, Usage

        prompt = "\n".join([str(request.system or ""), *(one.text or "" for one in request.messages)])
        self.asked.append(prompt)
        said = Message.assistant([TextPart(self.reply(prompt))])
        usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
        return Response(id=None, model="m", message=said, finish_reason="stop", usage=usage)


def writing_model(reply: Callable[[str], str]) -> Any:
    """A dspy model whose reply is a function of the prompt."""
    return load_dspy().LM("e2i/test", engine=WritingEngine(reply), cache=False, num_retries=0)
