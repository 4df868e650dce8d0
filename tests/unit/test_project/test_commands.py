"""Do the commands exist that the README and the Makefile name?"""

from __future__ import annotations

import ast
import functools
import re
import shlex
from typing import Any

import pytest
import typer

from src.cli.main import app
from tests.suite_rules import FOLDER_MARKERS
from tests.unit.test_project.checkout import ROOT, code_spans

README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
E2I_CALLS = [span for span in code_spans(README) if span.startswith("e2i ")]
TARGETS = sorted({word for span in code_spans(README) for word in re.findall(r"^make ([a-z-]+)", span)})
PLACEHOLDERS = {"COMMAND": "runs"}


@functools.cache
def command_line() -> Any:
    """The command of all commands, put together once."""
    return typer.main.get_command(app)


def parse(call: str) -> None:
    """Parse an ``e2i`` call down to the options of its command, without running it."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(call)[1:]]
    command, context = command_line(), None
    while True:
        context = command.make_context(command.name, words, parent=context)
        left = [*context._protected_args, *context.args]
        if not hasattr(command, "resolve_command") or (not left and command.invoke_without_command):
            return
        _, command, words = command.resolve_command(context, left)


def expressions(option: str) -> list[str]:
    """Arguments of pytest's ``-k`` or ``-m`` in README and Makefile (``python -m`` is another one)."""
    calls = [
        line for line in (*MAKEFILE.splitlines(), *code_spans(README)) if re.search(r"\$\(PYTEST\)|\bpytest\b", line)
    ]
    calls = [re.sub(r"^.*?(\$\(PYTEST\)|\bpytest\b)", "", line) for line in calls if ":=" not in line]
    return [
        quoted or bare for line in calls for quoted, bare in re.findall(rf"{option} (?:['\"](.+?)['\"]|(\S+))", line)
    ]


def names(expression: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", expression)) - {"and", "or", "not"}


def used_markers() -> set[str]:
    used = {marker for markers in FOLDER_MARKERS.values() for marker in markers}
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "mark":
                used.add(node.attr)
    return used


def test_the_readme_shows_commands() -> None:
    assert len(E2I_CALLS) > 15
    assert {"demo", "test"} <= set(TARGETS)


@pytest.mark.parametrize("call", E2I_CALLS)
def test_a_command_of_the_readme_parses(call: str) -> None:
    parse(call)


@pytest.mark.parametrize("call", ["e2i efect", "e2i effect --treatmnt t", "e2i show", "e2i data lod x.csv"])
def test_a_wrong_command_would_be_noticed(call: str) -> None:
    with pytest.raises(typer.TyperException):
        parse(call)


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)


def test_every_marker_asked_for_is_used_by_tests() -> None:
    asked = expressions("-m")
    assert asked
    assert {name for expression in asked for name in names(expression)} - used_markers() == set()


def test_every_name_asked_for_occurs_among_the_tests() -> None:
    tests = " ".join(
        f"{file.stem} {' '.join(re.findall(r'(?:def|class) ([Tt]est_?[A-Za-z0-9_]+)', file.read_text('utf-8')))}"
        for file in (ROOT / "tests").rglob("test_*.py")
    )
    assert [name for expression in expressions("-k") for name in names(expression) if name not in tests] == []
