"""`pushpoint logs`: what a build said, and what its workers print."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from pushpoint.cli.settings import Algorithm, connect, named
from pushpoint.errors import NotFound
from pushpoint.report import printable


def logs(
    algorithm: Algorithm = None,
    build: Annotated[str | None, typer.Option("--build", help="Id or commit of a build [default: the newest]")] = None,
    output: Annotated[bool, typer.Option("--output", help="Show what the algorithm printed instead.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is done.")] = False,
) -> None:
    """Print the log of a build."""
    with connect(algorithm) as client:
        name = named(algorithm, client)
        if build is None:
            newest = client.builds(name, limit=1)
            if not newest:
                raise NotFound(f"{name} has no build; deploy it")
            build = newest[0].build_id
        build_id = client.build(name, build).build_id
        if output:
            typer.echo(printable(client.output(name, build_id)), nl=False)
            return
        offset = 0
        while True:
            part = client.build_log(name, build_id, offset=offset)
            typer.echo(printable(part.logs), nl=False)
            offset = part.next
            if part.finished or not follow:
                return
            time.sleep(0.3)
