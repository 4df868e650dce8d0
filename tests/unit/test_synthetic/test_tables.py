"""The eight tables are legal under the contract and record the same world as the panel."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from src.contracts.pandera_builder import build_pandera
from src.contracts.tables import TABLES
from src.synthetic import PanelDataset, generate_panel
from src.synthetic.panel.tables.claims import CLAIMS_HCPS, assign_splits

MISSING = [
    ("patient_journeys", "insurance_type", 0.08),
    ("patient_journeys", "age_group", 0.05),
    ("patient_journeys", "comorbidities", 0.12),
    ("treatment_events", "previous_treatment", 0.15),
    ("hcp_profiles", "digital_engagement_score", 0.10),
]


@pytest.mark.parametrize("table", list(TABLES))
def test_every_row_is_legal_and_no_column_needs_renaming(panel_dataset: PanelDataset, table: str) -> None:
    frame = panel_dataset.tables[table]
    assert len(frame) > 0
    assert set(frame.columns) <= set(TABLES[table].column_names)
    build_pandera(TABLES[table]).validate(frame, lazy=True)


@pytest.mark.parametrize(("n_hcps", "random_state"), [(30, 1), (40, 2)])
def test_small_worlds_are_legal_too(n_hcps: int, random_state: int) -> None:
    for table, frame in generate_panel(n_hcps, random_state).tables.items():
        build_pandera(TABLES[table]).validate(frame, lazy=True)


def test_keys_refer_to_rows_that_exist(panel_dataset: PanelDataset) -> None:
    tables = panel_dataset.tables
    journeys = tables["patient_journeys"].set_index("patient_journey_id")["patient_id"]
    events = tables["treatment_events"]
    assert (events["patient_journey_id"].map(journeys) == events["patient_id"]).all()
    for name in ("treatment_events", "triggers", "ml_predictions"):
        assert tables[name]["hcp_id"].isin(tables["hcp_profiles"]["hcp_id"]).all()
        assert tables[name]["patient_id"].isin(journeys).all()
    assert set(tables["hcp_profiles"]["hcp_id"]) == set(panel_dataset.panel["hcp_id"])


def test_events_lie_within_their_journey_and_are_numbered_in_order(panel_dataset: PanelDataset) -> None:
    journeys = panel_dataset.tables["patient_journeys"][
        ["patient_journey_id", "journey_start_date", "journey_end_date"]
    ]
    events = panel_dataset.tables["treatment_events"].merge(journeys, on="patient_journey_id")
    day, start, end = (
        pd.to_datetime(events[name]) for name in ("event_date", "journey_start_date", "journey_end_date")
    )
    assert (day >= start).all()
    assert (end.isna() | (day <= end)).all()
    assert ((day - start).dt.days == events["days_from_diagnosis"]).all()
    ordered = events.assign(day=day).sort_values(["patient_journey_id", "sequence_number"])
    assert (ordered.groupby("patient_journey_id")["day"].diff().dropna() >= pd.Timedelta(0)).all()


def scripts_from_events(data: PanelDataset) -> pd.DataFrame:
    events = data.tables["treatment_events"]
    scripts = events[events["event_type"] == "prescription"]
    month = pd.to_datetime(scripts["event_date"]).dt.to_period("M").dt.to_timestamp().dt.date
    kind = scripts["event_subtype"]
    return pd.DataFrame(
        {
            "hcp_id": scripts["hcp_id"],
            "month": month,
            "trx": 1,
            "nrx": kind.isin(["new_to_brand", "new"]).astype(int),
            "nbrx": (kind == "new_to_brand").astype(int),
        }
    )


def test_every_script_of_the_claims_sample_is_one_event(panel_dataset: PanelDataset) -> None:
    counted = scripts_from_events(panel_dataset).groupby(["hcp_id", "month"]).sum()
    sample = sorted(panel_dataset.panel["hcp_id"].unique())[:CLAIMS_HCPS]
    panel = panel_dataset.panel[panel_dataset.panel["hcp_id"].isin(sample)].set_index(["hcp_id", "month"])
    expected = panel.loc[panel["trx"] > 0, ["trx", "nrx", "nbrx"]]
    pd.testing.assert_frame_equal(counted.sort_index(), expected.sort_index(), check_dtype=False)


@pytest.mark.parametrize(("kpi", "column"), [("BU5", "trx"), ("BU6", "nrx"), ("BU7", "nbrx")])
@pytest.mark.parametrize("by", [["brand", "region"], ["brand"], ["region"], []])
def test_metrics_equal_the_sums_of_events(panel_dataset: PanelDataset, kpi: str, column: str, by: list[str]) -> None:
    profiles = panel_dataset.panel.drop_duplicates("hcp_id").set_index("hcp_id")[["brand", "region"]]
    counted = scripts_from_events(panel_dataset).join(profiles, on="hcp_id").groupby(["month", *by])[column].sum()
    metrics = panel_dataset.tables["business_metrics"]
    chosen = metrics[metrics["metric_name"] == kpi]
    for name in ("brand", "region"):
        chosen = chosen[chosen[name].notna() if name in by else chosen[name].isna()]
    stored = chosen.set_index(["metric_date", *by])["value"]
    stored = stored[stored > 0]
    np.testing.assert_allclose(stored.sort_index().to_numpy(), counted[counted > 0].sort_index().to_numpy())


@pytest.mark.parametrize(("table", "column", "share"), MISSING)
def test_missing_cells_have_the_stated_share(
    panel_dataset: PanelDataset, table: str, column: str, share: float
) -> None:
    values = panel_dataset.tables[table][column]
    assert values.isna().mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(values)))


def test_outcomes_are_measured_with_the_stated_error(panel_dataset: PanelDataset) -> None:
    triggers = panel_dataset.tables["triggers"]
    month = triggers["trigger_timestamp"].dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.date
    truth = panel_dataset.panel.set_index(["hcp_id", "month"])["nrx"]
    true_values = truth.loc[list(zip(triggers["hcp_id"], month, strict=True))].to_numpy(float)
    known = triggers["outcome_value"].notna().to_numpy()
    error = triggers["outcome_value"].to_numpy()[known] - true_values[known]
    assert error.std() / true_values.std() == pytest.approx(0.12, abs=0.015)


def test_patients_are_split_by_time_in_the_stated_ratios(panel_dataset: PanelDataset) -> None:
    journeys = panel_dataset.tables["patient_journeys"]
    assigned = journeys[journeys["data_split"] != "unassigned"]
    shares = assigned["data_split"].value_counts(normalize=True)
    for name, share in {"train": 0.60, "validation": 0.20, "test": 0.15, "holdout": 0.05}.items():
        assert shares[name] == pytest.approx(share, abs=0.02)
    starts = pd.to_datetime(assigned["journey_start_date"]).groupby(assigned["data_split"]).agg(["min", "max"])
    for earlier, later in (("train", "validation"), ("validation", "test"), ("test", "holdout")):
        assert (starts.loc[later, "min"] - starts.loc[earlier, "max"]).days > 7


def test_the_week_after_each_cut_is_unassigned() -> None:
    split = assign_splits(np.arange(1_000))
    assert (split == 4).sum() == 21
    assert (split[600:606] == 4).any()


def test_predictions_rank_patients_and_know_nothing_of_the_future(panel_dataset: PanelDataset) -> None:
    predictions = panel_dataset.tables["ml_predictions"]
    known = predictions["actual_outcome"].notna()
    scores, outcome = predictions["prediction_value"][known], predictions["actual_outcome"][known]
    wins = scores[outcome == 1].to_numpy()[:, None] > scores[outcome == 0].to_numpy()[None, :]
    assert wins.mean() == pytest.approx(predictions["model_auc"].mean(), abs=0.02)
    assert wins.mean() > 0.75
    assert predictions["calibration_score"].dropna().between(0.8, 1.2).all()


def test_causal_paths_repeat_the_truth(panel_dataset: PanelDataset) -> None:
    paths = panel_dataset.tables["causal_paths"]
    kisqali = paths[(paths["start_node"] == "rep_calls") & (paths["brand"] == "Kisqali") & paths["region"].isna()]
    truth = panel_dataset.truth.effect("rep_calls", "nrx", "Kisqali")
    assert kisqali["effect_raw"].item() == truth.effect
    blocked = paths[(paths["start_node"] == "samples") & (paths["brand"] == "Fabhalta")]
    assert set(blocked["validation_status"]) == {"block"}


def test_personal_names_are_made_up_from_a_short_list(panel_dataset: PanelDataset) -> None:
    assert panel_dataset.tables["hcp_profiles"]["last_name"].nunique() == 12


def test_written_tables_are_those_in_memory(tmp_path: Path) -> None:
    stored = generate_panel(60, 5, out_dir=tmp_path / "out")
    for name, frame in stored.tables.items():
        assert pq.read_metadata(tmp_path / "out" / "tables" / f"{name}.parquet").num_rows == len(frame)
        build_pandera(TABLES[name]).validate(
            pd.read_parquet(tmp_path / "out" / "tables" / f"{name}.parquet"), lazy=True
        )
    panel = pd.concat([pd.read_parquet(part) for part in stored.parts], ignore_index=True)
    pd.testing.assert_frame_equal(panel, generate_panel(60, 5).panel)
