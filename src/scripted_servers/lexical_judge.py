"""What does a judge say that can only compare words? A script for the servers: RAGAS's prompts in, its JSON out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from src.scripted_servers.replies import Prompt, Reply

Document = dict[str, Any]
_STATEMENTS = "Break down each sentence"
_VERDICTS = "judge the faithfulness"
_QUESTION = "Generate a question"
_USEFUL = "verify if the context was useful"
_ATTRIBUTED = "can be attributed to the given context"
_SORTED = "Given a ground truth and an answer statements"
EVASIVE = ("i don't know", "i cannot")


def lexical_judge(**changed: Callable[[Document], Any]) -> Callable[[Prompt], Reply]:
    """Replies to every prompt of RAGAS; ``changed`` replaces the step of that name (statements, verdicts, question,
    useful, attributed, sorted_out): it takes the prompt's input and gives the reply's document."""
    steps = {**_STEPS, **changed}

    def reply(prompt: Prompt) -> Reply:
        text = prompt.turns[0][1]
        step = next(name for name, sign in _SIGNS.items() if sign in text)
        made = steps[step](input_of(text))
        return made if isinstance(made, Reply) else Reply.json(made)

    return reply


def input_of(prompt: str) -> Document:
    """The JSON that RAGAS asks about, at the end of its prompt."""
    document: Document = json.loads(prompt.rpartition("\ninput: ")[2].rpartition("\nOutput:")[0])
    return document


def words(text: str) -> set[str]:
    """Words and numbers of a text."""
    return set(re.findall(r"[\w.]*\w", text.lower().replace(",", "")))


def sentences(text: str) -> list[str]:
    """Sentences of a text."""
    return [part for part in re.split(r"(?<=[.;])\s+", text) if part]


def supported(statement: str, context: str) -> int:
    """1 when every word of the statement is in the context."""
    return int(words(statement) <= words(context))


def _statements(asked: Document) -> Document:
    return {"statements": sentences(asked["answer"])}


def _verdicts(asked: Document) -> Document:
    judged = [
        {"statement": one, "reason": "by words", "verdict": supported(one, asked["context"])}
        for one in asked["statements"]
    ]
    return {"statements": judged}


def _question(asked: Document) -> Document:
    evasive = asked["response"].lower().startswith(EVASIVE)
    return {"question": f"What about {asked['response']}", "noncommittal": int(evasive)}


def _useful(asked: Document) -> Document:
    shared = words(asked["context"]) & words(asked["answer"])
    return {"reason": "by words", "verdict": int(len(shared) >= 4)}


def _attributed(asked: Document) -> Document:
    judged = [
        {"statement": one, "reason": "by words", "attributed": supported(one, asked["context"])}
        for one in sentences(asked["answer"])
    ]
    return {"classifications": judged}


def _sorted_out(asked: Document) -> Document:
    def listed(statements: list[str]) -> list[Document]:
        return [{"statement": one, "reason": "by words"} for one in statements]

    answer, truth = asked["answer"], asked["ground_truth"]
    return {
        "TP": listed([one for one in answer if one in truth]),
        "FP": listed([one for one in answer if one not in truth]),
        "FN": listed([one for one in truth if one not in answer]),
    }


_SIGNS = {
    "sorted_out": _SORTED,
    "statements": _STATEMENTS,
    "verdicts": _VERDICTS,
    "question": _QUESTION,
    "useful": _USEFUL,
    "attributed": _ATTRIBUTED,
}
_STEPS: dict[str, Callable[[Document], Any]] = {
    "statements": _statements,
    "verdicts": _verdicts,
    "question": _question,
    "useful": _useful,
    "attributed": _attributed,
    "sorted_out": _sorted_out,
}
