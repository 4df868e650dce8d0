"""Are prompts read from their files, and told apart by their text?"""

from __future__ import annotations

from pathlib import Path

import pytest

from src.domain.prompts import PROMPTS, fingerprint, load_prompt
from src.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("component", ["feature_analyzer", "rag_answer", "rubric_judge"])
def test_the_prompt_is_the_file_and_its_fingerprint_follows_its_text(component: str) -> None:
    prompt = load_prompt(component)
    assert prompt.text == (PROMPTS / f"{component}.md").read_text("utf-8").strip()
    assert (prompt.version, prompt.fingerprint) == (1, fingerprint(prompt.text))
    assert fingerprint("a") != fingerprint("b")
    assert len(fingerprint("a")) == 12


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), (b"  \n", "is empty"), (b"\xff\xfe\xff", "cannot be read")]
)
def test_a_missing_unreadable_or_empty_prompt_is_refused(content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "one.md").write_bytes(content)
    with pytest.raises(ConfigError, match=f"one.md: the prompt {says}"):
        load_prompt("one", tmp_path)
