"""`e2i design` as a user meets it: from figures, from rows, with an assignment that is known again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from .command_line import SameProcess

FIGURES = ("design", "--baseline-mean", "2.4", "--sd", "3.1")
ASSIGN = ("--assign", "arms.csv", "--unit", "hcp_id", "--strata", "specialty", "--balance", "prior")


@pytest.fixture
def e2i(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> SameProcess:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    ids = pd.DataFrame({"hcp_id": np.arange(120), "territory": np.arange(120) // 10, "prior": rng.gamma(2, 2, 120)})
    ids["specialty"] = np.where(np.arange(120) < 112, "onc", "derm")
    panel = ids.merge(pd.DataFrame({"month": range(6)}), how="cross")
    panel["nrx"] = panel.prior + rng.normal(size=len(panel)) + 0.5 * panel.territory
    panel.assign(npi=panel.hcp_id).to_csv("panel.csv", index=False)
    return SameProcess(tmp_path / "var", database_url)


def test_figures_alone_give_size_power_and_a_page(e2i: SameProcess) -> None:
    done = e2i(*FIGURES, "--relative-effect", ".1", "--units", "2000", "--out", "design.html", "--json")
    assert done.code == 0, done.err
    plan = done.document["design"]
    assert plan["minimum_effect"] == pytest.approx(0.24)
    assert plan["units_needed"] == pytest.approx(2 * 15.7 * (3.1 / 0.24) ** 2, rel=0.01)
    assert 0.3 < plan["power"] < 0.6
    assert "<svg" in Path("design.html").read_text()
    assert "it takes 5,2" in e2i(*FIGURES, "--minimum-effect", ".24").out


def test_rows_tell_how_the_outcome_varies_and_what_a_longer_test_finds(e2i: SameProcess) -> None:
    rows = ("design", "--data", "panel.csv", "--outcome", "nrx", "--unit", "hcp_id", "--json")
    plan = e2i(*rows, "--time", "month", "--periods", "3", "--before", "3").document["design"]
    finds = [one["detectable"] for one in plan["lengths"]]
    assert finds == sorted(finds, reverse=True)
    assert plan["minimum_detectable_effect"] == pytest.approx(finds[-1])
    auto = plan["from_data"]["autocorrelation"]
    assert auto["lower"] < auto["value"] < auto["upper"]
    clustered = e2i(*rows, "--cluster", "territory", "--minimum-effect", "1").document["design"]
    assert clustered["clusters_needed"] * 10 == clustered["units_needed"]
    assert clustered["design_effect"] > 1


def test_an_assignment_is_kept_by_its_hash_and_a_changed_file_is_noticed(e2i: SameProcess) -> None:
    done = e2i("design", "--data", "panel.csv", *ASSIGN, "--rerandomize", ".2", "--by", "ann", "--json")
    assert done.code == 0, done.err
    assigned, arms = done.document["assignment"], pd.read_csv("arms.csv")
    assert assigned["units_per_arm"] == {"control": 60, "treated": 60} == arms.arm.value_counts().to_dict()
    assert assigned["strata"] == {"onc": 112, "derm": "n < 11, suppressed"}
    assert abs(assigned["balance"][0]["smd"]) < 0.1
    known = e2i("design", "--verify", "arms.csv")
    assert (known.code, "by ann" in known.out) == (0, True)

    assert e2i("design", "--data", "panel.csv", *ASSIGN, "--rerandomize", ".2").code == 0
    other = e2i("design", "--data", "panel.csv", *ASSIGN, "--seed", "1")
    assert (other.code, "says something else" in other.err) == (2, True)
    assert e2i("design", "--verify", "arms.csv").code == 0

    arms.loc[0, "arm"] = "treated" if arms.loc[0, "arm"] == "control" else "control"
    arms.to_csv("arms.csv", index=False)
    assert e2i("design", "--verify", "arms.csv").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("design",), "--sd"),
        (FIGURES, "--units"),
        ((*FIGURES, "--minimum-effect", "1", "--relative-effect", ".1"), "name the smallest effect once"),
        ((*FIGURES, "--units", "100", "--icc", ".1"), "both --icc and --cluster-size"),
        ((*FIGURES, "--units", "100", "--kind", "odds"), "use mean, proportion, count"),
        (("design", "--kind", "proportion", "--baseline-mean", "3", "--units", "50"), "between 0 and 1"),
        ((*FIGURES, "--units", "100", "--strata", "x"), "go with --assign"),
        ((*FIGURES, "--outcome", "nrx"), "name the rows"),
        (("design", "--data", "panel.csv", "--outcome", "nrxx"), "'nrxx' is not in the data"),
        (("design", "--data", "panel.csv", "--outcome", "npi"), "may not be shown to your role"),
        (("design", "--data", "panel.csv", "--assign", "arms.csv", "--unit", "npi"), "may not be shown to your role"),
        (("design", "--data", "panel.csv", *ASSIGN[:4], "--strata", "month"), "changes within"),
        (("design", "--data", "panel.csv", *ASSIGN[:4], "--strata", "hcp_id"), "may not be shown to your role"),
        (("design", "--data", "panel.csv", *ASSIGN, "--out", "page.html"), "a page shows a design"),
        ((*FIGURES, "--units", "100", "--where", "month=1"), "name the rows"),
        ((*FIGURES, "--units", "100", "--out", "."), "it is a folder"),
        ((*FIGURES, "--units", "100", "--out", "panel.csv/page.html"), "cannot write"),
        (("design", "--verify", "panel.csv", "--assign", "arms.csv"), "leave out --assign"),
        (("design", "--verify", "none.csv"), "no such file"),
    ],
)
def test_a_bad_design_is_one_line_exit_2_and_nothing_is_written(
    e2i: SameProcess, arguments: tuple[str, ...], said: str
) -> None:
    refused = e2i(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert refused.err.count("\n") == 1
    assert not Path("arms.csv").exists()
    with psycopg.connect(e2i.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM experiment_assignments").fetchone() == (0,)
