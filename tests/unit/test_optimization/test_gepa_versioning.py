"""Are optimised wordings kept, named, compared and gone back to, and is a changed file noticed?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.errors import ContractViolation, DataUnavailable
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.versioning import (
    as_candidate,
    compare_versions,
    compute_instruction_hash,
    current_version,
    generate_version_id,
    list_versions,
    load_optimized_module,
    rollback_to_version,
    save_optimized_module,
)
from src.storage.database import Database
from src.storage.prompt_versions import PromptRepository

NOW = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)


def saved(folder: Path, text: str, *, minutes: int = 0, keep: int = 10, **changes: Any) -> Any:
    at = NOW + timedelta(minutes=minutes)
    return save_optimized_module("explainer", {"component": text}, folder=folder, keep=keep, now=at, **changes)


def test_an_id_says_component_time_and_content() -> None:
    texts = {"component": "Be clear."}
    found = generate_version_id("rag_answer", texts, NOW.astimezone())
    assert found == f"gepa_rag_answer_20261102T030405Z_{compute_instruction_hash(texts)[:8]}"


def test_a_hash_depends_on_what_is_said_and_where_but_not_on_the_order() -> None:
    one = compute_instruction_hash({"a": "x", "b": "y"})
    assert one == compute_instruction_hash({"b": "y", "a": "x"})
    assert one != compute_instruction_hash({"a": "y", "b": "x"})


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", "a b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a component"):
        generate_version_id(name, {}, NOW)


def test_what_was_saved_is_loaded_with_its_scores(tmp_path: Path) -> None:
    version = saved(tmp_path, "Be clear.", score=0.8, baseline_score=0.5, metadata={"judge": "m"})
    assert load_optimized_module("explainer", version.version_id, folder=tmp_path) == version


def test_a_version_is_put_into_a_copy_of_a_program(tmp_path: Path) -> None:
    dspy = load_dspy()
    program = dspy.Predict(dspy.Signature("question -> answer", "old"))
    save_optimized_module("explainer", {"self": "new"}, folder=tmp_path, keep=3, now=NOW)
    loaded = load_optimized_module("explainer", folder=tmp_path, module=program)
    assert (loaded.signature.instructions, program.signature.instructions) == ("new", "old")


def test_the_newest_are_kept_and_listed_first(tmp_path: Path) -> None:
    made = [saved(tmp_path, f"text {number}", minutes=number, keep=3) for number in range(5)]
    assert [one.version_id for one in list_versions("explainer", folder=tmp_path)] == [
        one.version_id for one in reversed(made[2:])
    ]


def test_going_back_makes_an_earlier_version_the_current_one(tmp_path: Path) -> None:
    first, second = saved(tmp_path, "one"), saved(tmp_path, "two", minutes=1)
    assert current_version("explainer", folder=tmp_path) == second.version_id
    rollback_to_version("explainer", first.version_id, folder=tmp_path)
    assert load_optimized_module("explainer", folder=tmp_path) == first


def test_versions_differ_by_lines_and_score(tmp_path: Path) -> None:
    first, second = saved(tmp_path, "one\ntwo", score=0.5), saved(tmp_path, "one\n2", minutes=1, score=0.75)
    found = compare_versions("explainer", first.version_id, second.version_id, folder=tmp_path)
    assert (found.same_instructions, found.score_difference) == (False, 0.25)
    assert {"-two", "+2"} <= set(found.diff["component"].splitlines())


def test_equal_texts_have_no_diff(tmp_path: Path) -> None:
    first, second = saved(tmp_path, "one"), saved(tmp_path, "one", minutes=1)
    found = compare_versions("explainer", first.version_id, second.version_id, folder=tmp_path)
    assert (found.same_instructions, dict(found.diff), found.score_difference) == (True, {}, None)


def test_an_unknown_version_is_named_with_the_nearest(tmp_path: Path) -> None:
    version = saved(tmp_path, "one").version_id
    with pytest.raises(DataUnavailable, match=version):
        rollback_to_version("explainer", version[:-1] + "0", folder=tmp_path)


@pytest.mark.parametrize("version_id", ["../explainer/x", "nothing"])
def test_only_kept_files_are_read(tmp_path: Path, version_id: str) -> None:
    with pytest.raises(DataUnavailable, match="is kept"):
        load_optimized_module("explainer", version_id, folder=tmp_path)


def test_a_component_without_versions_has_no_current_one(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="no optimised version"):
        load_optimized_module("explainer", folder=tmp_path)


def test_a_file_that_was_changed_by_hand_is_not_used(tmp_path: Path) -> None:
    version = saved(tmp_path, "Be clear.")
    file = tmp_path / "explainer" / f"{version.version_id}.json"
    file.write_text(file.read_text("utf-8").replace("Be clear.", "Be bold."), "utf-8")
    with pytest.raises(DataUnavailable, match="changed after"):
        load_optimized_module("explainer", version.version_id, folder=tmp_path)


async def test_a_version_becomes_one_candidate_of_the_components_prompts(db: Database, tmp_path: Path) -> None:
    prompts = PromptRepository(db)
    await prompts.import_files()
    version = saved(tmp_path, "Be clear.")
    first = await as_candidate(version, prompts, created_by="test")
    again = await as_candidate(version, prompts, created_by="test")
    assert (first.content, first.status, first.origin, first.version) == ("Be clear.", "candidate", "gepa", 2)
    assert again.version == first.version


async def test_a_program_with_several_prompts_is_no_candidate(db: Database, tmp_path: Path) -> None:
    version = save_optimized_module("explainer", {"a": "x", "b": "y"}, folder=tmp_path, keep=2, now=NOW)
    with pytest.raises(ContractViolation, match="2 prompts"):
        await as_candidate(version, PromptRepository(db), created_by="test")
