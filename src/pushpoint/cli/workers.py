"""`pushpoint workers`: what the workers of an algorithm may use and reach, and how many there are."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.limits import in_words
from pushpoint.report import printable
from pushpoint.scaling import MOST_REPLICAS

BYTES = ("memory", "scratch")


def workers(
    algorithm: Algorithm = None,
    memory_limit: Annotated[int | None, typer.Option(help="MiB of memory of a worker.", min=64)] = None,
    cpu_limit: Annotated[float | None, typer.Option(help="Processors of a worker, such as 0.5.", min=0.1)] = None,
    process_limit: Annotated[int | None, typer.Option(help="Processes and threads of a worker.", min=16)] = None,
    open_file_limit: Annotated[int | None, typer.Option(help="Open files of each process of a worker.", min=64)] = None,
    scratch_limit: Annotated[
        int | None, typer.Option(help="MiB of files of a worker, besides its model.", min=1)
    ] = None,
    min_replicas: Annotated[
        int | None, typer.Option(help="Workers that stay when nobody calls.", min=0, max=MOST_REPLICAS)
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option(help="Workers at most, while calls wait.", min=1, max=MOST_REPLICAS)
    ] = None,
    spare_replicas: Annotated[
        int | None,
        typer.Option(help="Ready workers beside the busy ones, while there are calls.", min=0, max=MOST_REPLICAS),
    ] = None,
    idle_after: Annotated[
        float | None, typer.Option(help="Seconds without a call after which workers end.", min=1)
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help="Host that workers may reach; in place of the ones before. Repeatable."
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget what was set before; what is given beside it holds.")
    ] = False,
    json: Json = False,
) -> None:
    """Show or change what the workers of an algorithm may use and reach, and how many there are.

    What is not given stays as it was. The platform's own bounds, options of `pushpoint serve`, cannot be raised. With
    another limit or host the workers of the live release start anew beside the old ones, which go on if they do not.
    """
    import msgspec

    limits = {
        "memory": memory_limit and memory_limit << 20,
        "cpus": cpu_limit,
        "processes": process_limit,
        "open_files": open_file_limit,
        "scratch": scratch_limit and scratch_limit << 20,
    }
    scaling = {
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
        "spare_replicas": spare_replicas,
        "idle_seconds": idle_after,
    }
    network = {"allow": allow or None}
    groups: dict[str, dict[str, Any]] = {"limits": limits, "scaling": scaling, "network": network}
    with connect(algorithm) as client:
        name = named(algorithm, client)
        settings = client.settings(name)
        before = {group: settings.get(group) or {} for group in groups}
        asked = {
            group: ({} if reset else before[group])
            | {setting: value for setting, value in values.items() if value is not None}
            for group, values in groups.items()
        }
        changed = {group: values for group, values in asked.items() if values != before[group]}
        if "network" in changed:
            changed["network"] = {"allow": []} | changed["network"]  # nothing, rather than what an old client asked for
        if changed:
            with Console(stderr=True).status("changing the workers"):
                client.change_settings(name, changed)
        held = client.workers(name)
    if json:
        typer.echo(msgspec.json.encode({"asked": asked, "held": held}))
        return
    for setting, value in {**msgspec.to_builtins(held.limits), **msgspec.to_builtins(held.scaling)}.items():
        wanted = asked["limits"].get(setting, asked["scaling"].get(setting))
        typer.echo(f"{setting:<18}{_shown(setting, value)}{_whose(setting, value, wanted)}")
    typer.echo(f"{'allow':<18}{printable(', '.join(held.allow)) or 'no host'}")
    typer.echo(f"{'workers now':<18}{held.replicas}, with {held.calls_in_flight} calls, {held.calls_queued} waiting")
    if changed:
        Console(stderr=True).print(Text(f"{name} has it from now on", "green"))


def _shown(setting: str, value: float | None) -> str:
    if value is None:
        return "no limit"
    return in_words(int(value)) if setting in BYTES else f"{value:g}"


def _whose(setting: str, value: float | None, wanted: float | None) -> str:
    if wanted is None:
        return ", the platform's"
    return "" if wanted == value else f", the platform's; {_shown(setting, wanted)} asked for"
