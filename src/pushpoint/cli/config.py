"""`pushpoint config`: every setting, its value, and where the value came from."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, read_settings, with_settings
from pushpoint.config import SETTINGS, credentials, profile_path
from pushpoint.errors import ConfigError
from pushpoint.report import tables


@with_settings
def config(flags: Mapping[str, Any], json: Json = False) -> None:
    """Show each setting's value and the layer it came from: default, pushpoint.toml, environment or flag."""
    from pushpoint import identity
    from pushpoint.deploy.plan import top_of

    resolved = read_settings(top_of(Path.cwd()), flags)
    rows = [(setting.name, getattr(resolved, setting.field), resolved.origins[setting.name]) for setting in SETTINGS]
    name = resolved.algorithm.rpartition("/")[2]
    derived = {
        "inference": name,
        "collection": f"data://{resolved.algorithm if '/' in resolved.algorithm else f'OWNER/{name}'}",
    }
    rows = [(setting, derived.get(setting) if value is None else value, origin) for setting, value, origin in rows]
    problem = ""
    try:
        found = credentials(os.environ, profile_path(os.environ), is_vouched_for=identity.is_offered(os.environ))
        key = str(found.key) if found.key else "none: CI vouches for this job"
        rows += [("url", found.url, found.origin), ("api-key", key, found.origin)]
    except ConfigError as error:
        problem = str(error)
    if json:
        typer.echo(jsonlib.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}))
        return
    table = Table("setting", "value", "from", box=None)
    for name, value, origin in rows:
        shown = "" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
        table.add_row(name, Text(shown), origin)
    tables().print(table)
    if problem:
        Console(stderr=True, soft_wrap=True).print(Text(f"no platform yet: {problem}", "yellow"))
