"""Can every module be imported anywhere, and does the command line start light?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_project.checkout import ROOT, modules

HEAVY = (
    "pandas",
    "numpy",
    "sklearn",
    "lightgbm",
    "langgraph",
    "mlflow",
    "anthropic",
    "openai",
    "matplotlib",
    "psycopg",
    "great_expectations",
    "feast",
    "ragas",
    "onnxruntime",
    "tokenizers",
    "bm25s",
)
OFFLINE = """
import sys
def offline(event, arguments):
    if event in ("socket.connect", "subprocess.Popen") and "ldconfig" not in str(arguments):
        raise PermissionError(event)
sys.addaudithook(offline)
"""
TOGETHER = """
import importlib, json
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""
ALONE = """
import importlib, json, os
import langgraph.graph, numpy, pandas, psycopg, pydantic, typer
failed = []
for name in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(json.dumps(failed))
"""


def python(code: str, var: Path, *arguments: str) -> str:
    """Output of a fresh interpreter that knows no key, no server and no folder but ``var``."""
    names = ("PATH", "LANG", "MPLCONFIGDIR", "PYTHONPYCACHEPREFIX")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**kept, "HOME": str(var), "E2I_VAR_DIR": str(var / "var")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_without_a_server_and_without_a_key(tmp_path: Path) -> None:
    assert json.loads(python(OFFLINE + TOGETHER, tmp_path, json.dumps(modules()))) == {}
    assert not (tmp_path / "var").exists()


@pytest.mark.slow
def test_every_module_can_be_the_first_to_be_imported(tmp_path: Path) -> None:
    assert json.loads(python(OFFLINE + ALONE, tmp_path, json.dumps(modules()))) == []


def test_the_command_line_starts_without_the_heavy_libraries(tmp_path: Path) -> None:
    loaded = json.loads(python("import json, sys, src.cli.main; print(json.dumps(sorted(sys.modules)))", tmp_path))
    assert "src.cli.main" in loaded
    assert [name for name in HEAVY if name in loaded] == []
