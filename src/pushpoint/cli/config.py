"""`pushpoint config`: every setting, its value, and where the value came from."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from pushpoint.cli.settings import Json, read_settings, who, with_settings
from pushpoint.config import SETTINGS
from pushpoint.errors import ConfigError


@with_settings
def config(flags: Mapping[str, Any], json: Json = False) -> None:
    """Show each setting's value and the layer it came from: default, pushpoint.toml, environment or flag."""
    from pushpoint.deploy.plan import top_of

    resolved = read_settings(top_of(Path.cwd()), flags)
    rows = [(s.name, getattr(resolved, s.field), resolved.origins[s.name], s.help) for s in SETTINGS]
    try:
        found = who()
        rows += [("url", found.url, found.origin, "The platform"), ("api-key", "********", "", "Your key")]
    except ConfigError as error:
        rows.append(("url", None, str(error), "The platform"))
    if json:
        typer.echo(jsonlib.dumps({name: {"value": value, "origin": origin} for name, value, origin, _ in rows}))
        return
    table = Table("setting", "value", "from", "what it is", box=None)
    for name, value, origin, text in rows:
        shown = "" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
        table.add_row(name, shown, origin, text)
    Console().print(table)
