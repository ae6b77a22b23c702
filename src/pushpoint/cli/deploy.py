"""`pushpoint deploy`: the checked-out commit becomes a live endpoint."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Json, connect_and_tell, read_settings, with_settings


@with_settings
def deploy(
    flags: Mapping[str, Any],
    force: Annotated[
        bool, typer.Option("--force", help="Deploy although nothing changed, or although something newer is live.")
    ] = False,
    json: Json = False,
) -> None:
    """Train the checked-out commit's model, store it, and make it live once it is built, verified and tried out.

    A deploy that was stopped goes on where it was. When nothing the model is made from has changed, nothing is done.
    """
    import msgspec

    from pushpoint.deploy import deploy as run
    from pushpoint.deploy.journal import Journal
    from pushpoint.deploy.plan import is_up_to_date, make_plan, overlooked, top_of, working_alone
    from pushpoint.report import spoken

    began = time.monotonic()
    report = spoken()
    top = top_of(Path.cwd())
    config = read_settings(top, flags)
    client, secrets = connect_and_tell(lambda: config.algorithm)
    with client:
        with report.step("plan"):
            plan = make_plan(config, top, client=client, environment=os.environ, force=force)
            report.line(f"commit {plan.source.commit[:12]} to {plan.algorithm} on {plan.url}")
        with working_alone(plan, report):  # asked only now: who was waited for may have deployed the same
            live = client.live(plan.name)
            unchanged = is_up_to_date(plan, live)
            journal = Journal(plan.state / "journal" / f"{plan.id}.jsonl", report=report)
            if not unchanged:
                live = run(plan, client=client, journal=journal, report=report, secrets=secrets)
            journal.forget()
    seconds = round(time.monotonic() - began, 3)
    if json:
        found = {
            "algorithm": plan.algorithm,
            "up_to_date": unchanged,
            "deployment": live,
            "endpoint": f"{plan.url}/v1/algo/{plan.algorithm}",
            "seconds": seconds,
            "steps": report.seconds,
            "parts": report.parts,
        }
        typer.echo(msgspec.json.encode(found))
        return
    say = Console(stderr=True, soft_wrap=True)
    if live is None:
        say.print(Text(f"built {plan.algorithm}, published nothing: publish is none", "green"))
        return
    release = live.release
    if unchanged:
        text = f"{plan.algorithm} {release.version} was made from the same inputs and settings; --force trains again"
        say.print(Text.assemble(("up to date: ", "green"), text))
        if others := overlooked(plan, live):
            more = f" and {len(others) - 5} more" if len(others) > 5 else ""
            text = f"changed since, but not declared: {', '.join(others[:5])}{more}; if the model depends on them, "
            say.print(Text(text + "add them to `data` in pushpoint.toml", "yellow"))
    else:
        say.print(
            Text.assemble(
                ("live: ", "bold green"),
                f"{plan.algorithm} {release.version} (generation {live.generation}) after {seconds:.1f} s",
            )
        )
    if release.model:
        say.print(Text(f"model {release.model.uri}\n      sha256 {release.model.sha256}", "dim"))
    sample = shlex.quote(release.sample_input or '"INPUT"')
    say.print(Text(f"call it: pushpoint call {plan.algorithm} --json-input {sample}", "dim"))
    typer.echo(f"{plan.url}/v1/algo/{plan.algorithm}")
