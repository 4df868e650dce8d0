"""What does the demonstration's language model say? Rules behind a real wire: no quality of its own, but obedient.

Its explanations are as good as its instructions ask for: it says how sure an answer is, and what to do next, only
where it is told to. As a judge it reads whether an answer says so; as the model that reflects it adds the instruction
that the judge misses. Which instruction is better is therefore known, and nothing else about it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.domain.rubric import CRITERIA
from src.scripted_servers.lexical_judge import lexical_judge, sentences, supported
from src.scripted_servers.replies import Prompt, Reply

Said = dict[str, Any]

JUDGES = "You judge answers given to commercial analysts"
REFLECTS = "You improve the instructions of one component"
SURE = "- Say in the summary how sure the answer is and what could change it."
NEXT = "- Say in the points which step comes next and how it is checked."
SLOPPY = "Everything here is settled."
"""What the model says when it has gone wrong, whatever it is told."""

_SURE_SAID = "The confidence in this is {confidence}; what stands under the caveats could change it."
_NEXT_SAID = "The next step is the recommendation below, checked with a randomised hold-out."
_PLAIN = "This is what was computed."
LOWEST = 1.0
_SCORES = {
    "actionability": (5.0, 1.5, "The next step is"),
    "uncertainty_communication": (4.5, 1.5, "The confidence in this is"),
    "causal_validity": (3.5, 3.5, ""),
    "evidence_chain": (4.0, 4.0, ""),
    "regulatory_awareness": (4.0, 4.0, ""),
}
"""What an answer scores with and without the words that the criterion is judged by."""
_INSTRUCTION = re.compile(r"\[\[ ## current_instruction ## \]\]\s*(.*?)\s*(?=\[\[ ## |\Z)", re.DOTALL)
_DOCUMENT = re.compile(r'<document number="(\d+)">\n<about>.*?</about>\n(.*?)\n</document>', re.DOTALL)
_ASKED = re.compile(r"<question>(.*?)</question>", re.DOTALL)
HALF_POINT_IN = 60
"""One judgement in so many is half a point off: no judge is quite steady."""


@dataclass
class ObedientModel:
    """Replies to whatever the agents, the judges and the optimiser ask.

    Instructions that hold the words ``spoilt_by`` are answered as badly as it can: a model that has gone wrong.
    ``asked`` counts what it was asked for.
    """

    spoilt_by: str = ""
    half_point_in: int | None = HALF_POINT_IN
    asked: dict[str, int] = field(default_factory=dict)
    _ragas: Any = field(init=False)

    def __post_init__(self) -> None:
        self._ragas = lexical_judge(verdicts=_verdicts, question=_question)

    def __call__(self, prompt: Prompt) -> Reply:
        """The reply to one prompt."""
        kind = kind_of(prompt)
        self.asked[kind] = self.asked.get(kind, 0) + 1
        if kind == "ragas":
            reply: Reply = self._ragas(prompt)
            return reply
        return Reply.json(getattr(self, f"_{kind}")(prompt))

    def _judge(self, prompt: Prompt) -> Said:
        document = json.loads(prompt.last[prompt.last.index("{") :])
        answer = document["answer"]
        scores: Said = {name: _judged(name, answer, self.half_point_in) for name in CRITERIA}
        weak = [name for name, one in scores.items() if one["score"] < 3]
        missing = {"actionability": "say the next step", "uncertainty_communication": "say how sure it is"}
        return {**scores, "suggestion": "; ".join(missing[name] for name in weak if name in missing)}

    def _reflect(self, prompt: Prompt) -> Said:
        """The current instructions with the line that the feedback asks for, one at a time."""
        current = _INSTRUCTION.findall(prompt.last)[-1]
        wanted = {"say how sure": SURE, "say the next step": NEXT}
        missing = [line for sign, line in wanted.items() if line not in current and sign in prompt.text]
        new = "\n".join([current, *missing[:1]])
        return {"new_instruction": new}

    def _explain(self, prompt: Prompt) -> Said:
        document = json.loads(prompt.turns[0][1])
        evidence = next(one["evidence"][0]["id"] for one in document["findings"])
        if self.spoilt_by and self.spoilt_by in prompt.system:
            return {"summary": SLOPPY, "points": [], "insights": [], "quotes": []}
        sure = _SURE_SAID.format(confidence=document["confidence"]) if SURE in prompt.system else _PLAIN
        points = [{"text": _NEXT_SAID, "evidence": [evidence]}] if NEXT in prompt.system else []
        return {"summary": sure, "points": points, "insights": [], "quotes": []}

    def _documents(self, prompt: Prompt) -> Said:
        text = prompt.turns[0][1]
        wanted = _words(_ASKED.findall(text)[0])
        found = [
            (len(_words(one) & wanted), int(number), one)
            for number, body in _DOCUMENT.findall(text)
            for one in sentences(body)
        ]
        shared, number, sentence = max(found, default=(0, 0, ""))
        if shared < 3:
            return {"sentences": [], "missing": "the documents say nothing about it"}
        return {"sentences": [{"text": sentence, "sources": [{"document": number, "quote": sentence}]}], "missing": ""}

    def _patterns(self, prompt: Prompt) -> Said:
        return {"patterns": []}

    def _sort(self, prompt: Prompt) -> Said:
        return {"about_this_business": True, "unclear": False, "parts": []}


def kind_of(prompt: Prompt) -> str:
    """What a prompt asks for: judge, reflect, explain, documents, patterns, sort, or a step of RAGAS."""
    first = prompt.turns[0][1]
    if prompt.system.startswith(JUDGES):
        return "judge"
    if REFLECTS in prompt.text:
        return "reflect"
    if first.startswith("<documents>"):
        return "documents"
    if first.startswith("{"):
        document = json.loads(first)
        return "explain" if "findings" in document else "patterns" if "answers" in document else "sort"
    return "ragas"


def _judged(criterion: str, answer: str, half_point_in: int | None) -> Said:
    there, absent, sign = _SCORES[criterion]
    if SLOPPY in answer:
        return _criterion(LOWEST, "the answer says nothing that helps")
    score = there if sign in answer else absent
    wanted = sign.lower() or "what it should"
    reasoning = f"the answer {'says' if score == there else 'does not say'} {wanted}"
    unsteady = int.from_bytes(hashlib.sha256(f"{criterion}{answer}".encode()).digest()[:4])
    if half_point_in is not None and unsteady % half_point_in == 0:
        score -= 0.5
    return _criterion(score, reasoning)


def _criterion(score: float, reasoning: str) -> Said:
    return {"reasoning": reasoning, "evidence_quote": "", "score": score}


def _verdicts(asked: Mapping[str, Any]) -> Said:
    """By words; sentences that claim nothing of the data are no claims that could be wrong."""
    judged = [
        {
            "statement": one,
            "reason": "by words",
            "verdict": int(_claims_nothing(one) or supported(one, asked["context"])),
        }
        for one in asked["statements"]
    ]
    return {"statements": judged}


def _claims_nothing(sentence: str) -> bool:
    return sentence.startswith((_PLAIN, SLOPPY, "The confidence in this is", "The next step is", "what stands under"))


def _question(asked: Mapping[str, Any]) -> Said:
    return {"question": str(asked["response"])[:80], "noncommittal": 0}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w{4,}", text.lower()))
