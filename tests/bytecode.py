"""Where do tests keep compiled modules when Python was told to leave none beside its sources?

Libraries are installed as sources. Without bytecode each worker and each child process compiles them again,
which takes longer than most of what they do.
"""

from __future__ import annotations

import os
import sys

from src.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "var" / "cache" / "bytecode"


def keep_bytecode() -> None:
    """Keep the bytecode of this process and its children in a folder of the checkout that git ignores.

    Does nothing where Python writes bytecode anyway; a folder named by PYTHONPYCACHEPREFIX stays the one used.
    """
    if not sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = sys.pycache_prefix or str(FOLDER)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
