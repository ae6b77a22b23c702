"""`pushpoint preview`: what a deploy of the checked-out commit would bring, without one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pushpoint.cli.settings import Json, connect_and_tell, credential_files, read_settings, with_settings
from pushpoint.errors import MissingSetting
from pushpoint.report import printable, tables

if TYPE_CHECKING:
    from pushpoint.client import Client


@with_settings
def preview(flags: Mapping[str, Any], json: Json = False) -> None:
    """Train the checked-out commit's model and try it out here; upload nothing, push nothing.

    The inference code loads the new model in a confined worker and answers its test cases. Where a platform and a key
    are set, the metrics are shown beside those of the live model.
    """
    import msgspec

    from pushpoint.deploy.plan import make_plan, top_of, working_alone
    from pushpoint.deploy.preview import preview as run
    from pushpoint.report import spoken

    began = time.monotonic()
    report = spoken()
    top = top_of(Path.cwd())
    config = read_settings(top, flags)
    client: Client | None = None
    secrets: list[str] = []
    try:
        client, secrets = connect_and_tell(lambda: config.algorithm)
    except MissingSetting as missing:
        report.line(f"compared with nothing: {missing}")
    with client or nullcontext():
        with report.step("plan"):
            plan = make_plan(config, top, client=client, environment=os.environ, pushes=False)
            report.line(f"commit {plan.source.commit[:12]} as {plan.algorithm}")
        with working_alone(plan, report):
            hidden = credential_files()
            made = run(plan, client=client, report=report, secrets=secrets, hidden=hidden)
    seconds = round(time.monotonic() - began, 3)
    if json:
        from pushpoint.cli import exit_code

        error = made.error
        said = error and {"type": type(error).__name__, "message": str(error), "exit_code": exit_code(error)}
        found = {"preview": made, "seconds": seconds, "steps": report.seconds, "parts": report.parts}
        typer.echo(msgspec.json.encode(found | ({"error": said} if said else {})))
        raise typer.Exit(exit_code(error) if error else 0)
    if made.metrics:
        table = Table("metric", "new", "live", "difference", box=None)
        for name, one in made.metrics.items():
            difference = "" if one.difference is None else f"{one.difference:+.4g}"
            table.add_row(Text(printable(name)), _number(one.new), _number(one.live), difference)
        tables().print(table)
    if made.error:
        raise made.error
    passed = f"loaded in {made.load_seconds:.1f} s, {len(made.cases)} cases passed, after {seconds:.1f} s"
    say = Console(stderr=True, soft_wrap=True)
    say.print(Text.assemble(("good: ", "bold green"), f"{plan.algorithm} {passed}; nothing was uploaded or pushed"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
