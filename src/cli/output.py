"""How do commands print: JSON for programs, text for people, progress only on a terminal?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Value = TypeVar("Value")


def run(work: Coroutine[Any, Any, Value]) -> Value:
    """Run async work to its end."""
    import asyncio

    return asyncio.run(work)


def print_json(document: Any) -> None:
    """Print one JSON document to standard output."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(document, option=options).decode() + "\n")


def print_rich(*renderables: Any) -> None:
    """Print rich renderables to standard output."""
    from rich.console import Console

    console = Console()
    for renderable in renderables:
        console.print(renderable)


@contextmanager
def progress(title: str, *, quiet: bool = False, lines: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner with the step that runs, on standard error; where that is no terminal nothing, or ``lines``."""
    if quiet or not sys.stderr.isatty():
        yield (lambda step: _line(title, step)) if lines and not quiet else (lambda _: None)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda step: bar.update(task, description=f"{title}: {step.replace('_', ' ')}")


def _line(title: str, step: str) -> None:
    sys.stderr.write(f"{title}: {step.replace('_', ' ')}\n")
