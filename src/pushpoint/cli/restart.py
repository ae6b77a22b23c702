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
    say = Console(stderr=True, soft_wrap=True)
    found = {"error": "the platform ended meanwhile; start it again"}
    with socket.socket(socket.AF_UNIX) as asking, say.status("asking the platform") as status:
        try:
            asking.connect(str(path))
        except OSError as error:
            folder = path.parents[1]
            raise NotFound(f"no platform runs on {folder}; start it with pushpoint serve --home {folder}") from error
        for line in asking.makefile("rb"):
            said = json.loads(line)
            if "doing" not in said:
                found = said
            elif say.is_terminal:
                status.update(Text(said["doing"]))
            else:
                say.print(Text(said["doing"], "dim"))
    if "error" in found:
        raise Unavailable(found["error"])
    which = f"process {found['process']} answers now; signals still go to {found['first']}, which it was started as"
    say.print(Text.assemble(("restarted: ", "bold green"), which))
