"""`pushpoint secrets`: environment variables of an algorithm's workers that stand in no repository."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, done, named
from pushpoint.errors import ConfigError, NotFound
from pushpoint.report import printable, tables

app = typer.Typer(
    name="secrets",
    help="Give an algorithm's workers secrets as environment variables. They are kept sealed and never shown again.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Variable = Annotated[str, typer.Argument(help="Name of the environment variable.")]


@app.command("set")
def set_(
    variable: Variable,
    algorithm: Algorithm = None,
    description: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Set a secret to what standard input holds, or to what is typed; workers that run end after their calls."""
    import msgspec

    interactive = sys.stdin.isatty()
    value = typer.prompt("Value", hide_input=True) if interactive else sys.stdin.read().removesuffix("\n")
    if not value:
        raise ConfigError("standard input holds no value; pipe one into the command")
    with connect(algorithm) as client:
        name = named(algorithm, client)
        made = client.accounts.set_secret(name, variable, value, description=description)
    done(json, f"{name} has the secret {variable}", msgspec.json.encode(made))


@app.command(name="list")
def list_secrets(algorithm: Algorithm = None, json: Json = False) -> None:
    """List the secrets of an algorithm, without their values."""
    import msgspec

    with connect(algorithm) as client:
        found = client.accounts.secrets(named(algorithm, client))
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("variable", "changed", "description", box=None)
    for one in found:
        changed = one.modified[:16].replace("T", " ")
        table.add_row(*(Text(printable(cell)) for cell in (one.secret_key, changed, one.description)))
    tables().print(table)


@app.command()
def remove(variable: Variable, algorithm: Algorithm = None, json: Json = False) -> None:
    """Delete a secret."""
    with connect(algorithm) as client:
        name = named(algorithm, client)
        there = next((one for one in client.accounts.secrets(name) if one.secret_key == variable), None)
        if there is None:
            raise NotFound(f"{name} has no secret {variable}; list them: pushpoint secrets list")
        client.accounts.remove_secret(name, there.id)
    done(json, f"{variable} is gone")
