"""`pushpoint call`: one call, as any caller would make it."""

from __future__ import annotations

import base64
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Json, connect, of_repository
from pushpoint.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pushpoint.client.api import Result


def call(
    algorithm: Annotated[
        str | None,
        typer.Argument(
            help="NAME or OWNER/NAME, and perhaps /VERSION [default: the algorithm of this repository]",
            show_default=False,
        ),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", "-t", help="Input: this text.")] = None,
    json_input: Annotated[
        str | None, typer.Option("--json-input", "-d", help="Input: this JSON; @FILE reads it from a file.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Input: the bytes of this file; - is standard input.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the algorithm may take.")] = 300.0,
    stdout: Annotated[bool, typer.Option("--stdout", help="Show what the algorithm prints, too.")] = False,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Print what the algorithm generates as it comes, text without breaks between."),
    ] = False,
    json: Json = False,
) -> None:
    """Call an algorithm and print its result.

    With --stream and --json it is a line of JSON for each item, {"item": ..., "content_type": ...}, and one with error,
    metadata and lineage at the end; bytes are base64.
    """
    from pushpoint.names import reference

    given = [value for value in (text, json_input, file) if value is not None]
    if len(given) != 1:
        raise ConfigError("give the input once: --text, --json-input or --file")
    if text is not None:
        body, kind = text.encode(), "text/plain"
    elif json_input is not None:
        if json_input.startswith("@"):
            json_input = _read(Path(json_input[1:])).decode("utf-8", "replace")
        try:
            jsonlib.loads(json_input)
        except ValueError as error:
            raise ConfigError(f"the input is not JSON ({error}); use --text for plain text") from error
        body, kind = json_input.encode(), "application/json"
    else:
        body, kind = _read(file), "application/octet-stream"
    algorithm = algorithm or of_repository()
    with connect("/".join(algorithm.removeprefix("algo://").split("/")[:2])) as client:
        owner = client.account().name if algorithm.removeprefix("algo://").count("/") < 2 else None
        name = reference(algorithm, owner=owner)
        if stream:
            items = client.generate(name, body, content_type=kind, timeout=timeout, stdout=stdout)
            result = _shown(items, as_json=json)
        else:
            result = client.call(name, body, content_type=kind, timeout=timeout, stdout=stdout)
    if json:
        end = {"error": result.error, "metadata": result.metadata, "lineage": result.lineage}
        typer.echo(jsonlib.dumps(end if stream else {"result": _plain(result.value)} | end))
    say = Console(stderr=True, soft_wrap=True)
    if printed := result.metadata.get("stdout"):
        say.print(Text(str(printed).rstrip(), "dim"))
    if result.error:
        kind = result.error.get("error_type", "AlgorithmError")
        if (trace := result.error.get("stacktrace")) and kind != "InputError":
            say.print(Text(str(trace).rstrip(), "dim"))
        say.print(Text.assemble((f"{kind}: ", "bold red"), str(result.error.get("message"))))
        raise typer.Exit(1)
    if json:
        return
    made = result.lineage.get
    facts = [f"{made('algorithm')} {made('version', '')}".rstrip()]
    facts += [f"{what} {value[:12]}" for what in ("source-commit", "model-sha256") if (value := made(what))]
    say.print(Text(" · ".join(facts), "dim"))
    if not stream:
        _show(result.value, "\n")


def _shown(items: Generator[object, None, Result], *, as_json: bool) -> Result:
    item: object = None
    while True:
        try:
            item = next(items)
        except StopIteration as end:
            if isinstance(item, str) and not as_json:
                typer.echo()
            result: Result = end.value
            return result
        if as_json:
            typer.echo(jsonlib.dumps(_line(item)))
        else:
            _show(item, "")  # what a text generates is pieces of it


def _show(value: object, end: str) -> None:
    if isinstance(value, bytes):
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
    elif isinstance(value, str):
        typer.echo(value + end, nl=False)
    else:
        typer.echo(jsonlib.dumps(value, ensure_ascii=False))


def _plain(value: object) -> object:
    return {"size": len(value)} if isinstance(value, bytes) else value


def _line(item: object) -> dict[str, object]:
    match item:
        case bytes():
            return {"item": base64.b64encode(item).decode(), "content_type": "binary"}
        case str():
            return {"item": item, "content_type": "text"}
    return {"item": item, "content_type": "json"}


def _read(file: Path | None) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else Path(str(file)).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); check its name") from error
