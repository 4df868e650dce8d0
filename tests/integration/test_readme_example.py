"""Does the Python example of the README run as it stands?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.settings import PROJECT_ROOT
from tests.integration.answering_panel import answering_panel

EXAMPLES = [
    text
    for text in re.findall(r"```python\n(.*?)```", (PROJECT_ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    if "import E2I" in text
]


def test_the_readme_has_an_example() -> None:
    assert len(EXAMPLES) == 1


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs_and_prints_an_answer_and_a_report(
    postgres_dsn: str, template_database: str, tmp_path: Path, example: str
) -> None:
    with answering_panel(postgres_dsn, template_database, "readme_panel", tmp_path, hcps=300):
        done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    assert "rep calls" in done.stdout
    assert "# " in done.stdout
