"""`pushpoint rollback`: an older release becomes live again."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.errors import NotFound


def rollback(
    algorithm: Algorithm = None,
    version: Annotated[str | None, typer.Argument(help="Version to return to [default: the one live before]")] = None,
    json: Json = False,
) -> None:
    """Make an older release live again, after the same checks as a new one."""
    import msgspec

    from pushpoint.deploy.release import wait_until_live
    from pushpoint.report import quiet, spoken

    report = quiet() if json else spoken()
    with connect() as client:
        name = named(algorithm, client)
        live = client.live(name)
        if live is None:
            raise NotFound(f"{name} has no live release to roll back from; deploy one")
        target = version or next(
            (
                before.release.version
                for before in client.deployments(name)
                if before.generation and before.generation < (live.generation or 0)
                if before.release.version != live.release.version
            ),
            None,
        )
        if target is None:
            raise NotFound(f"{name} never had another release live; name the version to return to")
        with report.step(f"roll back {name} from {live.release.version} to {target}"):
            begun = client.roll_out(name, target, deploy_id=f"rollback-{uuid4()}", is_rollback=True)
            done = wait_until_live(name, begun, client=client, report=report)
    if json:
        typer.echo(msgspec.json.encode(done))
    else:
        text = f"{name} {done.release.version} (generation {done.generation})"
        Console(stderr=True).print(Text.assemble(("live: ", "bold green"), text))
