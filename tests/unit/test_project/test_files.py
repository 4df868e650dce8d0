"""Are the files small, and do they speak about the product only?"""

from __future__ import annotations

import re

import pytest

from tests.unit.test_project.checkout import ROOT, tracked_files

# Put together here, so that this file does not contain what it forbids.
FORBIDDEN = [
    re.compile(".".join(name).replace(".", r"\."), re.IGNORECASE)
    for name in (("pypi", "org"), ("files", "pythonhosted"), ("registry", "npmjs"))
] + [
    re.compile(pattern)
    for pattern in (
        "/work" + "/(main|shared)",
        r"\bissue" + r" #?\d",
        r"\bsub" + "agent",
        "code" + r"x\b|\bClaude" + " Code",
        r"\brequirement" + r" R?\d",
        r"\bG\d{1,2}" + r"\b.*\brequirement",
        r"\bthe " + r"lead (commits|must|asked|wires)",
        "(previous|earlier|next) " + "(coding|engineering) session",
    )
]


def lines(text: str) -> int:
    return len(text.splitlines())


def test_no_source_file_is_longer_than_600_lines() -> None:
    sources = [path for path in tracked_files() if path.suffix == ".py"]
    assert len(sources) > 100
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := lines(path.read_text("utf-8"))) > 600}
    assert long == {}


def test_the_pandera_schemas_stay_below_450_lines() -> None:
    assert lines((ROOT / "src/mlops/pandera_schemas.py").read_text("utf-8")) < 450


@pytest.mark.parametrize("forbidden", FORBIDDEN, ids=lambda pattern: pattern.pattern)
def test_no_tracked_file_names_a_registry_or_the_making_of_the_product(forbidden: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1)
        if forbidden.search(line)
    ]
    assert found == []
