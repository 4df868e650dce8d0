"""What does a question ask for that evidence has to speak of?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.rag.answering.quotable import OWNERS, norms, subject_of
from src.rag.heuristics.tokens import Sort, tokenize
from src.rag.retrieval_results import RetrievedChunk

# Words of questions themselves; evidence need not repeat them.
_ASKING = frozenset(
    re.findall(
        r"\w+",
        "what which who whom whose when where why how do does did is are was were can could should would will shall "
        "may might has have had tell me us show give explain describe list please about any there much many mean means "
        "define definition happen happened between during compare summarise summarize",
    )
)
PERIOD_SORTS = (Sort.NUMBER,)


@dataclass(frozen=True, slots=True)
class Question:
    """``terms``: weight by form; ``shown``: how the question writes it; ``owners``: brands and regions it names,
    and ``figures`` its years, quarters and numbers."""

    terms: Mapping[str, float]
    shown: Mapping[str, str]
    owners: frozenset[str]
    figures: frozenset[str]

    def coverage(self, said: frozenset[str]) -> float:
        """Weighted share of the terms in ``said``, 0–1."""
        total = sum(self.terms.values())
        return sum(weight for norm, weight in self.terms.items() if norm in said) / total if total else 0.0

    def words(self, missing: Sequence[str]) -> str:
        """Terms as the question writes them."""
        return ", ".join(sorted({self.shown[norm] for norm in missing}))


def read_question(query: str) -> Question:
    """The terms of a question, without those that only ask."""
    tokens = [token for token in tokenize(query) if token.content and token.surface not in _ASKING]
    return Question(
        terms={token.norm: token.weight for token in tokens},
        shown={token.norm: token.surface for token in tokens},
        owners=frozenset(token.norm for token in tokens if token.norm.startswith(OWNERS)),
        figures=frozenset(token.norm for token in tokens if token.sort in PERIOD_SORTS),
    )


def about(chunk: RetrievedChunk) -> frozenset[str]:
    """Everything a chunk speaks of: its own words and what it stands under."""
    return norms(tokenize(chunk.text)) | norms(tokenize(subject_of(chunk)))
