"""`pushpoint source`: the repository on a git host that an algorithm is built from."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.config import git_login
from pushpoint.errors import ConfigError, NotFound
from pushpoint.names import check_branch, repository_url
from pushpoint.report import printable

if TYPE_CHECKING:
    from pushpoint.wire import SourceStatus, SourceView

source = typer.Typer(
    name="source",
    help="Say which repository on a git host an algorithm is built from, instead of the platform's own.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@source.command("set")
def set_(
    repository: Annotated[str, typer.Option(metavar="URL", help="Its address, https://HOST/OWNER/NAME.git.")],
    algorithm: Algorithm = None,
    branch: Annotated[
        str | None, typer.Option(help="The branch that is built [default: the one the host's HEAD names]")
    ] = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from standard input, not from PUSHPOINT_GIT_TOKEN.")
    ] = False,
    json: Json = False,
) -> None:
    """Have an algorithm, which is made if it is new, built from a repository on a git host.

    A private one needs a token that may read it and no more, in PUSHPOINT_GIT_TOKEN; its user's name goes into
    PUSHPOINT_GIT_USER where the host cares. The platform keeps them sealed. The webhook's secret is shown once.
    """
    from pushpoint.wire import SetSource

    variables = dict(os.environ)
    if token_stdin:
        variables["PUSHPOINT_GIT_TOKEN"] = sys.stdin.readline()
    login = git_login(variables)
    if token_stdin and login is None:
        raise ConfigError("--token-stdin was given, and standard input holds no token; pipe one into the command")
    asked = SetSource(
        url=str(repository_url(repository)),
        branch=check_branch(branch) if branch else None,
        user=login.user if login else None,
        token=login.token.reveal() if login else None,
    )
    with connect() as client:
        name = named(algorithm, client)
        client.create(name)
        _show(client.set_source(name, asked), client.source_status(name), json=json)


@source.command()
def show(algorithm: Algorithm = None, json: Json = False) -> None:
    """Show what an algorithm is built from, and whether the platform can fetch it."""
    with connect() as client:
        name = named(algorithm, client)
        found = client.source(name)
        if found is None:
            raise NotFound(f"{name} is hosted on the platform; `pushpoint source set` moves it to a git host")
        _show(found, client.source_status(name), json=json)


@source.command()
def remove(algorithm: Algorithm = None) -> None:
    """Have an algorithm hosted on the platform again, with what was fetched."""
    with connect() as client:
        name = named(algorithm, client)
        client.remove_source(name)
    Console(stderr=True).print(Text(f"{name} is hosted on the platform", "green"))


@source.command()
def secret(algorithm: Algorithm = None, json: Json = False) -> None:
    """Replace the secret of an algorithm's webhook, and show the new one once."""
    with connect() as client:
        name = named(algorithm, client)
        _show(client.renew_secret(name), client.source_status(name), json=json)


@source.command()
def reset(algorithm: Algorithm = None) -> None:
    """Take the host's branch as it is, although its history was rewritten; what was built before stays."""
    with connect() as client:
        name = named(algorithm, client)
        commit = client.reset_source(name)
    typer.echo(commit)


def _show(found: SourceView, status: SourceStatus, *, json: bool) -> None:
    import msgspec

    if json:
        typer.echo(msgspec.json.encode({"source": found, "status": status}))
        return
    rows = {
        "repository": found.url,
        "branch": found.branch or "the host's HEAD",
        "fetched as": found.user or "nobody",
        "status": f"{status.scm_connection_status} {status.message}".strip(),
        "webhook": found.webhook_url,
        "secret": found.webhook_secret or "",
    }
    for name, value in rows.items():
        if value:
            typer.echo(f"{name:<12}{printable(value)}")
    if found.webhook_secret:
        say = "the secret is not shown again: give it to the host's webhook, with pushes as its events"
        Console(stderr=True).print(Text(say, "yellow"))
