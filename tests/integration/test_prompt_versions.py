"""Do the shipped prompts become versions, is the active one read, and is no version ever lost?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.app.prompts import open_prompts
from src.domain.prompts import PROMPTS, load_prompt
from src.errors import ConfigError, DatabaseUnavailable
from src.storage.database import Database
from src.storage.prompt_versions import IMPORTER, PromptRepository, PromptStore

COMPONENTS = sorted(file.stem for file in PROMPTS.glob("*.md"))


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def ship(db: Database, tmp_path: Path) -> Callable[..., object]:
    """Ship the files with these texts and import them."""

    async def shipped(**texts: str) -> dict[str, int]:
        for component, text in texts.items():
            (tmp_path / f"{component}.md").write_text(text, encoding="utf-8")
        return dict(await PromptRepository(db).import_files(tmp_path))

    return shipped


async def states(db: Database, component: str = "a") -> list[tuple[int, str, str, str]]:
    return [
        (one.version, one.content, one.status, one.origin) for one in await PromptRepository(db).versions(component)
    ]


async def activate(db: Database, version: int, actor: str = "anna") -> None:
    await db.execute("SELECT activate_prompt_version('a', %s, %s)", (version, actor))


async def roll_back(db: Database, reason: str = "worse") -> None:
    await db.execute("SELECT rollback_prompt_version('a', %s)", (reason,))


async def improve(db: Database, text: str) -> int:
    """A candidate that came from the improvement loop."""
    row = await db.fetchrow(
        "INSERT INTO prompt_versions (component, version, content, content_sha256, origin)"
        " SELECT 'a', max(version) + 1, %(text)s, encode(sha256(convert_to(%(text)s, 'UTF8')), 'hex'), 'improvement'"
        " FROM prompt_versions WHERE component = 'a' RETURNING version",
        {"text": text},
    )
    assert row is not None
    return int(row["version"])


async def test_every_shipped_prompt_is_version_1_and_in_use(db: Database) -> None:
    store = await open_prompts(db)
    for component in COMPONENTS:
        assert await store.active(component) == load_prompt(component)
    versions = await PromptRepository(db).versions()
    assert [one.component for one in versions] == COMPONENTS
    assert {(one.version, one.origin, one.status, one.activated_by) for one in versions} == {
        (1, "file", "active", IMPORTER)
    }


async def test_importing_again_changes_nothing(db: Database) -> None:
    first = await PromptRepository(db).import_files()
    before = await PromptRepository(db).versions()
    assert sorted(first) == COMPONENTS
    assert await PromptRepository(db).import_files() == {}
    assert await PromptRepository(db).versions() == before


async def test_a_changed_file_is_the_next_version_and_in_use(db: Database, ship: Callable[..., object]) -> None:
    await ship(a="one", b="other")
    assert await ship(a="two") == {"a": 2}
    assert await states(db) == [(1, "one", "retired", "file"), (2, "two", "active", "file")]
    assert await states(db, "b") == [(1, "other", "active", "file")]
    assert (await PromptRepository(db).versions("a"))[1].parent_version == 1


async def test_a_file_that_went_back_to_an_earlier_text_is_that_version_again(
    db: Database, ship: Callable[..., object]
) -> None:
    await ship(a="one")
    await ship(a="two")
    assert await ship(a="one") == {"a": 1}
    assert await states(db) == [(1, "one", "active", "file"), (2, "two", "retired", "file")]
    assert await ship(a="two") == {"a": 2}
    assert await ship(a="three") == {"a": 3}
    assert len(await states(db)) == 3


async def test_a_version_that_somebody_chose_stays_in_use_and_the_new_file_waits(
    db: Database, ship: Callable[..., object]
) -> None:
    await ship(a="one")
    await ship(a="two")
    await activate(db, 1)
    assert await ship(a="two") == {}
    assert await ship(a="three") == {}
    assert await ship(a="three") == {}
    assert await states(db) == [
        (1, "one", "active", "file"),
        (2, "two", "retired", "file"),
        (3, "three", "candidate", "file"),
    ]


async def test_a_version_that_was_rolled_back_does_not_come_back_with_the_files(
    db: Database, ship: Callable[..., object]
) -> None:
    await ship(a="one")
    await ship(a="two")
    await roll_back(db)
    assert await ship(a="two") == {}
    assert await ship(a="three") == {}
    assert [one[2] for one in await states(db)] == ["active", "rolled_back", "candidate"]


async def test_an_improved_version_is_not_replaced_by_a_new_file(db: Database, ship: Callable[..., object]) -> None:
    await ship(a="one")
    version = await improve(db, "better")
    await activate(db, version, "feedback_learner")
    assert await ship(a="two") == {}
    assert await states(db) == [
        (1, "one", "retired", "file"),
        (2, "better", "active", "improvement"),
        (3, "two", "candidate", "file"),
    ]


async def test_a_file_with_the_text_of_an_improvement_is_a_version_of_its_own(
    db: Database, ship: Callable[..., object]
) -> None:
    await ship(a="one")
    await improve(db, "better")
    assert await ship(a="better") == {"a": 3}
    assert [one[2:] for one in await states(db)] == [
        ("retired", "file"),
        ("candidate", "improvement"),
        ("active", "file"),
    ]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["one", "two", "three", "anna", "improve", "back"]), max_size=8))
def test_whatever_happens_no_version_is_lost_and_one_is_in_use(
    postgres_dsn: str, database_url: str, tmp_path: Path, steps: list[str]
) -> None:
    async def play() -> None:
        async with Database.open(database_url) as db:
            await db.execute("TRUNCATE prompt_versions CASCADE")
            repository, seen = PromptRepository(db), dict[int, str]()
            for step in ["one", *steps]:
                versions = await repository.versions("a")
                active = next((one for one in versions if one.active), None)
                if step == "anna":
                    usable = [one.version for one in versions if one.status not in ("rolled_back", "rejected")]
                    await activate(db, usable[0])
                elif step == "improve":
                    await activate(db, await improve(db, f"better {len(versions)}"), "feedback_learner")
                elif step == "back":
                    if active is not None and active.parent_version is not None:
                        await roll_back(db)
                else:
                    (tmp_path / "a.md").write_text(step)
                    await repository.import_files(tmp_path)
                now = {one.version: one.content for one in await repository.versions("a")}
                assert now.items() >= seen.items()
                assert sum(one.active for one in await repository.versions("a")) == 1
                seen = now

    asyncio.run(play())


async def test_imports_at_the_same_time_make_one_version(db: Database, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one")
    await asyncio.gather(*(PromptRepository(db).import_files(tmp_path) for _ in range(6)))
    assert await states(db) == [(1, "one", "active", "file")]


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe"])
async def test_a_file_that_cannot_be_used_is_refused(db: Database, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.md").write_bytes(content)
    with pytest.raises(ConfigError, match="a.md"):
        await PromptRepository(db).import_files(tmp_path)
    assert await states(db) == []


async def test_what_is_activated_is_read_within_a_minute(db: Database, ship: Callable[..., object]) -> None:
    await ship(a="one")
    clock = Clock()
    store = PromptStore(PromptRepository(db), clock=clock)
    assert (await store.active("a")).version == 1
    await activate(db, await improve(db, "better"))
    clock.seconds += 59.9
    assert (await store.active("a")).version == 1
    clock.seconds += 0.1
    found = await store.active("a")
    assert (found.version, found.text) == (2, "better")


@pytest.mark.parametrize("seconds", [-1, 60.1])
async def test_nobody_keeps_a_prompt_for_longer_than_a_minute(db: Database, seconds: float) -> None:
    with pytest.raises(ValueError, match="0 to 60 seconds"):
        PromptStore(PromptRepository(db), cache_s=seconds)


async def test_a_component_without_a_prompt_is_refused_with_the_nearest(
    db: Database, ship: Callable[..., object]
) -> None:
    await ship(explainer="one")
    with pytest.raises(ConfigError, match="no prompt of 'explainr' is active; did you mean 'explainer'"):
        await PromptStore(PromptRepository(db)).active("explainr")


async def test_without_the_database_a_known_prompt_serves_its_minute_and_no_longer(
    database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    (tmp_path / "a.md").write_text("one")
    async with Database.open(database_url, patience_s=0.2) as gone:
        repository = PromptRepository(gone)
        await repository.import_files(tmp_path)
        store = PromptStore(repository, clock=clock)
        await store.active("a")
    clock.seconds += 30
    assert (await store.active("a")).version == 1
    clock.seconds += 30
    with pytest.raises(DatabaseUnavailable):
        await store.active("a")
