"""`pushpoint users`: who has an account on the platform."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, connect_to_accounts, done
from pushpoint.errors import ConfigError
from pushpoint.report import printable, tables

app = typer.Typer(
    name="users",
    help="Make, list and delete users. Takes the admin key: PUSHPOINT_ADMIN_KEY, or that of the profile.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Name = Annotated[str, typer.Argument(help="The user's name.")]


@app.command()
def add(
    name: Name,
    email: Annotated[str, typer.Option(help="Where the user is reached.", show_default=False)] = "",
    fullname: Annotated[str, typer.Option(help="What the user is called.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Make a user, and print their first key this once on standard output."""
    import msgspec

    with connect_to_accounts(as_admin=True) as client:
        client.accounts.add_user(name, email=email, fullname=fullname)
        made = client.accounts.add_key(name, label="first key")
    if json:
        typer.echo(msgspec.json.encode(made))
        return
    say = Console(stderr=True, soft_wrap=True)
    say.print(Text(f"user {made.owner_name}; their first key, which is not shown again:", "green"))
    typer.echo(made.api_key)


@app.command(name="list")
def list_users(json: Json = False) -> None:
    """List the users."""
    import msgspec

    with connect_to_accounts(as_admin=True) as client:
        found = list(client.accounts.users())
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("user", "full name", "e-mail", box=None)
    for one in found:
        table.add_row(*(Text(printable(cell)) for cell in (one.username, one.fullname, one.email)))
    tables().print(table)


@app.command()
def password(name: Name, json: Json = False) -> None:
    """Give a user a password for git; it is asked for, or read from standard input."""
    typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if sys.stdin.isatty() else ""
    wanted = typed or sys.stdin.readline().rstrip("\n")
    if not wanted:
        raise ConfigError("standard input holds no password; pipe one into the command")
    with connect_to_accounts(as_admin=True) as client:
        client.accounts.set_password(name, wanted)
    done(json, f"{name} has a password for git")


@app.command()
def remove(name: Name, json: Json = False) -> None:
    """Delete a user who owns nothing any more; their keys end."""
    with connect_to_accounts(as_admin=True) as client:
        client.accounts.remove_user(name)
    done(json, f"{name} is gone")
