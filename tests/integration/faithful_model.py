"""What would a language model say that does what its prompts ask? Scripted replies, which a test may change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from src.agents.tool_composer.decomposing import decompose
from src.agents.tool_composer.names import read_names
from src.agents.tool_composer.planning import plan_by_rules
from src.agents.tool_composer.state import ComposeContext, SubQuestion
from src.agents.tool_composer.tools.registry import TOOLS
from src.domain.vocabulary import Vocabulary, load_vocabulary
from src.scripted_servers import anthropic, openai
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.replies import Prompt, Reply, Script

WIRES = {"anthropic": ScriptedAnthropic, "openai": ScriptedOpenAI}

Said = dict[str, Any]
Change = Callable[[str, Said], Said]
_ASKED = re.compile(r"<question>(.*?)</question>", re.DOTALL)
_DOCUMENT = re.compile(r'<document number="(\d+)">\n<about>.*?</about>\n(.*?)\n</document>', re.DOTALL)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")
_MARKED = re.compile(r"(?m)^(?:#|- )")
MOST_POINTS = 3


def unchanged(kind: str, said: Said) -> Said:
    return said


@dataclass
class FaithfulModel:
    """Replies to ``sort``, ``decompose``, ``plan``, ``synthesize``, ``explain`` and ``documents``.

    ``expected`` is the key to the question set: what a good reader makes of a question. ``change`` gets each reply
    before it is sent, ``kinds`` and ``prompts`` are those that were asked for.
    """

    today: date
    expected: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    change: Change = unchanged
    kinds: list[str] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    _vocabulary: Vocabulary = field(default_factory=load_vocabulary)
    _taken_apart: dict[tuple[str, ...], tuple[str, tuple[SubQuestion, ...]]] = field(default_factory=dict)

    def __call__(self, prompt: Prompt) -> Reply:
        kind, asked = _asked(prompt)
        self.kinds.append(kind)
        self.prompts.append(prompt)
        return Reply.json(self.change(kind, getattr(self, f"_{kind}")(asked)))

    def _sort(self, asked: Said) -> Said:
        question = asked["question"]
        key = self.expected.get(question, {"intent": "general"})
        return {
            "about_this_business": key.get("rule") != "out_of_domain",
            "unclear": "asks" in key,
            "parts": [{"text": question, "kind": key["intent"]}] if "intent" in key else [],
        }

    def _decompose(self, asked: Said) -> Said:
        question = asked["facts"]["question"]
        parts = decompose(question, ComposeContext(), self._vocabulary, self.today).sub_questions
        self._taken_apart[tuple(one.text for one in parts)] = (question, parts)
        return {
            "sub_questions": [
                {"text": one.text, "intent": one.intent, "depends_on": list(one.depends_on)} for one in parts
            ]
        }

    def _plan(self, asked: Said) -> Said:
        question, parts = self._taken_apart[tuple(one["text"] for one in asked["facts"]["sub_questions"])]
        plan = plan_by_rules(
            parts,
            [read_names(one.text, self._vocabulary, self.today) for one in parts],
            read_names(question, self._vocabulary, self.today),
            tools=TOOLS,
            vocabulary=self._vocabulary,
        )
        steps = [
            {
                "ordinal": one.ordinal,
                "tool": one.tool,
                "arguments_json": json.dumps(one.arguments),
                "sub_question": one.sub_question,
                "depends_on": list(one.depends_on),
            }
            for one in plan.steps
        ]
        return {"steps": steps}

    def _synthesize(self, asked: Said) -> Said:
        summaries = [one["summary"] for one in asked["facts"]["steps"]]
        return {"headline": summaries[0], "paragraphs": summaries}

    def _explain(self, asked: Said) -> Said:
        told = [
            {"text": each["text"], "evidence": each["evidence"]}
            for one in asked["findings"]
            for each in one["statements"]
            if each["kind"] == "finding" and each["evidence"]
        ]
        confidence = asked["confidence"]
        return {
            "summary": f"It rests on what is listed here; the confidence is {confidence}.",
            "points": told[:MOST_POINTS],
            "insights": [{"category": "finding", **one} for one in told[:MOST_POINTS]],
            "quotes": [],
        }

    def _documents(self, asked: Said) -> Said:
        wanted = _words(asked["question"])
        number, sentence, words = max(asked["sentences"], key=lambda one: len(one[2] & wanted))
        if len(words & wanted) < 2:
            return {"sentences": [], "missing": "the documents say nothing about it"}
        return {"sentences": [{"text": sentence, "sources": [{"document": number, "quote": sentence}]}], "missing": ""}


def kind_asked_for(wire: str, body: dict[str, Any]) -> str:
    """Which reply a request wants."""
    read = {"anthropic": anthropic.read_prompt, "openai": openai.read_prompt}
    return _asked(read[wire](body))[0]


def _asked(prompt: Prompt) -> tuple[str, Said]:
    """Which reply is wanted, and what the first message says."""
    text = prompt.turns[0][1]
    if text.startswith("<documents>"):
        sentences = [
            (int(number), sentence.strip(), _words(sentence))
            for number, body in _DOCUMENT.findall(text)
            for sentence in _SENTENCE.findall(_MARKED.sub("", body))
        ]
        (question,) = _ASKED.findall(text)
        return "documents", {"question": question, "sentences": sentences}
    document = json.loads(text)
    if "task" in document:
        return document["task"], document
    return ("explain" if "findings" in document else "sort"), document


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w{4,}", text.lower()))


@contextmanager
def serving(
    wire: str, script: Script, monkeypatch: pytest.MonkeyPatch, **server: Any
) -> Iterator[ScriptedAnthropic | ScriptedOpenAI]:
    """A server that speaks as the vendor does, with the environment of a user who has that vendor's key."""
    with WIRES[wire](script, **server) as running:
        monkeypatch.setenv(f"{wire.upper()}_API_KEY", "plainkeyZq7Wx2Lm9Rt4Vb8Nc3")
        monkeypatch.setenv(f"{wire.upper()}_BASE_URL", running.base_url)
        yield running
