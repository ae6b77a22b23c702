"""`pushpoint trust`: which runs of CI may deploy an algorithm without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, done, named
from pushpoint.report import printable, tables

if TYPE_CHECKING:
    from pushpoint.wire import PublisherView

ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}

app = typer.Typer(
    name="trust",
    help="Say which runs of CI may deploy an algorithm without a key: the platform believes what GitHub or GitLab say "
    "of a run.",
    no_args_is_help=True,
)


@app.command()
def add(
    repository: Annotated[
        str, typer.Option(help="Repository whose runs may deploy: OWNER/NAME, spelt as its host spells it.")
    ],
    algorithm: Algorithm = None,
    ref: Annotated[
        str, typer.Option(help="Branch or tag, in full; * stands for anything but a slash.")
    ] = "refs/heads/main",
    workflow: Annotated[
        str | None,
        typer.Option(help="File that must define the run: deploy.yml, .gitlab-ci.yml [default: any]"),
    ] = None,
    environment: Annotated[str | None, typer.Option(help="Environment that the job must be in [default: any]")] = None,
    issuer: Annotated[str, typer.Option(help="Who vouches for the run: github, gitlab, or an address.")] = "github",
    repository_id: Annotated[
        str | None, typer.Option(help="The repository's number there [default: that of the first run]")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Collection of yours for its models [default: named like the algorithm]")
    ] = None,
    json: Json = False,
) -> None:
    """Let runs of a repository deploy an algorithm, which is created if it is new."""
    import msgspec

    from pushpoint.wire import NewPublisher

    say = Console(stderr=True, soft_wrap=True)
    with connect(algorithm) as client:
        name = named(algorithm, client)
        if not client.exists(name):
            client.create(name)
            say.print(Text(f"created {name}: it is new", "green"))
        asked = NewPublisher(
            repository=repository,
            issuer=ISSUERS.get(issuer, issuer),
            ref=ref,
            workflow=workflow,
            environment=environment,
            repository_id=repository_id,
            collection=collection,
        )
        made = client.trust(name, asked)
    if json:
        typer.echo(msgspec.json.encode(made))
        return
    say.print(Text.assemble(("trusted: ", "bold green"), printable(_described(made))))
    say.print(Text(f'the repository names the algorithm with its owner: algorithm = "{name}" in pushpoint.toml', "dim"))
    typer.echo(made.id)


@app.command(name="list")
def list_publishers(algorithm: Algorithm = None, json: Json = False) -> None:
    """List who may deploy an algorithm without a key."""
    import msgspec

    with connect(algorithm) as client:
        found = client.publishers(named(algorithm, client))
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("publisher", "repository", "number", "ref", "workflow", "environment", "models", "issuer", box=None)
    for one in found:
        number = one.repository_id or "of the first run"
        cells = (one.repository, number, one.ref, one.workflow or "any", one.environment or "any", one.collection)
        table.add_row(one.id, *(Text(printable(cell)) for cell in (*cells, one.issuer)))
    tables().print(table)


@app.command()
def remove(
    publisher: Annotated[str, typer.Argument(help="Its id, as `pushpoint trust list` shows it.")],
    algorithm: Algorithm = None,
    json: Json = False,
) -> None:
    """Trust a publisher no longer; the keys that its runs hold end at once."""
    with connect(algorithm) as client:
        name = named(algorithm, client)
        client.distrust(name, publisher)
    done(json, f"{name} trusts {publisher} no longer")


def _described(made: PublisherView) -> str:
    parts = [f"{made.repository} at {made.ref}"]
    parts += [f"workflow {made.workflow}"] if made.workflow else []
    parts += [f"environment {made.environment}"] if made.environment else []
    return f"{', '.join(parts)} ({made.issuer})"
