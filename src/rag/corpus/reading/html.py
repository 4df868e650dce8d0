"""What does an HTML page say to its reader?"""

from __future__ import annotations

import re
from datetime import date
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import FileContents, Outline, as_date, joined, tidy
from src.rag.corpus.reading.decoding import decode

_CHARSET = re.compile(rb"<meta[^>]{1,200}charset=[\"']?\s*([\w-]{1,40})", re.IGNORECASE)
_HEAD_BYTES = 2048

_UNSEEN = frozenset(
    {"script", "style", "nav", "template", "noscript", "svg", "iframe", "object", "footer", "aside", "form", "button"}
)
_BLOCKS = frozenset(
    {"p", "div", "li", "ul", "ol", "dl", "dt", "dd", "table", "blockquote", "pre", "section", "article", "main", "body"}
    | {
        "figure",
        "figcaption",
        "header",
        "hr",
        "address",
        "details",
        "summary",
        "caption",
        "thead",
        "tbody",
        "tr",
        "head",
    }
)
_PARAGRAPHS = _BLOCKS - {"li", "dt", "dd", "caption", "thead", "tbody", "tr"}
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_DATES = ("article:published_time", "dcterms.date", "dc.date", "date", "last-modified")


def read_html(raw: bytes) -> FileContents:
    """Text between headings; scripts, styles, navigation, side matter and forms are left out."""
    declared = _CHARSET.search(raw[:_HEAD_BYTES])
    page = _Page()
    page.feed(decode(raw, declared[1].decode("ascii") if declared else None))
    page.close()
    page.end_section()
    text, sections = joined(page.parts)
    effective_date, notes = page.effective_date()
    return FileContents(
        text=text,
        sections=sections,
        title=page.first_heading or tidy(page.title) or None,
        effective_date=effective_date,
        brand=page.meta.get("brand"),
        region=page.meta.get("region"),
        notes=notes,
    )


def _day(value: str) -> date:
    """The day of a time in ISO 8601 or, as servers write it, RFC 2822. Raises UnreadableFile."""
    try:
        return parsedate_to_datetime(value).date()
    except (ValueError, TypeError, IndexError):
        return as_date(value, "the date in its <meta>")


class _Page(HTMLParser):
    """Collects the text of blocks under their headings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[tuple[tuple[str, ...], str]] = []
        self.title = ""
        self.first_heading: str | None = None
        self.meta: dict[str, str] = {}
        self._outline = Outline()
        self._body: list[str] = []
        self._heading: tuple[int, list[str]] | None = None
        self._unseen = 0
        self._preformatted = 0
        self._in_title = False

    def effective_date(self) -> tuple[date | None, tuple[str, ...]]:
        """The day the page says it is of; a date that cannot be read is none, and is noted."""
        value = next((self.meta[name] for name in _DATES if self.meta.get(name)), None)
        if value is None:
            return None, ()
        try:
            return _day(value), ()
        except UnreadableFile as error:
            return None, (f"{error}; it counts as without a date",)

    def end_section(self) -> None:
        """What was read since the last heading is one section."""
        lines = [line.strip(" \t\xa0") for line in "".join(self._body).split("\n")]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
        self.parts.append((self._outline.path, text))
        self._body = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "title" and not self._unseen:
            self._in_title = True
        elif tag == "meta":
            self._note(dict(attrs))
        elif not self._unseen:
            self._open(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(self._unseen - 1, 0)
        elif tag == "title":
            self._in_title = False
        elif not self._unseen:
            self._close(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._unseen:
            return
        elif self._heading is not None:
            self._heading[1].append(data)
        else:
            self._add(data if self._preformatted else self._flowing(data))

    def _flowing(self, data: str) -> str:
        """White space as a browser shows it: one blank, none where a line begins."""
        text = re.sub(r"\s+", " ", data)
        begins = not self._body or self._body[-1].endswith(("\n", " "))
        return text.lstrip(" ") if begins else text

    def _open(self, tag: str) -> None:
        if tag in _LEVELS:
            self._end_heading()
            self._heading = (_LEVELS[tag], [])
        elif tag in ("td", "th"):
            if self._body and not self._body[-1].endswith("\n"):
                self._body.append(" | ")
        elif tag == "br":
            self._body.append("\n")
        elif tag in _BLOCKS:
            self._end_heading()
            self._break(tag)
            self._body += ["- "] if tag == "li" else []
        self._preformatted += tag == "pre"

    def _close(self, tag: str) -> None:
        if tag in _LEVELS:
            self._end_heading()
        elif tag in _BLOCKS:
            self._break(tag)
        self._preformatted = max(self._preformatted - (tag == "pre"), 0)

    def _break(self, tag: str) -> None:
        """A new line, or an empty one between paragraphs; none is added where there is one."""
        ending = "".join(self._body[-2:])
        wanted = 2 if tag in _PARAGRAPHS else 1
        present = len(ending) - len(ending.rstrip("\n"))
        self._add("\n" * max(wanted - present, 0))

    def _add(self, text: str) -> None:
        if text:
            self._body.append(text)

    def _end_heading(self) -> None:
        if self._heading is None:
            return
        (level, words), self._heading = self._heading, None
        self.end_section()
        heading = tidy("".join(words))
        self.first_heading = self.first_heading or heading or None
        self._outline.enter(level, heading)

    def _note(self, attributes: dict[str, str | None]) -> None:
        name = (attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or "").lower()
        if name and (content := tidy(attributes.get("content") or "")):
            self.meta.setdefault(name, content)
