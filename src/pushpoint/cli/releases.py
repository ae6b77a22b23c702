"""`pushpoint releases`: what there is, and what is live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.report import printable, tables

SHOWN = 3
"""Metrics in the table; `--json` has all of them."""


def releases(
    algorithm: Algorithm = None,
    history: Annotated[
        bool, typer.Option("--history", help="List the deployments instead: what was live when, and who put it there.")
    ] = False,
    json: Json = False,
) -> None:
    """List the releases of an algorithm, newest first, with the commit, the model and the metrics of each."""
    import msgspec

    with connect(algorithm) as client:
        name = named(algorithm, client)
        if history:
            deployments = list(client.deployments(name))
            if json:
                typer.echo(msgspec.json.encode(deployments))
                return
            table = Table("generation", "version", "state", "since", "by", "why", box=None)
            for deployment in deployments:
                table.add_row(
                    str(deployment.generation or ""),
                    deployment.release.version,
                    deployment.state,
                    (deployment.live_since or deployment.created).strftime("%Y-%m-%d %H:%M:%S"),
                    printable(deployment.run or deployment.actor),
                    Text("rollback" if deployment.is_rollback else printable(deployment.reason)[:100]),
                )
            tables().print(table)
            return
        found = list(client.releases(name))
    if json:
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("state", "version", "published", "commit", "model sha256", "metrics", "message", box=None)
    for release in found:
        table.add_row(
            "live" if release.is_live else release.state or "never deployed",
            release.version,
            release.published.strftime("%Y-%m-%d %H:%M:%S"),
            release.source.commit[:12] if release.source else "",
            release.model.sha256[:16] if release.model else "",
            Text(_shortly(release.metrics)),
            Text(printable(release.source.message.partition("\n")[0])[:50] if release.source else ""),
        )
    tables().print(table)


def _shortly(metrics: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {number:.4g}" for name, number in list(metrics.items())[:SHOWN])
    return printable(shown) + (f" and {len(metrics) - SHOWN} more" if len(metrics) > SHOWN else "")
