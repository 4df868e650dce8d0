"""Where in memory do the files of a test server lie?

Every test with a database of its own makes and drops a thousand small files; on a disk that takes most of its time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 2 * 2**30
PREFIX = "e2i-tests-"


def folder_in_memory(root: Path = SHARED_MEMORY, needed: int = NEEDED_BYTES) -> Path | None:
    """A new folder of this process in memory; None where there is too little room, or no such place.

    Folders of processes that are gone (killed before they could clear up) are removed first.
    """
    if not os.access(root, os.W_OK):
        return None
    for left in root.glob(f"{PREFIX}*-*"):
        if not Path("/proc", left.name.removeprefix(PREFIX).split("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(root).free < needed:
        return None
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
