"""Is what was added to a prompt in the language of the prompt?

The checks of sentences read English, so a sentence in another language would pass them all. It is recognised by its
small words, by accents, or by having no English word at all; two or three words without any of these are not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from src.rag.heuristics.lexicon import FUNCTION_WORDS, NEGATIONS


def listed(words: str) -> frozenset[str]:
    """Words that are separated by blanks."""
    return frozenset(words.split())


_WORD = re.compile(r"[^\W\d_]+")
_LONG = 5
"""Words from which an English sentence has one of the small words, or one of the prompt that it is added to."""
_ENGLISH = FUNCTION_WORDS | NEGATIONS | listed("use state name give keep write make two always where")
_FOREIGN = listed("""
    der das den dem ein eine einen einem und oder aber nicht kein keine keinen keiner ist sind wird werden wenn
    mit ohne fur auf von zu im zum zur nur immer nie niemals nichts jede jeden sonst weg beim nach danach davon
    lass sie le la les et ou ne pas jamais est sont une du pour avec sans dans que qui si toujours aux ni ce
    cette votre el los las y nunca siempre es son unos unas por para sin en del al su sus como cuando ningun
    ninguna il lo gli non mai sempre senza di da che alla della nel nella sono nessun nessuna o os um uma nao
    nem sem com ao dos het een niet geen van voor met zonder altijd nooit wel deze dit och inte aldrig alltid
    utan som att det ikke aldri og uden med jest oraz bez lub nigdy zawsze ve bir degil asla jangan dan tidak
    yang untuk
""")


def foreign(added: Iterable[str], old: str) -> list[str]:
    """Those of the added sentences that are in another language; words of ``old`` count as English."""
    known = _ENGLISH | frozenset(_words(old))
    return [one for one in added if _is_foreign(one, known)]


def _is_foreign(sentence: str, known: Collection[str]) -> bool:
    words = _words(sentence)
    english = sum(word in known for word in words)
    others = sum(word in _FOREIGN and word not in known for word in words)
    accented = sum(_has_accent(word) for word in _WORD.findall(sentence))
    return others + accented > english or (len(words) >= _LONG and english == 0)


def _words(text: str) -> list[str]:
    """In lower-case letters without accents."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))
    return _WORD.findall(bare)


def _has_accent(word: str) -> bool:
    return any(unicodedata.name(one, "").startswith("LATIN") and not one.isascii() for one in word)
