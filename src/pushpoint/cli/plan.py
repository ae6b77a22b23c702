"""`pushpoint plan`: what a deploy would do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, connect, read_settings, with_settings
from pushpoint.config import git_login
from pushpoint.report import printable, tables


@with_settings
def plan(flags: Mapping[str, Any], json: Json = False) -> None:
    """Show what `pushpoint deploy` would do with the checked-out commit, and do nothing."""
    import msgspec

    from pushpoint.deploy.plan import is_up_to_date, make_plan, top_of

    top = top_of(Path.cwd())
    config = read_settings(top, flags)
    with connect(config.algorithm) as client:
        made = make_plan(config, top, client=client, environment=os.environ, login=git_login(os.environ))
        is_told = made.repository is None or client.source(made.name) is not None
        live = client.live(made.name)
        unchanged = is_up_to_date(made, live)
    if json:
        typer.echo(msgspec.json.encode({"plan": made, "up_to_date": unchanged, "live": live}))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "platform": made.url,
        "algorithm": made.algorithm,
        "commit": f"{made.source.commit[:12]} {made.source.message.partition(chr(10))[0][:60]}",
        "train": f"execute {made.notebook}" if made.notebook else f"nothing; {made.model_path} is checked in",
        "requirements": made.requirements or "none",
        "model": made.model_path,
        "upload to": made.collection,
        "repository": f"{made.repository or made.url + '/git/' + made.algorithm + '.git'}"
        + ("" if is_told else "; the platform is told to build from there"),
        "push": f"{made.inference}/ and the manifest" if made.inference else "the manifest alone; the code stays",
        "publish": f"next {made.publish} version" if made.publish != "none" else "nothing",
        "live now": f"{live.release.version} (generation {live.generation})" if live else "nothing",
        "verdict": "nothing changed since what is live; a deploy would do nothing" if unchanged else "would deploy",
    }
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), Text(printable(value)))
    tables().print(table)
