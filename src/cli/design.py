"""`e2i design`: how large must an experiment be, what could it show, and who is assigned to what?"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    import pandas as pd

    from src.app.experiment_design.planning import DesignOrder
    from src.storage.assignments import AssignmentRecord

NOT_THE_SAME = 1
KINDS = {"mean": "continuous", "proportion": "binary", "count": "count"}


def design(
    kind: Annotated[str | None, typer.Option(help="mean, proportion or count; default: as the data suggest.")] = None,
    baseline_mean: Annotated[float | None, typer.Option(help="Mean (rate, share) without treatment.")] = None,
    sd: Annotated[float | None, typer.Option(help="Standard deviation of one unit's outcome.")] = None,
    dispersion: Annotated[float | None, typer.Option(help="Counts: k of the variance μ + kμ².")] = None,
    minimum_effect: Annotated[float | None, typer.Option(help="Smallest difference worth finding.")] = None,
    relative_effect: Annotated[float | None, typer.Option(help="The same as a share of the mean.")] = None,
    units: Annotated[int | None, typer.Option(min=4, help="Units there are, all arms together.")] = None,
    power: Annotated[float, typer.Option(help="Chance to find that difference.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Two-sided error rate.")] = 0.05,
    treated_share: Annotated[float, typer.Option(help="Share of units treated; .9 leaves a holdout of 10 %.")] = 0.5,
    arms: Annotated[int, typer.Option(min=1, max=20, help="Treated arms that share one control.")] = 1,
    correction: Annotated[str, typer.Option(help="Several arms: dunnett, bonferroni or none.")] = "dunnett",
    icc: Annotated[float | None, typer.Option(help="Clusters are assigned: their intraclass correlation.")] = None,
    cluster_size: Annotated[float | None, typer.Option(help="Mean units per cluster.")] = None,
    cluster_cv: Annotated[float | None, typer.Option(help="Coefficient of variation of cluster sizes.")] = None,
    clusters: Annotated[int | None, typer.Option(min=2, help="Clusters there are, instead of --units.")] = None,
    correlation: Annotated[float | None, typer.Option(help="Of the outcome with a covariate known before.")] = None,
    periods: Annotated[int | None, typer.Option(min=1, max=520, help="Periods the experiment runs.")] = None,
    before: Annotated[int, typer.Option(min=0, max=520, help="Periods before that are adjusted for.")] = 0,
    autocorrelation: Annotated[float | None, typer.Option(help="Of neighbouring periods of a unit.")] = None,
    persistent: Annotated[float, typer.Option(help="Share of the variance that stays with the unit.")] = 0.0,
    blocks: Annotated[int | None, typer.Option(min=2, help="Switchback: blocks the periods are cut into.")] = None,
    washout: Annotated[int, typer.Option(min=0, help="Switchback: first periods of a block left out.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Rows that show how the outcome varies, or who to assign.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The same from the catalogue.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Row filter, e.g. region=northeast; repeatable.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column of the outcome.")] = None,
    unit: Annotated[str | None, typer.Option(help="Column of the unit that is assigned.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the period.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the cluster that is assigned as a whole.")] = None,
    covariate: Annotated[str | None, typer.Option(help="Column known before, to adjust for.")] = None,
    assign: Annotated[Path | None, typer.Option(help="Write who is assigned to what (CSV).")] = None,
    strata: Annotated[str, typer.Option(help="Columns to assign within, comma-separated.")] = "",
    balance: Annotated[str, typer.Option(help="Numeric columns to compare the arms on.")] = "",
    rerandomize: Annotated[float | None, typer.Option(help="Accept only this share of draws, by --balance.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random state of the assignment.")] = 20_260_101,
    verify: Annotated[Path | None, typer.Option(help="Is this file of assignments as it was written here?")] = None,
    by: Annotated[str | None, typer.Option(help="Who assigns; default: the user's name.")] = None,
    role: Annotated[str, typer.Option(help="Whose columns may be used (config/guards.yaml).")] = "analyst",
    out: Annotated[Path | None, typer.Option(help="Write the design as an HTML page.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Plan an experiment or a holdout: detectable effect, size, clusters, length, assignment.

    With --verify: exit 1 where the file was not written here, or was changed since.

    Example: e2i design --baseline-mean 2.4 --sd 3.1 --relative-effect 0.1
    Example: e2i design --data panel.csv --outcome nrx --unit hcp_id --time month --periods 3 --before 3
    Example: e2i design --data hcps.csv --assign arms.csv --unit hcp_id --strata specialty,decile --balance prior_trx
    """
    from src.app.conditions import condition
    from src.app.experiment_design.planning import DesignOrder
    from src.causal_engine.experiment.sizing import Correction
    from src.causal_engine.spec import OutcomeKind
    from src.errors import ContractViolation

    if verify is not None:
        if assign is not None or out is not None:
            raise ContractViolation("--verify looks at a file and writes none: leave out --assign and --out")
        _verify(verify, json)
        return
    if kind is not None and kind not in KINDS:
        raise ContractViolation(f"unknown kind '{kind[:40]}'; use {', '.join(KINDS)}")
    if correction not in list(Correction):
        raise ContractViolation(f"unknown correction '{correction[:40]}'; use {', '.join(Correction)}")
    order = DesignOrder(
        kind=None if kind is None else OutcomeKind(KINDS[kind]),
        baseline_mean=baseline_mean,
        sd=sd,
        dispersion=dispersion,
        minimum_effect=minimum_effect,
        relative_effect=relative_effect,
        units=units,
        alpha=alpha,
        power=power,
        treated_share=treated_share,
        arms=arms,
        correction=Correction(correction),
        icc=icc,
        cluster_size=cluster_size,
        cluster_cv=cluster_cv,
        clusters=clusters,
        correlation=correlation,
        periods=periods,
        before=before,
        autocorrelation=autocorrelation,
        persistent=persistent,
        blocks=blocks,
        washout=washout,
    )
    _check_page(out, sized=outcome is not None or order.sizes or (data is None and dataset is None))
    columns = {"outcome": outcome, "unit": unit, "time": time, "cluster": cluster, "covariate": covariate}
    filters = tuple(condition(text) for text in where or ())
    asked = _Asked(order, columns, filters, data, dataset, role)
    done = output.run(asked.answer(_assignment(assign, unit, cluster, order, strata, balance, rerandomize, seed), by))
    _tell(*done, outcome or "the outcome", out, json)


