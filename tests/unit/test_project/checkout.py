"""What does the checkout consist of?"""

from __future__ import annotations

import ast
import re
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("src", "tests", "scripts", "benchmarks", "config", "database", "docs")


def tracked_files() -> list[Path]:
    """Files under version control, the new ones included; every source file where there is no repository."""
    if not (ROOT / ".git").exists():
        found = [path for name in FOLDERS for path in (ROOT / name).rglob("*")] + list(ROOT.glob("*.*"))
        return [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def modules() -> list[str]:
    """Every importable name under src."""
    files = sorted((ROOT / "src").rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


@lru_cache(maxsize=1)
def attributes_read() -> frozenset[str]:
    """Names read as an attribute anywhere in src."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "src").rglob("*.py"))
    return frozenset(
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


def code_spans(text: str) -> list[str]:
    """Lines of the fenced blocks and inline code of a Markdown text, comments cut off."""
    fenced = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in fenced for line in block.splitlines()] + inline
    return [bare for line in lines if (bare := re.split(r"\s+#\s|;", line)[0].strip())]
