"""Does the whole product work here? Questions with known answers, held against the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.app.asking import Clarification, answer_question, read_question
from src.app.effects import Answer, answer_effect
from src.app.generated_data import PANEL_NAME, read_truth, register_panel
from src.app.questions import EffectQuestion
from src.app.rendering import save_report
from src.app.session import Session, open_session
from src.causal_engine.results import Verdict
from src.causal_engine.wording import interval, number
from src.errors import DataUnavailable
from src.settings import var_dir
from src.synthetic.panel.knowledge import PANEL_QUESTIONS, PanelQuestion

PANEL_HCPS = 3_000
PANEL_RANDOM_STATE = 42
NHEFS_CONFOUNDERS = ("sex", "race", "age", "education", "smokeintensity", "smokeyrs", "exercise", "active", "wt71")
LALONDE_CONFOUNDERS = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One demonstrated answer beside what is known; ``agrees`` is the check of the two."""

    question: str
    verdict: str
    answer: str
    known: str
    agrees: bool
    run_id: str
    report: str


async def demonstrate(on_progress: Progress) -> list[Exhibit]:
    """Generate the panel, answer six questions and write their reports."""
    async with open_session(on_progress) as session:
        on_progress("generating and loading the HCP-month panel")
        truth = await _panel(session, on_progress)
        exhibits = []
        for question in PANEL_QUESTIONS:
            if question.kind != "randomized":
                on_progress(question.text)
                exhibits.append(await _panel_exhibit(session, question, truth))
        for exhibit in (_smoking, _training, _training_without_experiment):
            on_progress(exhibit.__doc__ or "")
            exhibits.append(await exhibit(session))
        return exhibits


async def _panel(session: Session, on_progress: Progress) -> dict[str, Any]:
    """Generate the panel and load its tables; the same generation again changes nothing. Returns its truth."""
    made = await register_panel(
        session.catalogue,
        session.database,
        PANEL_HCPS,
        PANEL_RANDOM_STATE,
        load=True,
        on_progress=lambda step, done, total: on_progress(f"{step} ({done} of {total})"),
    )
    return read_truth(made.record)


async def _panel_exhibit(session: Session, question: PanelQuestion, truth: dict[str, Any]) -> Exhibit:
    understood = read_question(question.text)
    if isinstance(understood, Clarification):
        raise DataUnavailable(f"the demo question was not understood: {understood.question_back}")
    answer = await answer_question(session, question.text, understood, dataset=PANEL_NAME)
    effect = _true_effect(truth, question)
    agrees = {
        "exists": lambda: _verdict(answer) is Verdict.SUPPORTED and _covers(answer, effect),
        "absent": lambda: _verdict(answer) is Verdict.NO_DETECTABLE_EFFECT and _covers(answer, effect),
        "not_identified": lambda: _verdict(answer) is Verdict.NOT_IDENTIFIED,
    }[question.kind]()
    return _exhibit(answer, question.text, f"generator's truth {number(effect)}", agrees)


def _true_effect(truth: dict[str, Any], question: PanelQuestion) -> float:
    """The simulated effect of a demonstration question."""
    wanted = (question.treatment, question.outcome, question.brand, question.region)
    for effect in truth["effects"]:
        if (effect["treatment"], effect["outcome"], effect["brand"], effect["region"]) == wanted:
            return float(effect["effect"])
    raise DataUnavailable(f"the panel's truth does not hold the effect asked for in '{question.text}'")


async def _smoking(session: Session) -> Exhibit:
    """NHEFS: does quitting smoking change weight?"""
    from causaldata import nhefs_complete

    columns = ["qsmk", "wt82_71", *NHEFS_CONFOUNDERS]
    data = _file("nhefs.csv", nhefs_complete.load_pandas().data[columns])
    answer = await answer_effect(
        session,
        EffectQuestion(
            data=data,
            treatment="qsmk",
            outcome="wt82_71",
            confounders=NHEFS_CONFOUNDERS,
            text="Does quitting smoking change weight (NHEFS)?",
        ),
    )
    primary = answer.analysis.primary if answer.analysis else None
    agrees = _verdict(answer) is Verdict.SUPPORTED and primary is not None and 3.2 <= primary.value <= 3.7
    return _exhibit(answer, answer.run.question, "published 3.4–3.5 kg", agrees)


async def _training(session: Session) -> Exhibit:
    """LaLonde: did job training raise earnings in the experiment?"""
    from causaldata import nsw_mixtape

    data = _file("lalonde_experiment.csv", nsw_mixtape.load_pandas().data.drop(columns="data_id"))
    answer = await answer_effect(
        session,
        EffectQuestion(
            data=data,
            treatment="treat",
            outcome="re78",
            confounders=LALONDE_CONFOUNDERS,
            randomized=True,
            text="Did job training raise earnings (LaLonde, experiment)?",
        ),
    )
    return _exhibit(answer, answer.run.question, "published about $1,794", _covers(answer, 1794.0))


async def _training_without_experiment(session: Session) -> Exhibit:
    """LaLonde: the same with survey controls, where the data cannot say."""
    import pandas as pd
    from causaldata import cps_mixtape, nsw_mixtape

    trained = nsw_mixtape.load_pandas().data.query("treat == 1")
    frame = pd.concat([trained, cps_mixtape.load_pandas().data], ignore_index=True).drop(columns="data_id")
    answer = await answer_effect(
        session,
        EffectQuestion(
            data=_file("lalonde_cps.csv", frame),
            treatment="treat",
            outcome="re78",
            confounders=LALONDE_CONFOUNDERS,
            text="Did job training raise earnings (LaLonde, CPS controls)?",
        ),
    )
    refused = _verdict(answer) in (Verdict.NOT_IDENTIFIED, Verdict.ASSOCIATION_ONLY)
    return _exhibit(answer, answer.run.question, "no overlap with the survey", refused)


def _file(name: str, frame: Any) -> Path:
    path = var_dir() / "demo" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def _verdict(answer: Answer) -> Verdict:
    return Verdict(str(answer.run.verdict))


def _covers(answer: Answer, value: float) -> bool:
    primary = answer.analysis.primary if answer.analysis else None
    return primary is not None and primary.ci.covers(value)


def _exhibit(answer: Answer, question: str, known: str, agrees: bool) -> Exhibit:
    primary = answer.analysis.primary if answer.analysis else None
    shown = f"{number(primary.value)} ({interval(primary.ci)})" if primary else "no number"
    path = save_report(answer, "html", None)
    return Exhibit(question, str(answer.run.verdict), shown, known, agrees, answer.run.run_id, str(path))