def _check_page(out: Path | None, *, sized: bool) -> None:
    """Raises ContractViolation where there will be no page to write, before anything else is written."""
    from src.errors import ContractViolation

    if out is not None and not sized:
        raise ContractViolation("a page shows a design: name --outcome, or the figures of one")
    if out is not None and out.is_dir():
        raise ContractViolation(f"cannot write '{out}': it is a folder")


class _Asked:
    """One call of the command."""

    def __init__(
        self,
        order: DesignOrder,
        columns: dict[str, str | None],
        filters: tuple[Any, ...],
        data: Path | None,
        dataset: str | None,
        role: str,
    ) -> None:
        self.order, self.columns, self.filters = order, columns, filters
        self.data, self.dataset, self.role = data, dataset, role

    async def answer(self, assignment: Any, by: str | None) -> tuple[Any, Any]:
        """The plan and the assignment, each None where it was not asked for."""
        from datetime import UTC, datetime

        from src.app.experiment_design.assigning import assigned_document, check_shown, write_assignment
        from src.app.experiment_design.planning import plan
        from src.app.questions import EffectQuestion
        from src.app.staging import stage
        from src.app.tracing import traced_database
        from src.causal_engine.experiment.from_data import variation_of
        from src.domain.guards import load_guards
        from src.errors import ContractViolation
        from src.storage.catalogue import Catalogue

        named = {name: column for name, column in self.columns.items() if column is not None}
        if self.data is None and self.dataset is None:
            if named or assignment is not None or self.filters:
                raise ContractViolation("name the rows: --data FILE or --dataset ID")
            return plan(self.order), None
        if self.data is not None and self.dataset is not None:
            raise ContractViolation("name the rows once: --data FILE or --dataset ID")
        keys = [named[name] for name in ("unit", "cluster", "time") if name in named]
        shown = [named[name] for name in ("outcome", "covariate") if name in named]
        extra = (*assignment.strata, *assignment.balance) if assignment is not None else ()
        conditions = [one.column for one in self.filters]
        check_shown((*shown, *extra, *conditions), keys, load_guards(), self.role)
        question = EffectQuestion(data=self.data, dataset=self.dataset, filters=self.filters)
        async with traced_database() as database, stage(Catalogue(database), question) as staged:
            frame: pd.DataFrame = (await staged.load(self.filters)).frame
            planned = None
            if (measured := named.pop("outcome", None)) is not None:
                roles: dict[str, Any] = {name: named.get(name) for name in ("unit", "time", "cluster", "covariate")}
                planned = plan(self.order, variation_of(frame, measured, **roles))
            if planned is None and self.order.sizes:
                planned = plan(self.order)
            if planned is None and assignment is None:
                raise ContractViolation("name the column of the outcome (--outcome), or what to assign (--assign)")
            if assignment is None:
                return planned, None
            who, now, record = (by or "").strip() or getpass.getuser(), datetime.now(UTC), await staged.commit()
            written = await write_assignment(database, frame, assignment, dataset=record.dataset_id, by=who, at=now)
            return planned, assigned_document(written)


