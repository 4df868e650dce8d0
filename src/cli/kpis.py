"""What are the KPIs, and where do they stand?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.domain.kpis import Kpi
    from src.storage.kpi_repository import KpiValue


def kpis(
    name: Annotated[str | None, typer.Argument(help="Id or name of one KPI; all of them without it.")] = None,
    brand: Annotated[str | None, typer.Option(help="Rows of one brand.")] = None,
    region: Annotated[str | None, typer.Option(help="Rows of one region.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Compute the KPIs from the contract tables, with definition, formula and status.

    Example: e2i kpis BU6 --brand Kisqali --region northeast
    """
    from src.domain.kpis import get_kpi, load_kpis

    chosen = [get_kpi(name)] if name else list(load_kpis())
    values = output.run(_compute(chosen, _member(brand, "brand"), _member(region, "region")))
    if json:
        output.print_json([_document(kpi, value) for kpi, value in zip(chosen, values, strict=True)])
    elif name:
        output.print_rich(_details(chosen[0], values[0]))
    else:
        output.print_rich(_table(chosen, values))


async def _compute(chosen: list[Kpi], brand: str | None, region: str | None) -> list[KpiValue]:
    from src.app.tracing import traced_database
    from src.storage.kpi_repository import compute_kpi

    async with traced_database() as database:
        return [await compute_kpi(database, kpi, brand, region) for kpi in chosen]


def _member(value: str | None, kind: str) -> str | None:
    from src.contracts.enums import Brand, Region
    from src.errors import ContractViolation, nearest_names

    if value is None:
        return None
    members = {str(member).lower(): str(member) for member in (Brand if kind == "brand" else Region)}
    if value.lower() not in members:
        raise ContractViolation(f"there is no {kind} '{value}'; {nearest_names(value, list(members.values()))}")
    return members[value.lower()]


def _document(kpi: Kpi, value: KpiValue) -> dict[str, Any]:
    import dataclasses

    about = {
        "name": kpi.name,
        "definition": kpi.definition,
        "formula": kpi.formula,
        "calculation": kpi.calculation,
        "frequency": kpi.frequency,
        "workstream": kpi.workstream,
    }
    return {**dataclasses.asdict(value), **about}


def _details(kpi: Kpi, value: KpiValue) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for key, shown in _document(kpi, value).items():
        if shown is not None:
            table.add_row(Text(key.replace("_", " "), style="bold"), Text(str(shown)))
    return table


def _table(chosen: list[Kpi], values: list[KpiValue]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from src.causal_engine.wording import number

    table = Table("id", "KPI", "workstream", "value", "n", "status", box=None, padding=(0, 2, 0, 0))
    for kpi, value in zip(chosen, values, strict=True):
        shown = "" if value.value is None else number(value.value)
        workstream = "" if kpi.workstream is None else str(kpi.workstream)
        table.add_row(kpi.id, Text(kpi.name), workstream, shown, f"{value.n:,}", str(value.status).replace("_", " "))
    return table
