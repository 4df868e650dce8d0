"""What in a free text opens something or identifies somebody? Found by pattern, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from src.domain.identifiers import REDACTED

_KEPT = r"(?!\[redacted\])"
_VALUE = rf"{_KEPT}(?:\"[^\"]*\"|'[^']*'|(?:(?:token|bearer|basic)\s+)?[^\s\"',;&}}\])]+)"
# A code, not the column of another table.
_CODE = rf"{_KEPT}[\"']?(?=[\w-]*\d)[\w-]+(?![\w.])[\"']?"
_CAPITAL = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪİĶŁĻĽŃŅŇŐŒŘŚŞŠŢŤŪŮŰŹŻŽ"
_NAME = rf"(?:[{_CAPITAL}]\.?\s+)*[{_CAPITAL}][\w'’-]+(?:\s+[{_CAPITAL}][\w'’-]+){{0,2}}"
# What is said of patients in analytics, not of a patient.
_NO_NAMES = (
    r"(?!(?i:(?:[tn]rx|nbrx|hcps?|adherence|counts?|journeys?|outcomes?|persistence|population|segments?|shares?|starts?"
    r"|support|touch|volumes?|kisqali|fabhalta|remibrutinib|northeast|south|midwest|west)\b))"
)

_AFTER_DIGIT = re.compile(r"[0-9]-[0-9]|[_#-][0-9]")
_DIGITS = ("(digits)",)

# Each with the signs without which it cannot match: most texts have none, and one pass over them tells.
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (signs, re.compile(pattern), replacement)
    for signs, pattern, replacement in (
        (
            ("sk-", "pk-", "rk-", "k_live_", "k_test_"),
            r"\b(?:(?:sk|pk|rk)-[A-Za-z0-9_\-]{8,}|(?:sk|pk|rk)_(?:live|test)_\w{6,})",
            REDACTED,
        ),
        (
            ("gho_", "ghp_", "ghu_", "ghs_", "ghr_", "xox", "akia"),
            r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|xox[abprs]-[A-Za-z0-9-]{8,}|AKIA[0-9A-Z]{12,})",
            REDACTED,
        ),
        (("aiza", "hf_"), r"\b(?:AIza[0-9A-Za-z_\-]{20,}|hf_[A-Za-z0-9]{16,})", REDACTED),
        (("eyj",), r"\beyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]*", REDACTED),
        (
            ("secret", "pass", "pwd", "key", "token", "authorization", "cookie"),
            # "Prior authorization" is a step of an insurer's; "tokens" and "token_count" are counts.
            r"(?i)(secret[\w-]*|password|passwd|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|token(?![s_])"
            rf"|(?<!prior[ _-])authorization|cookie)([\"']?\s*[=:]\s*){_VALUE}",
            rf"\1\2{REDACTED}",
        ),
        (("bearer",), r"(?i)\b(bearer)\s+[A-Za-z0-9+/=._\-]{8,}", rf"\1 {REDACTED}"),
        (
            ("basic",),
            # Encoded credentials: plain words ("basic statistics") have no digits and no capitals inside.
            r"\b([Bb]asic|BASIC)\s+(?=\S*[0-9=]|\S+[A-Z])[A-Za-z0-9+/]{8,}={0,2}",
            rf"\1 {REDACTED}",
        ),
        (("://",), r"(?<=://)[^/\s:@]*:[^\s@]+(?=@[\w.\[\-])", REDACTED),
        (
            ("-----",),
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            REDACTED,
        ),
        (("@",), r"[\w.%+\-]+@[\w\-]+(?:\.[\w\-]+)+", REDACTED),
        (_DIGITS, r"\b\d{3}-\d{2}-\d{4}\b", REDACTED),
        (_DIGITS, r"(?i)\b(?:pat|patient|hcp|npi|mrn|pt)[_#-]\d[0-9a-z]*\b", REDACTED),
        (
            ("npi", "mrn"),
            r"(?i)\b(npi|mrn)(\s*(?:no\.?|number)?\s*[:#]?\s*)\d{5,12}\b",
            rf"\1\2{REDACTED}",
        ),
        (
            ("dr", "doctor", "patient", "mr", "ms", "prof"),
            rf"\b((?i:dr|doctor|patient|mr|mrs|ms|prof|professor)(?:\.|:)?\s+){_NO_NAMES}{_NAME}",
            rf"\1{REDACTED}",
        ),
    )
)


def _keyed(names: Sequence[str], value: str) -> tuple[tuple[str, ...], re.Pattern[str], str] | None:
    if not names:
        return None
    spelled = "|".join(r"[ _-]?".join(map(re.escape, name.split("_"))) for name in names)
    signs = tuple({max(name.split("_"), key=len) for name in names})
    return signs, re.compile(rf"(?i)(?<![a-z])((?:{spelled})[\"']?\s*[=:]\s*){value}"), rf"\1{REDACTED}"


class TextPatterns:
    """Replaces secrets and identifiers in texts; ``keys`` are names whose value is private, as in ``key=value``."""

    def __init__(self, keys: Iterable[str]) -> None:
        names = sorted(keys, key=len, reverse=True)
        codes = [name for name in names if name.endswith(("_id", "_hash", "_code", "npi"))]
        keyed = [_keyed(codes, _CODE), _keyed([name for name in names if name not in codes], _VALUE)]
        self._patterns = (*_PATTERNS, *(pattern for pattern in keyed if pattern is not None))

    def replaced(self, text: str) -> str:
        """``text`` without what looks private."""
        lowered = text.lower()
        if _AFTER_DIGIT.search(text) is not None:
            lowered += _DIGITS[0]
        for signs, pattern, replacement in self._patterns:
            for sign in signs:
                if sign in lowered:
                    text = pattern.sub(replacement, text)
                    break
        return text
