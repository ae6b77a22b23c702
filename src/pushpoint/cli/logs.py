"""`pushpoint logs`: what a build said, and what its workers print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.errors import NotFound, Unavailable
from pushpoint.report import printable

if TYPE_CHECKING:
    from pushpoint import wire
    from pushpoint.client import Client
    from pushpoint.names import AlgorithmName

T = TypeVar("T")
PAUSE = 1.0
"""Seconds between two looks at a log."""
LOOKS = 5
"""Looks at what a release prints for one at which release is live."""


def logs(
    algorithm: Algorithm = None,
    build: Annotated[str | None, typer.Option("--build", help="Id or commit of a build [default: the newest]")] = None,
    output: Annotated[bool, typer.Option("--output", help="Show what the algorithm printed instead.")] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Go on: until the build is done, with --build; else with what the live release prints, until Ctrl-C.",
        ),
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Begin with the last N lines [default: all of a build, the last 64 KiB of what was printed]",
            show_default=False,
            min=0,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print the log of a build, and what an algorithm prints.

    With --json it is a line of JSON for each part: build, kind (build or output), and text.
    """
    with connect(algorithm) as client:
        found = Logs(client, named(algorithm, client), as_json=json, patient=follow, tail=tail)
        if output and follow and build is None:
            found.follow_live()
            return
        build_id = found.build(build)
        if output:
            found.show_output(build_id, offset=-1)
            while follow:
                time.sleep(PAUSE)
                found.show_output(build_id)
            return
        while not found.show_build(build_id) and follow:
            time.sleep(PAUSE)
        if follow and build is None:
            found.follow_live()


class Logs:
    """The logs of one algorithm, and how far each was shown."""

    def __init__(self, client: Client, name: AlgorithmName, *, as_json: bool, patient: bool, tail: int | None) -> None:
        self._client, self._name, self._as_json, self._patient = client, name, as_json, patient
        self._offsets: dict[tuple[str, str], int] = {}
        self._tails = {} if tail is None else {"build": tail, "output": tail}  # of what there is at the first look

    def build(self, named: str | None) -> str:
        """Find a build by its id or commit, or the newest.

        Returns:
            Its id.

        Raises:
            NotFound: There is none.
        """
        if named is not None:
            return self._client.build(self._name, named).build_id
        newest = self._client.builds(self._name, limit=1)
        if not newest:
            raise NotFound(f"{self._name} has no build; deploy it")
        return newest[0].build_id

    def show_build(self, build_id: str) -> bool:
        """Show what a build has said since the last look.

        Returns:
            Whether it is done.
        """
        return self._show("build", build_id, self._client.build_log, offset=0)

    def show_output(self, build_id: str, *, offset: int = 0) -> None:
        """Show what the workers of a build have printed since the last look, or from an offset on."""
        while not self._show("output", build_id, self._client.output_log, offset=offset):
            pass

    def follow_live(self) -> None:
        """Show what the workers of the live release print, whichever that is, without end."""
        build_id, looks = "", 0
        while True:
            if looks % LOOKS == 0:
                live = self._asked(lambda: self._client.live(self._name))
                if live is None:
                    self._asked(lambda: self._client.builds(self._name, limit=1))  # it may be gone altogether
                now = live.release.build_id if live else ""
                if now != build_id or not looks:
                    _say(f"live: {live.release.version}" if live else f"{self._name} has no live release; waiting")
                build_id = now
            looks += 1
            if build_id:
                self.show_output(build_id, offset=-1)
            time.sleep(PAUSE)

    def _show(self, kind: str, build_id: str, read: Callable[..., wire.LogView], *, offset: int) -> bool:
        begin = self._offsets.get((kind, build_id), offset)
        part = self._asked(lambda: read(self._name, build_id, offset=begin))
        self._offsets[kind, build_id] = part.next
        lines = part.logs.splitlines(keepends=True)
        text = "".join(lines[max(0, len(lines) - self._tails.pop(kind, len(lines))) :])
        if self._as_json:
            if text:
                typer.echo(json.dumps({"build": build_id, "kind": kind, "text": text}))
        else:
            typer.echo(printable(text), nl=False)
        return part.finished

    def _asked(self, ask: Callable[[], T]) -> T:
        told = False
        while True:
            try:
                return ask()
            except Unavailable as error:  # it is being started anew, perhaps
                if not self._patient:
                    raise
                if not told:
                    _say(f"{error}; waiting")
                told = True
                time.sleep(PAUSE)


def _say(sentence: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(printable(sentence), "dim"))
