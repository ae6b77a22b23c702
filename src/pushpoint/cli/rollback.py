"""`pushpoint rollback`: an older release becomes live again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named


def rollback(
    algorithm: Algorithm = None,
    version: Annotated[str | None, typer.Argument(help="Version to return to [default: the one live before]")] = None,
    json: Json = False,
) -> None:
    """Make an older release live again, after the same checks as a new one."""
    import msgspec

    from pushpoint.deploy.release import roll_back
    from pushpoint.report import quiet, spoken

    with connect(algorithm) as client:
        name = named(algorithm, client)
        done = roll_back(name, version, client=client, report=quiet() if json else spoken())
    if json:
        typer.echo(msgspec.json.encode(done))
    else:
        text = f"{name} {done.release.version} (generation {done.generation})"
        Console(stderr=True).print(Text.assemble(("live: ", "bold green"), text))
