"""`pushpoint restart`: a running platform hands over to a new process of the same command, and no call fails."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.handover import SOCKET
from pushpoint.errors import NotFound, Unavailable


def restart(
    home: Annotated[Path | None, typer.Option(help="Folder of the platform [default: ~/pushpoint]")] = None,
) -> None:
    """Start the platform of this machine anew, such as after an upgrade, while it goes on answering."""
    path = (home or Path.home() / "pushpoint").absolute() / "run" / SOCKET
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError as error:
            folder = path.parents[1]
            raise NotFound(f"no platform runs on {folder}; start it with pushpoint serve --home {folder}") from error
        said = b"".join(iter(lambda: asking.recv(1 << 16), b""))
    found = json.loads(said or '{"error": "the platform ended meanwhile; start it again"}')
    if "error" in found:
        raise Unavailable(found["error"])
    told = f"process {found['process']} answers now"
    if first := found.get("first"):  # a platform before an upgrade may not say it
        told += f"; process {first}, as which it was started, stays and passes signals on to it"
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("restarted: ", "bold green"), told))
