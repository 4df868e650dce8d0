"""Where does a run keep what it paid for, and what came of it once it has ended?"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from src.domain.improvement import ChangeKind, Variant
from src.optimization.gepa.journal import Journal
from src.optimization.improver import Candidate, Spend

RUNS = "runs"


class RunFolder:
    """The folder of one run below ``folder``. ``keep`` ended runs are kept, and as many that did not end."""

    def __init__(self, folder: Path, run_name: str, keep: int) -> None:
        self._path = folder / RUNS / _file_name(run_name)
        self._keep = keep

    @property
    def candidates(self) -> Path:
        """The file for the candidates."""
        return self._path / "candidates.json"

    @property
    def result(self) -> Candidate | None:
        """What came of the run, None while it has not ended."""
        file = self._path / "result.json"
        if not file.exists():
            return None
        kept = json.loads(file.read_text("utf-8"))
        variant, spend = kept.pop("variant"), Spend(**kept.pop("spend"))
        if variant is None:
            return Candidate(None, spend=spend, **kept)
        kind = ChangeKind(variant["kind"])
        return Candidate(Variant(variant["component"], kind, variant["content"]), spend=spend, **kept)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The run's journal, for one process at a time. Raises HPOError while another one has it."""
        with Journal(self._path / "journal.jsonl") as journal:
            yield journal
            if self.result is not None:
                journal.file.unlink()

    def finish(self, candidate: Candidate) -> None:
        """Keep what came of the run; it is carried out no more."""
        temporary = self._path / "result.json.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(asdict(candidate), file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path / "result.json")
        self._forget_old()

    def _forget_old(self) -> None:
        """Of runs that ended the newest stay, and of those that can be resumed: they know what they have spent."""
        runs = sorted((one for one in self._path.parent.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
        ended = [one for one in runs if (one / "result.json").exists()]
        broken_off = [one for one in runs if one not in ended]
        for run in (*ended[: -self._keep], *broken_off[: -self._keep]):
            shutil.rmtree(run)


def _file_name(run_name: str) -> str:
    """Letters, digits, hyphens and underscores stay; nothing leads out of the folder."""
    return "".join(one if one.isalnum() or one in "-_" else "_" for one in run_name)
