"""Which files do the given paths hold, and which documents do they become?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit

from src.domain.identifiers import find_identifiers
from src.domain.vocabulary import load_vocabulary
from src.errors import E2IError, UnreadableFile
from src.rag.corpus.ingestion import Unreadable
from src.rag.corpus.labels import Labeller
from src.rag.corpus.reading import KNOWN_ENDINGS, READERS, read_file
from src.rag.corpus.reading.contents import FileContents, tidy
from src.rag.documents import SourceDocument, SourceType

_SHOWN_IDENTIFIERS = 3


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read: ``path`` is absolute, ``relative`` as seen from the folder that was given."""

    path: Path
    relative: str
    folder: Path | None

    @property
    def uri(self) -> str:
        """What opens the file."""
        return self.path.as_uri()


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files to read, in order; ``skipped`` is the number of files in the folders that are of no known type."""

    files: tuple[FoundFile, ...]
    folders: tuple[Path, ...]
    skipped: int


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says of every file; None leaves it to the file."""

    brand: str | None = None
    region: str | None = None
    effective_date: date | None = None


def find_files(paths: Sequence[Path]) -> FoundFiles:
    """The files named and all files of known types below the folders named; hidden ones are left out.

    Raises UnreadableFile for a path that does not exist and for a folder without a file to read.
    """
    files: dict[Path, FoundFile] = {}
    folders: list[Path] = []
    skipped = 0
    for path in paths:
        whole = path.expanduser().resolve()
        if whole.is_dir():
            found, others = _below(whole)
            if not found:
                raise UnreadableFile(f"{path}: the folder holds no file to read; there are {KNOWN_ENDINGS}")
            folders.append(whole)
            skipped += others
        elif whole.is_file():
            found = [FoundFile(whole, _normal(whole.name), None)]
        elif whole.exists():
            raise UnreadableFile(f"{path}: it is neither a file nor a folder")
        else:
            raise UnreadableFile(
                f"{path}: there is no such file or folder; "
                f"'e2i corpus remove --below {path}' removes the documents that came from there"
            )
        for file in found:
            files.setdefault(file.path, file)
    return FoundFiles(tuple(files.values()), tuple(folders), skipped)


def source_ids(files: Iterable[FoundFile], stored: Mapping[str, str | None]) -> dict[Path, str]:
    """A source id for each file; ``stored`` maps the source ids of the corpus to their addresses.

    A file that is stored keeps its id. Another one gets its path relative to the folder, with the names of
    the folders above in front of it while that id belongs to another file that is still there.
    """
    by_uri = {uri: source_id for source_id, uri in stored.items() if uri is not None}
    ids: dict[Path, str] = {}
    taken: dict[str, str] = {}
    for file in files:
        chosen = by_uri.get(file.uri)
        if chosen is None or chosen in taken:
            chosen = next(name for name in _names(file) if _is_free(name, file, stored, taken))
        ids[file.path] = chosen
        taken[chosen] = file.uri
    return ids


def path_of(uri: str) -> Path:
    """The file behind a file address."""
    return Path(unquote(urlsplit(uri).path))


def read_documents(
    files: Iterable[FoundFile], ids: Mapping[Path, str], given: Given, *, max_mb: float
) -> Iterator[SourceDocument | Unreadable]:
    """Read each file; one that cannot be read or names persons is returned as such and stops no other."""
    labeller = Labeller(load_vocabulary())
    for file in files:
        try:
            yield _document(file, ids[file.path], read_file(file.path, max_mb=max_mb), given, labeller)
        except E2IError as error:
            yield Unreadable(file.relative, str(error))


def _below(folder: Path) -> tuple[list[FoundFile], int]:
    """Files of known types in order of their names, and how many there are of other types."""
    found, others = [], 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith((".", "~$")) for part in relative.parts) or not path.is_file():
            continue
        if path.suffix.lower() in READERS:
            found.append(FoundFile(path, _normal(relative.as_posix()), folder))
        else:
            others += 1
    return found, others


def _normal(path: str) -> str:
    """The same name has the same letters, whatever the file system made of its accents; no line ends, no controls."""
    return unicodedata.normalize("NFC", tidy(path))


def _names(file: FoundFile) -> Iterator[str]:
    yield file.relative
    above = (file.folder or file.path.parent).parts[1:]
    for depth in range(1, len(above) + 1):
        yield _normal("/".join((*above[-depth:], file.relative)))
    yield file.uri


def _is_free(name: str, file: FoundFile, stored: Mapping[str, str | None], taken: Mapping[str, str]) -> bool:
    if name in taken:
        return False
    uri = stored.get(name)
    return uri is None or uri == file.uri or not path_of(uri).exists()


def _document(
    file: FoundFile, source_id: str, contents: FileContents, given: Given, labeller: Labeller
) -> SourceDocument:
    title = tidy(contents.title or _normal(file.path.stem).replace("_", " ")) or "untitled"
    _refuse_identifiers(replace(contents, title=title), (file.relative, source_id))
    labels = labeller.label(title, given.brand or contents.brand, given.region or contents.region)
    return SourceDocument(
        source_type=SourceType.FILE,
        source_id=source_id,
        title=title,
        sections=contents.sections,
        brand=labels.brand,
        region=labels.region,
        effective_date=given.effective_date or contents.effective_date,
        uri=file.uri,
        metadata={"format": file.path.suffix.lower().lstrip("."), "notes": [*contents.notes, *labels.notes]},
    )


def _refuse_identifiers(contents: FileContents, names: Iterable[str]) -> None:
    named = [(found.kind, "in its path") for name in names for found in find_identifiers(name)]
    found = list(dict.fromkeys(f"{kind} {place}" for kind, place in (*named, *contents.identifiers())))
    if not found:
        return
    more = f" and {len(found) - _SHOWN_IDENTIFIERS} more" if len(found) > _SHOWN_IDENTIFIERS else ""
    raise UnreadableFile(
        f"it holds what looks like a person's {', '.join(found[:_SHOWN_IDENTIFIERS])}{more}; remove it and add it again"
    )
