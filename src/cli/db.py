"""`e2i db`: start, stop, inspect, migrate, open and reset the database."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.errors import ConfigError

if TYPE_CHECKING:
    from src.storage.embedded_postgres import ServerStatus
    from src.storage.migrate import AppliedMigration, MigrationState

app = typer.Typer(
    name="db",
    help="The database: the embedded PostgreSQL, or the server that DATABASE_URL names.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OnlyStatus = Annotated[bool, typer.Option("--status", help="List the files, apply nothing.")]
OnlyCheck = Annotated[bool, typer.Option("--check", help="Fail unless every file is applied; apply nothing.")]


@app.command()
def start(as_json: Json = False) -> None:
    """Start the embedded server and keep it up until `e2i db stop`.

    Commands start it by themselves when they need it; this saves them the start.

    Example: e2i db start
    """
    from src.storage.embedded_postgres import embedded

    _embedded_only("start")
    _print_server(embedded().start(), as_json)


@app.command()
def stop(as_json: Json = False) -> None:
    """Stop the embedded server; while other commands use it, it stops after them.

    Example: e2i db stop
    """
    from src.storage.embedded_postgres import embedded

    _embedded_only("stop")
    _print_server(embedded().stop(), as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Say which database is used and whether it is up. Exit status 1 when the embedded one is down.

    Example: e2i db status --json
    """
    from src.storage.connection import resolve_dsn

    target = resolve_dsn()
    if target.dsn is not None:
        _print(asyncio.run(_external_status(target.source.value)), as_json)
        return
    from src.storage.embedded_postgres import embedded

    found = embedded().status()
    _print_server(found, as_json)
    raise typer.Exit(0 if found.running else 1)


@app.command()
def migrate(only_status: OnlyStatus = False, only_check: OnlyCheck = False, as_json: Json = False) -> None:
    """Apply the SQL files that the database does not have yet, in order.

    Example: e2i db migrate --status
    """
    if only_status or only_check:
        states = asyncio.run(_migration_states(strict=only_check))
        _print_files([_plain(state) for state in states], as_json)
        return
    applied = asyncio.run(_apply_migrations(quiet=as_json))
    if as_json:
        _print_files([_plain(item) for item in applied], as_json)
    else:
        typer.echo(f"{len(applied)} applied, the database is up to date" if applied else "The database is up to date")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the database; what follows `--` goes to psql.

    Example: e2i db psql -- -c "SELECT count(*) FROM schema_migrations"
    """
    from psycopg.pq import Conninfo

    from src.storage.connection import resolve_dsn
    from src.storage.embedded_postgres import binaries, embedded

    dsn = resolve_dsn().dsn
    if dsn is None:
        lease = embedded().attach()
        lease.keep_across_exec()
        dsn = lease.dsn
    environment = dict(os.environ)
    for option in Conninfo.parse(dsn.encode()):
        if option.val is not None and option.envvar is not None:  # the password must not show in the process list
            environment[option.envvar.decode()] = option.val.decode()
    program = binaries() / "psql"
    os.execve(program, [str(program), *context.args], environment)


@app.command()
def reset(yes: Yes = False) -> None:
    """Delete the embedded database with all its data. Asks first.

    Example: e2i db reset --yes
    """
    from src.storage.embedded_postgres import embedded

    _embedded_only("reset")
    server = embedded()
    if not yes and not typer.confirm(f"Delete the database in {server.home.path} with all its data?"):
        typer.echo("Nothing deleted")
        raise typer.Exit(1)
    server.reset()
    typer.echo(f"Deleted the database in {server.home.path}")


def _embedded_only(command: str) -> None:
    from src.storage.connection import resolve_dsn

    target = resolve_dsn()
    if target.dsn is not None:
        raise ConfigError(
            f"{target.source.value} is set, and `e2i db {command}` is for the embedded database only; "
            f"unset {target.source.value} first"
        )


async def _external_status(source: str) -> dict[str, Any]:
    from src.storage.connection import connect
    from src.storage.database import describe

    async with connect() as database:
        row = await database.fetchrow("SELECT current_setting('server_version') AS version")
        version = row["version"] if row else None
        return {"running": True, "source": source, "database": describe(database.dsn), "version": version}


async def _migration_states(*, strict: bool) -> list[MigrationState]:
    from src.storage import migrate as migrations
    from src.storage.connection import MIGRATIONS, connect

    async with connect() as database:
        if strict:
            await migrations.check(database, MIGRATIONS)
        return await migrations.status(database, MIGRATIONS)


async def _apply_migrations(*, quiet: bool) -> list[AppliedMigration]:
    from src.storage import migrate as migrations
    from src.storage.connection import MIGRATIONS, connect

    async with connect() as database:
        return await migrations.migrate(database, MIGRATIONS, None if quiet else typer.echo)


def _plain(item: AppliedMigration | MigrationState) -> dict[str, Any]:
    values = dataclasses.asdict(item)
    moment = values["applied_at"]
    return {**values, "applied_at": moment.isoformat() if moment is not None else None}


def _print_files(files: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(files))
        return
    for file in files:
        typer.echo(f"{file['status']:8} {file['filename']}")


def _print_server(found: ServerStatus, as_json: bool) -> None:
    _print({"source": "embedded", **dataclasses.asdict(found), "data_dir": str(found.data_dir)}, as_json)


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
        return
    for name, value in values.items():
        if value is not None:
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            typer.echo(f"{name.replace('_', ' '):21} {shown}")
