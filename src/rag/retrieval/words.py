"""Which words of a text count for BM25, and in which form?"""

from __future__ import annotations

import re
import threading
import unicodedata
from typing import Any

# Single letters and digits stay: CDK4/6, factor B, Q 3.
_WORD = re.compile(r"[^\W_]+")
# Lucene's English stop words (EnglishAnalyzer).
STOPWORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not"),
        *("of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was"),
        *("will", "with"),
    )
)
# Goes into an index's header: an index of other words is made anew.
ANALYSIS = "words-1 lucene-stopwords snowball-english"

_own = threading.local()


def words(text: str) -> list[str]:
    """Stems of the words of a text in their order, without stop words (Snowball English, Porter 2001)."""
    plain = unicodedata.normalize("NFKC", text).lower()
    found = [word for word in _WORD.findall(plain) if word not in STOPWORDS]
    return list(_stemmer().stemWords(found))


def _stemmer() -> Any:
    # A stemmer keeps state while it works: one for each thread.
    if not hasattr(_own, "stemmer"):
        import Stemmer

        _own.stemmer = Stemmer.Stemmer("english")
    return _own.stemmer
