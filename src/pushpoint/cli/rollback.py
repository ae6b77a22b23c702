"""`pushpoint rollback`: an older release becomes live again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.errors import NotFound

if TYPE_CHECKING:
    from pushpoint.wire import DeploymentView


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
    with connect(algorithm) as client:
        name = named(algorithm, client)
        live = client.live(name)
        if live is None:
            raise NotFound(f"{name} has no live release to roll back from; deploy one")
        target = version or _before(live, list(client.deployments(name)))
        if target is None:
            raise NotFound(f"{name} had no other release live before {live.release.version}; name the version to go to")
        if target == live.release.version:
            report.line(f"{name} {target} is live already")
            if json:
                typer.echo(msgspec.json.encode(live))
            return
        with report.step(f"roll back {name} from {live.release.version} to {target}"):
            begun = client.roll_out(name, target, deploy_id=f"rollback-{uuid4()}", is_rollback=True)
            done = wait_until_live(name, begun, client=client, report=report)
    if json:
        typer.echo(msgspec.json.encode(done))
    else:
        text = f"{name} {done.release.version} (generation {done.generation})"
        Console(stderr=True).print(Text.assemble(("live: ", "bold green"), text))


def _before(live: DeploymentView, deployments: list[DeploymentView]) -> str | None:
    """Find what was live before the live release came, so that a second rollback goes further back, not forth.

    Returns:
        A version, or none.
    """
    version = live.release.version
    came = min(one.generation for one in deployments if one.generation and one.release.version == version)
    earlier = [one for one in deployments if one.generation and one.generation < came and not one.is_rollback]
    return earlier[0].release.version if earlier else None
