"""`pushpoint deploy`: the checked-out commit becomes a live endpoint."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.settings import Json, connect_and_tell, credential_files, read_settings, with_settings
from pushpoint.config import Config, git_login

if TYPE_CHECKING:
    from pushpoint.client import Client
    from pushpoint.config import GitLogin
    from pushpoint.deploy.plan import Plan
    from pushpoint.report import Report
    from pushpoint.wire import DeploymentView


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a deploy came to.

    Attributes:
        plan: What was to be done.
        live: What is live; none where `publish` is `none`.
        unchanged: Whether it was live before: nothing the model is made from has changed.
    """

    plan: Plan
    live: DeploymentView | None
    unchanged: bool


def run(
    config: Config,
    top: Path,
    *,
    client: Client,
    login: GitLogin | None,
    report: Report,
    secrets: Sequence[str],
    force: bool = False,
    retrain: bool = False,
    planned: Callable[[Plan], object] = lambda plan: None,
) -> Outcome:
    """Deploy the commit that is checked out, unless what is live was made from the same.

    Args:
        config: The settings.
        top: Top of the ML repository's work tree.
        client: The platform.
        login: Who we are on the git host, if the algorithm's repository is on one.
        report: Told what happens.
        secrets: Texts that the notebook's environment must not hold.
        force: Whether to deploy although nothing changed or something newer is live.
        retrain: Whether to deploy although nothing changed.
        planned: Told the plan, as soon as there is one.

    Returns:
        What it came to.
    """
    from pushpoint.deploy import deploy as line
    from pushpoint.deploy.journal import Journal
    from pushpoint.deploy.plan import is_up_to_date, make_plan, working_alone

    with report.step("plan"):
        plan = make_plan(config, top, client=client, environment=os.environ, login=login, force=force, retrain=retrain)
        report.line(f"commit {plan.source.commit[:12]} to {plan.algorithm} on {plan.url}")
    planned(plan)
    with working_alone(plan, report):  # asked only now: who was waited for may have deployed the same
        live = client.live(plan.name)
        unchanged = is_up_to_date(plan, live)
        journal = Journal(plan.state / "journal" / f"{plan.id}.jsonl", report=report)
        if not unchanged:
            hidden = credential_files()
            live = line(
                plan,
                client=client,
                journal=journal,
                report=report,
                secrets=secrets,
                hidden=hidden,
                login=login,
            )
        journal.forget()
    return Outcome(plan=plan, live=live, unchanged=unchanged)


@with_settings
def deploy(
    flags: Mapping[str, Any],
    force: Annotated[
        bool, typer.Option("--force", help="Deploy although nothing changed, or although something newer is live.")
    ] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train and deploy although nothing changed.")] = False,
    json: Json = False,
) -> None:
    """Train the checked-out commit's model, store it, and make it live once it is built, verified and tried out.

    A deploy that was stopped goes on where it was. When nothing the model is made from has changed, nothing is done.
    """
    import msgspec

    from pushpoint.deploy.plan import overlooked, top_of
    from pushpoint.report import spoken

    began = time.monotonic()
    report = spoken()
    top = top_of(Path.cwd())
    config = read_settings(top, flags)
    login = git_login(os.environ)
    client, secrets = connect_and_tell(lambda: config.algorithm)
    secrets += [login.token.reveal()] if login else []
    with client:
        done = run(
            config, top, client=client, login=login, report=report, secrets=secrets, force=force, retrain=retrain
        )
    plan, live, unchanged = done.plan, done.live, done.unchanged
    seconds = round(time.monotonic() - began, 3)
    if json:
        found = {
            "algorithm": plan.algorithm,
            "up_to_date": unchanged,
            "deployment": live,
            "endpoint": plan.endpoint,
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
        text = f"{plan.algorithm} {release.version} was made from the same inputs and settings; --retrain trains again"
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
    typer.echo(plan.endpoint)
