"""`pushpoint organizations`: accounts that several users act for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, connect_to_accounts, done
from pushpoint.report import printable, tables

app = typer.Typer(
    name="organizations",
    help="Make, list and delete organizations, and say who is in them. Making one takes the admin key.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Name = Annotated[str, typer.Argument(help="The organization's name.")]
User = Annotated[str, typer.Argument(help="The user's name.")]
AsAdmin = Annotated[bool, typer.Option("--as-admin", help="Use the admin key, not your own.")]


@app.command()
def add(
    name: Name,
    label: Annotated[str, typer.Option(help="What it is called.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Make an organization; the admin key's account is its first owner."""
    import msgspec

    with connect_to_accounts(as_admin=True) as client:
        made = client.accounts.add_organization(name, label=label)
    done(json, f"organization {name}", msgspec.json.encode(made))


@app.command(name="list")
def list_organizations(as_admin: AsAdmin = False, json: Json = False) -> None:
    """List the organizations that you are in, or, as admin, all."""
    import msgspec

    with connect_to_accounts(as_admin=as_admin) as client:
        found = list(client.accounts.organizations())
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("organization", "label", "address", box=None)
    for one in found:
        table.add_row(*(Text(printable(cell)) for cell in (one.org_name, one.org_label, one.org_url)))
    tables().print(table)


@app.command()
def remove(name: Name, as_admin: AsAdmin = False, json: Json = False) -> None:
    """Delete an organization that owns nothing any more."""
    with connect_to_accounts(as_admin=as_admin) as client:
        client.accounts.remove_organization(name)
    done(json, f"{name} is gone")


@app.command()
def members(name: Name, as_admin: AsAdmin = False, json: Json = False) -> None:
    """List the members."""
    import msgspec

    with connect_to_accounts(as_admin=as_admin) as client:
        found = client.accounts.members(name)
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("user", "is", box=None)
    for one in found:
        table.add_row(Text(printable(one.username)), "owner" if one.is_owner else "member")
    tables().print(table)


@app.command()
def add_member(
    name: Name,
    user: User,
    owner: Annotated[bool, typer.Option("--owner", help="Who may also say who is in it.")] = False,
    as_admin: AsAdmin = False,
    json: Json = False,
) -> None:
    """Make a user a member; who is one already stays what they are."""
    with connect_to_accounts(as_admin=as_admin) as client:
        client.accounts.add_member(name, user, is_owner=owner)
    done(json, f"{user} is in {name}")


@app.command()
def remove_member(name: Name, user: User, as_admin: AsAdmin = False, json: Json = False) -> None:
    """Take a user out; the last owner stays."""
    with connect_to_accounts(as_admin=as_admin) as client:
        client.accounts.remove_member(name, user)
    done(json, f"{user} is no longer in {name}")
