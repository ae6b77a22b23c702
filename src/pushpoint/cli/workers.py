"""`pushpoint workers`: what the workers of an algorithm may use, and how many there are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.limits import in_words
from pushpoint.scaling import MOST_REPLICAS

PLATFORM = "as the platform has it"
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
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget what was set before; what is given beside it holds.")
    ] = False,
    json: Json = False,
) -> None:
    """Show or change what the workers of an algorithm may use, and how many there are.

    What is not given stays as it was. The platform's own bounds, options of `pushpoint serve`, cannot be raised. With
    another limit the workers of the live release start anew beside the old ones; if they do not, the old ones go on.
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
    groups: dict[str, dict[str, int | float | None]] = {"limits": limits, "scaling": scaling}
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
        if changed:
            with Console(stderr=True).status("changing the workers"):
                client.change_settings(name, changed)
    if json:
        typer.echo(msgspec.json.encode(asked))
        return
    for group, values in groups.items():
        for setting in values:
            value = asked[group].get(setting)
            shown = PLATFORM if value is None else in_words(int(value)) if setting in BYTES else f"{value:g}"
            typer.echo(f"{setting:<16}{shown}")
    if changed:
        Console(stderr=True).print(Text(f"{name} has it from now on", "green"))
