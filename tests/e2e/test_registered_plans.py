"""A question is locked first and answered later, exactly or with its deviations named."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from .command_line import SameProcess, study_frame

PLAN = """
title: Does t move y?
data: study.csv
treatment: t
outcome: y
confounders: [x]
estimator: ols
minimum_effect: 0.2
design: observational
where: ["month<=2"]
"""


@pytest.fixture
def e2i(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> SameProcess:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    return SameProcess(tmp_path / "var", database_url)


def registered(e2i: SameProcess) -> dict[str, object]:
    done = e2i("effect", "--register", "plan.yaml", "--by", "ann", "--json")
    assert done.code == 0, done.err
    document: dict[str, object] = done.document
    return document


def test_a_plan_is_locked_before_there_are_data_and_carried_out_as_registered(e2i: SameProcess, tmp_path: Path) -> None:
    plan = registered(e2i)
    assert (plan["before_data"], plan["registered_by"]) == (True, "ann")
    study_frame(800).to_csv(tmp_path / "study.csv", index=False)

    answered = e2i("effect", "--plan", str(plan["plan_id"])[:13], "--json")
    assert answered.code == 0, answered.err
    run, said = answered.document["run"], answered.document["registration"]
    assert run["analysis"]["primary"]["estimator"] == "ols"
    assert run["request"]["filters"] == [{"column": "month", "op": "lte", "value": "2"}]
    assert (said["as_registered"], said["sha256"], said["deviations"]) == (True, plan["sha256"], [])
    assert said["statement"].startswith("As registered on ")

    changed = e2i("effect", "--plan", str(plan["sha256"])[:10], "--estimator", "ipw",
                  "--deviation", "estimator=asked by a reviewer")  # fmt: skip
    assert changed.code == 0, changed.err
    assert "Deviations from the registered plan: estimator: ols → ipw (asked by a" in " ".join(changed.out.split())
    shown = e2i("plans", "show", str(plan["plan_id"]), "--json").document
    assert [len(one["deviations"]) for one in shown["runs"]] == [0, 1]
    page = e2i("report", shown["runs"][1]["run_id"], "--format", "md", "--out", "-").out
    assert "Deviations from the registered plan" in page
    assert str(plan["sha256"]) in page
    assert "Registered plan" not in e2i("report", _unplanned(e2i), "--format", "md", "--out", "-").out

    late = e2i("effect", "--register", "plan.yaml")
    assert late.code == 1
    assert "not before the data were seen: 3 analyses" in " ".join(late.out.split())
    assert [one["before_data"] for one in e2i("plans", "list", "--json").document] == [False, True]


def _unplanned(e2i: SameProcess) -> str:
    asked = ("--data", "study.csv", "--treatment", "t", "--outcome", "y", "--randomized", "--json")
    run_id: str = e2i("effect", *asked).document["run"]["run_id"]
    return run_id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--estimator", "ipw"), "--deviation estimator=REASON"),
        (("--outcome", "x"), "--deviation outcome=REASON"),
        (("--where", "month<=1"), "--deviation where=REASON"),
        (("--estimand", "att"), "--deviation estimand=REASON"),
        (("--data", "other.csv"), "--deviation data=REASON"),
        (("--deviation", "lag=why not"), "nothing departs from the plan in 'lag'"),
        (("--estimator", "ipw", "--deviation", "estimatr=x"), "cannot read the deviation"),
    ],
)
def test_a_departure_is_refused_in_one_line_unless_it_is_named(
    e2i: SameProcess, options: tuple[str, ...], said: str
) -> None:
    plan = registered(e2i)
    refused = e2i("effect", "--plan", str(plan["plan_id"]), *options)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("treatment: [", "not valid YAML"),
        (PLAN + "effekt: 2\n", "effekt: unknown key"),
        (PLAN.replace("outcome: y", ""), "outcome"),
        (PLAN.replace("data: study.csv", ""), "'dataset' or 'data'"),
        (PLAN.replace("estimator: ols", "estimator: olz"), "did you mean 'ols'"),
        (PLAN.replace("month<=2", "month"), "cannot read the filter"),
        (PLAN + "window: {column: month, from: 2025-02-01, to: 2025-01-01}\n", "lies before 'from'"),
        ("", "expected keys and values"),
        (PLAN.replace("outcome: y", "outcome: t"), "cannot be treatment and outcome at once"),
        (PLAN + "mediation: true\n", "needs the 'mediators'"),
        (PLAN + "cutoff: 1\n", "go together"),
        (PLAN + "second_cluster: unit\n", "goes with 'cluster'"),
        (PLAN + "heterogeneity: true\ncost_per_unit: 2\n", "weigh nothing alone"),
        (PLAN + "cost_per_unit: 2\nvalue_per_outcome: 3\n", "heterogeneity: true"),
        (PLAN.replace("minimum_effect: 0.2", "minimum_effect: .nan"), "finite"),
        (PLAN + "lag: 99\n", "lag"),
        (PLAN.replace("data: study.csv", "dataset: table:nothing"), "no table 'nothing'"),
        (PLAN.replace("data: study.csv", "dataset: table:business_metrics"), "is not in the data"),
    ],
)
def test_a_bad_plan_is_one_line_exit_2_and_nothing_is_written(e2i: SameProcess, text: str, said: str) -> None:
    Path("plan.yaml").write_text(text)
    refused = e2i("effect", "--register", "plan.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert refused.err.count("\n") == 1
    with psycopg.connect(e2i.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM registered_plans").fetchone() == (0,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            (
                "--register",
                ".",
            ),
            "cannot be read",
        ),
        (("--register", "plan.yaml", "--plan", "0199c2"), "--register and --plan do not go together"),
        (("--register", "plan.yaml", "--grid", "plan.yaml"), "--register and --grid do not go together"),
        (("--data", "study.csv", "--deviation", "lag=why"), "--deviation goes with --plan"),
        (("--data", "study.csv", "--out", "x.html"), "--out goes with --grid"),
        (("--plan", "0199c2", "--by", "ann"), "--by goes with --register"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(e2i: SameProcess, options: tuple[str, ...], said: str) -> None:
    refused = e2i("effect", *options)
    assert (refused.code, refused.out, said in refused.err) == (2, "", True)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE registered_plans SET document = replace(document, '\"ols\"', '\"ipw\"')",
        "UPDATE registered_plans SET outcome = 'x'",
        "UPDATE registered_plans SET before_data = NOT before_data",
        "UPDATE registered_plans SET registered_at = registered_at - interval '1 year'",
    ],
)
def test_a_plan_that_was_tampered_with_is_refused(e2i: SameProcess, tampering: str) -> None:
    plan = registered(e2i)
    with psycopg.connect(e2i.dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="never changed"):
            connection.execute(tampering.encode())
        connection.execute("ALTER TABLE registered_plans DISABLE TRIGGER registered_plans_stay")
        connection.execute(tampering.encode())
    refused = e2i("effect", "--plan", str(plan["plan_id"]))
    assert refused.code == 2
    assert "was changed" in refused.err
    assert "not usable" in " ".join(e2i("plans", "list").out.split())


def test_registering_reads_no_row(e2i: SameProcess, tmp_path: Path) -> None:
    study_frame(400).to_csv(tmp_path / "study.csv", index=False)
    loaded = e2i("data", "load", "study.csv")
    assert loaded.code == 0, loaded.err
    for stored in (e2i.var / "datasets").glob("*.parquet"):
        stored.unlink()
    (tmp_path / "study.csv").unlink()
    plan = registered(e2i)
    assert plan["data_sha256"] is not None
