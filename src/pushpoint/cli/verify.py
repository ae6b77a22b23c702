"""`pushpoint verify`: are the stored models still the bytes that were trained."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Algorithm, Json, connect, named
from pushpoint.errors import DigestMismatch, IntegrityError, NotFound

_DAMAGED = 4
"""Exit code of an IntegrityError; with --json the result itself says what is wrong."""


def verify(
    algorithm: Algorithm = None,
    version: Annotated[str | None, typer.Argument(help="Only this version [default: every release]")] = None,
    json: Json = False,
) -> None:
    """Read the stored model of every release again and compare it with the digest of its manifest."""
    import msgspec

    from pushpoint.digests import describe_bytes
    from pushpoint.names import data_path

    say = Console(stderr=True, soft_wrap=True)
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    with connect(algorithm) as client:
        name = named(algorithm, client)
        for release in client.releases(name):
            if (version and release.version != version) or not release.model:
                continue
            expected, actual = f"sha256:{release.model.sha256}", "nothing"
            try:
                with client.open(data_path(release.model.uri)) as pieces:
                    actual = describe_bytes(pieces).digest
            except (NotFound, IntegrityError) as error:
                actual = f"nothing ({error})"
            good = actual == expected
            found.append({"version": release.version, "uri": release.model.uri, "ok": good, "actual": actual})
            if not good:
                what = f"the model of version {release.version} ({release.model.uri})"
                wrong.append(str(DigestMismatch(what, expected=expected, actual=actual)))
            if not json:
                mark = ("✓ ", "green") if good else ("✗ ", "red")
                say.print(Text.assemble(mark, f"{release.version}  {release.model.uri}"))
    if version and not found:
        raise NotFound(f"{name} has no version {version} with a model; `pushpoint releases` lists them")
    if json:
        typer.echo(msgspec.json.encode({"ok": not wrong, "releases": found}))
        for sentence in wrong:
            say.print(Text(sentence, "red"))
        raise typer.Exit(_DAMAGED if wrong else 0)
    if wrong:
        raise IntegrityError("\n".join(wrong))
