"""`pushpoint keys`: make, list and end keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, connect_to_accounts, done
from pushpoint.errors import ConfigError
from pushpoint.report import printable, tables

if TYPE_CHECKING:
    from pushpoint.client import Client

app = typer.Typer(
    name="keys",
    help="Make, list and end API keys: your own, an organization's or, with the admin key, another user's.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
User = Annotated[str | None, typer.Option(help="Whose [default: yours]; another user's takes the admin key.")]
Organization = Annotated[str | None, typer.Option(help="The organization's own instead; its owners may.")]


@app.command()
def add(
    label: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do: call, read, data, view, manage; or admin alone. Repeatable [default: all but admin]",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Which algorithms: algo://OWNER/* or algo://OWNER/NAME. Repeatable [default: all]",
            show_default=False,
        ),
    ] = None,
    user: User = None,
    organization: Organization = None,
    json: Json = False,
) -> None:
    """Make a key, and print it this once on standard output."""
    import msgspec

    with connect_to_accounts(as_admin=user is not None) as client:
        made = client.accounts.add_key(
            _owner(client, user, organization),
            label=label,
            scopes=scope or (),
            patterns=algorithm or (),
            is_organization=organization is not None,
        )
    if json:
        typer.echo(msgspec.json.encode(made))
        return
    say = Console(stderr=True, soft_wrap=True)
    say.print(Text(f"a key of {made.owner_name}'s that may {', '.join(made.scopes)}; it is not shown again:", "green"))
    typer.echo(made.api_key)


@app.command(name="list")
def list_keys(user: User = None, organization: Organization = None, json: Json = False) -> None:
    """List keys: what each may do, and when it was last used."""
    import msgspec

    with connect_to_accounts(as_admin=user is not None) as client:
        owner = _owner(client, user, organization)
        found = client.accounts.keys(owner, is_organization=organization is not None)
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("id", "key", "label", "may", "algorithms", "made", "last used", box=None)
    for one in found:
        patterns = " ".join(one.permissions["algo_acl"])
        cells = (one.id, one.api_key_mask, one.key_label, " ".join(one.scopes), patterns)
        times = (one.created_at[:16].replace("T", " "), (one.last_used_at or "never")[:16].replace("T", " "))
        table.add_row(*(Text(printable(cell)) for cell in (*cells, *times)))
    tables().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as `pushpoint keys list` shows it.")],
    user: User = None,
    organization: Organization = None,
    json: Json = False,
) -> None:
    """End a key, at once."""
    with connect_to_accounts(as_admin=user is not None) as client:
        owner = _owner(client, user, organization)
        client.accounts.revoke_key(owner, key, is_organization=organization is not None)
    done(json, f"{key} is over")


def _owner(client: Client, user: str | None, organization: str | None) -> str:
    if user and organization:
        raise ConfigError("--user and --organization were both given; a key belongs to one of them")
    return user or organization or client.account().name
