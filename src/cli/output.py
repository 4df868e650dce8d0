"""How do commands print: JSON for programs, text for people, progress only on a terminal?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
Report = Callable[[str, float], None]


def run(work: Coroutine[Any, Any, Value]) -> Value:
    """Run async work to its end."""
    import asyncio

    return asyncio.run(work)


def print_json(document: Any) -> None:
    """Print one JSON document to standard output."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(document, option=options).decode() + "\n")


def write_file(text: str, path: Path) -> Path:
    """Write ``text`` to a file of the user's. Raises ContractViolation where that cannot be done."""
    from src.app.report.pages import write_whole
    from src.errors import ContractViolation

    try:
        return write_whole(text, path)
    except OSError as error:
        raise ContractViolation(f"cannot write '{path}': {error.strerror}") from error


def print_rich(*renderables: Any) -> None:
    """Print text and rich renderables to standard output. A ``str`` is data: nothing in it is markup."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for renderable in renderables:
        console.print(Text(renderable) if isinstance(renderable, str) else renderable)


def grid(*headings: str) -> Any:
    """An empty table for ``add_row``."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def add_row(table: Any, *cells: str) -> None:
    """Cells are data, not rich markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


@contextmanager
def bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """A progress bar on standard error, only on a terminal; it takes a step and the share that is done."""
    if quiet or not sys.stderr.isatty():
        yield lambda step, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress_bar:
        task = progress_bar.add_task(title, total=None)

        def report(step: str, share: float) -> None:
            progress_bar.update(task, description=f"{title} {step}".strip(), completed=share, total=1.0)

        yield report


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