def _assignment(
    out: Path | None,
    unit: str | None,
    cluster: str | None,
    order: DesignOrder,
    strata: str,
    balance: str,
    acceptance: float | None,
    seed: int,
) -> Any:
    from src.app.experiment_design.assigning import AssignmentOrder
    from src.errors import ContractViolation

    names = [tuple(name.strip() for name in text.split(",") if name.strip()) for text in (strata, balance)]
    if out is None:
        if strata or balance or acceptance is not None:
            raise ContractViolation("--strata, --balance and --rerandomize go with --assign FILE")
        return None
    key = cluster or unit
    if key is None:
        raise ContractViolation("name the column of the unit that is assigned (--unit, or --cluster)")
    if acceptance is not None and not names[1]:
        raise ContractViolation("--rerandomize needs the columns to balance (--balance)")
    shares = (order.treated_share / order.arms,) * order.arms
    return AssignmentOrder(out, key, shares, names[0], names[1], acceptance, seed)


def _tell(planned: Any, assigned: Any, what: str, out: Path | None, json: bool) -> None:
    from src.app.experiment_design.planning import planned_document
    from src.app.experiment_design.telling import design_page, design_text

    if out is not None:
        output.write_file(design_page(planned, assigned, f"Design of an experiment on {what}"), out)
    if json:
        plan = None if planned is None else planned_document(planned)
        output.print_json({"design": plan, "assignment": assigned, "page": None if out is None else str(out)})
        return
    output.print_rich(design_text(planned, assigned), *(() if out is None else (f"written: {out}",)))


def _verify(file: Path, json: bool) -> None:
    from src.app.experiment_design.assigning import recorded_file
    from src.app.tracing import traced_database
    from src.errors import UnreadableFile

    if not file.is_file():
        raise UnreadableFile(f"no such file: {file}")

    async def work() -> AssignmentRecord | None:
        async with traced_database() as database:
            return await recorded_file(database, file)

    found = output.run(work())
    if json:
        output.print_json({"known": found is not None, "sha256": None if found is None else found.sha256})
    elif found is None:
        output.print_rich("Not as written here: no file with these bytes was made, or it was changed since.")
    else:
        output.print_rich(f"As written on {found.assigned_at:%Y-%m-%d %H:%M:%S} UTC by {found.assigned_by}.")
    if found is None:
        raise typer.Exit(NOT_THE_SAME)
