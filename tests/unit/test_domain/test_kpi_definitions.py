"""Are the 46 KPIs defined on existing columns, and values rated by direction?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from src.contracts.enums import Brand, Workstream
from src.contracts.tables import TABLES
from src.domain.kpis import KPI_FILE, Direction, Kpi, KpiStatus, UnknownKpi, get_kpi, load_kpis, status
from src.errors import ConfigError

GROUPS = {"DQ": 9, "MQ": 9, "TR": 8, "BU": 10, "BR": 5, "CA": 5}


def test_all_46_are_there() -> None:
    assert [kpi.id for kpi in load_kpis()] == [f"{group}{i}" for group, n in GROUPS.items() for i in range(1, n + 1)]


@pytest.mark.parametrize("kpi", load_kpis(), ids=lambda kpi: kpi.id)
def test_definition_names_existing_tables_columns_brands_and_workstreams(kpi: Kpi) -> None:
    assert set(kpi.tables) <= set(TABLES)
    for name in kpi.columns:
        table, column = name.split(".")
        assert table in kpi.tables
        assert column in TABLES[table].column_names
    assert {name.split(".")[0] for name in kpi.columns} == set(kpi.tables)
    assert kpi.workstream in set(Workstream)
    assert kpi.brand is None or kpi.brand in set(Brand)
    assert kpi.sql.lstrip().startswith("SELECT")
    assert ";" not in kpi.sql


@pytest.mark.parametrize("kpi", load_kpis(), ids=lambda kpi: kpi.id)
def test_every_column_named_is_read(kpi: Kpi) -> None:
    scope_columns = {"brand", "region", "geographic_region", "metric_date"}
    assert all(name.split(".")[1] in kpi.sql for name in kpi.columns if name.split(".")[1] not in scope_columns)


@pytest.mark.parametrize("kpi", [kpi for kpi in load_kpis() if kpi.threshold], ids=lambda kpi: kpi.id)
def test_levels_get_worse_from_target_to_critical(kpi: Kpi) -> None:
    assert kpi.threshold is not None
    target = 1.0 if kpi.threshold.target is None else kpi.threshold.target
    levels = [target, kpi.threshold.warning, kpi.threshold.critical]
    assert levels == sorted(levels, reverse=kpi.direction is Direction.UP)
    assert len(set(levels)) == 3


@pytest.mark.parametrize(
    ("kpi_id", "value", "expected"),
    [
        ("DQ1", 0.85, KpiStatus.ON_TARGET),
        ("DQ1", 0.84, KpiStatus.BELOW_TARGET),
        ("DQ1", 0.69, KpiStatus.WARNING),
        ("DQ1", 0.49, KpiStatus.CRITICAL),
        ("DQ7", 48.0, KpiStatus.ON_TARGET),
        ("DQ7", 96.5, KpiStatus.WARNING),
        ("DQ7", 169.0, KpiStatus.CRITICAL),
        ("MQ6", 0.95, KpiStatus.ON_TARGET),
        ("MQ6", 1.15, KpiStatus.BELOW_TARGET),
        ("MQ6", 0.70, KpiStatus.WARNING),
        ("MQ6", 1.40, KpiStatus.CRITICAL),
        ("CA1", 3.0, KpiStatus.NO_THRESHOLD),
        ("BU5", 100.0, KpiStatus.NO_THRESHOLD),
        ("DQ1", None, KpiStatus.NO_THRESHOLD),
    ],
)
def test_status_follows_the_direction(kpi_id: str, value: float | None, expected: KpiStatus) -> None:
    assert status(get_kpi(kpi_id), value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (200.0, KpiStatus.ON_TARGET),
        (181.0, KpiStatus.BELOW_TARGET),
        (151.0, KpiStatus.WARNING),
        (149.0, KpiStatus.CRITICAL),
    ],
)
def test_counts_are_rated_as_shares_of_their_target(value: float, expected: KpiStatus) -> None:
    assert status(get_kpi("TRx"), value, target=200.0) is expected


@pytest.mark.parametrize("name", ["BU6", "bu6", "NRx", "nrx", " NRx "])
def test_kpi_is_found_by_id_or_name(name: str) -> None:
    assert get_kpi(name).id == "BU6"


def test_unknown_kpi_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownKpi, match="'Conversion ratio' is not defined.*'Conversion rate'"):
        get_kpi("Conversion ratio")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"threshold": {"warning": 1, "critical": 2}}, "threshold"),
        ({"direction": "sideways"}, "direction"),
        ({"id": "DQ2"}, "defined twice: DQ2"),
    ],
)
def test_wrong_definition_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    content = yaml.safe_load(KPI_FILE.read_text("utf-8"))
    content["kpis"][0] |= changes
    file = tmp_path / "kpis.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(ConfigError, match=message):
        load_kpis(file)
