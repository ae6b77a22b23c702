"""One run: the event decides, the CLI's own functions do it, and what came of it becomes a page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stamina import instrumentation

from pushpoint import errors, git
from pushpoint.action import events
from pushpoint.action.inputs import Inputs
from pushpoint.action.summary import Page
from pushpoint.cli import exit_code
from pushpoint.cli.deploy import run as deploy
from pushpoint.cli.settings import read_settings
from pushpoint.client import Client
from pushpoint.config import Config, git_login
from pushpoint.deploy.access import open_client
from pushpoint.deploy.blame import blame
from pushpoint.deploy.plan import STATE, Plan, is_up_to_date, make_plan, top_of, working_alone
from pushpoint.deploy.preview import Compared, Tried, compare, preview
from pushpoint.errors import ConfigError, MissingSetting
from pushpoint.github import Announcement, announced
from pushpoint.identity import is_offered
from pushpoint.report import GitHubReport, printable
from pushpoint.wire import DeploymentView


@dataclass(slots=True, kw_only=True)
class Run:
    """What is known so far; a failure's page shows it too.

    Attributes:
        environment: The job's variables, without secrets.
        report: Tells what happens.
        plan: Once there is one.
        live: What is live, as far as it was looked at.
        metrics: Of a preview.
        cases: Of a preview.
    """

    environment: Mapping[str, str]
    report: GitHubReport
    plan: Plan | None = None
    live: DeploymentView | None = None
    metrics: Mapping[str, Compared] = field(default_factory=dict)
    cases: Sequence[Tried] = ()

    def all(self, asked: Inputs) -> Page:
        """Do what the event may.

        Args:
            asked: The workflow's inputs.

        Returns:
            What to show.
        """
        get = self.environment.get
        decision = events.decide(
            get("GITHUB_EVENT_NAME", ""),
            _payload(get("GITHUB_EVENT_PATH", "")),
            get("GITHUB_REF", ""),
            asked=asked.mode,
            deploy_branch=asked.deploy_branch,
        )
        self.report.line(decision.why)
        top = top_of(Path(get("GITHUB_WORKSPACE") or Path.cwd()))
        if decision.mode == "deploy":
            self._refuse_another_commit(top)
        config = read_settings(top, asked.settings)
        match decision.mode:
            case "deploy":
                return self._deploy(asked, config, top, decision)
            case "preview":
                return self._preview(asked, config, top, decision)
            case "plan":
                return self._plan(asked, config, top, decision)

    def failed(self, error: errors.Error) -> tuple[Page, int]:
        """Say what went wrong, beside the line that has to change.

        Returns:
            What to show, and the exit code; superseded is no failure of this commit.
        """
        if isinstance(error, errors.Superseded):
            text = f"{error}. In a workflow that is the input `force: true`"
            self.report.warn(text)
            return Page(status="superseded", why=text, plan=self.plan, deployment=self.live), 0
        place = blame(error, self.plan) if self.plan else None
        if not self.metrics:
            self.metrics = self._reported()
        self.report.command(
            "error",
            printable(str(error))[:4000],
            file=place.file if place else None,
            line=place.line if place else None,
            title=f"Pushpoint: {type(error).__name__}",
        )
        page = Page(
            status="failed",
            why=str(error),
            plan=self.plan,
            place=place,
            deployment=self.live,
            metrics=self.metrics,
            cases=self.cases,
            plots=self.plots(),
        )
        return page, exit_code(error)

    def left(self) -> list[str]:
        """List what the training left for `upload-artifact`.

        Returns:
            Paths relative to the checkout.
        """
        if self.plan is None:
            return []
        root = Path(self.plan.root)
        found = (root / STATE / self.plan.source.commit[:12]).rglob("*")
        return sorted(str(path.relative_to(root)) for path in found if path.is_file())

    def plots(self) -> list[Path]:
        """List the pictures among them.

        Returns:
            Their paths.
        """
        return [Path(self.plan.root) / path for path in self.left() if "/plot-" in path] if self.plan else []

    def _reported(self) -> dict[str, Compared]:
        """Read the metrics that the notebook got to before it failed.

        Returns:
            Each beside that of the live model.
        """
        from pushpoint.notebooks.evidence import metrics  # slow to import

        for file in self.left():
            if self.plan and file.endswith(".ipynb"):
                with suppress(errors.Error, OSError):
                    found = metrics(Path(self.plan.root) / file)
                    return compare(found, self.live.release.metrics if self.live else {})
        return {}

    def _deploy(self, asked: Inputs, config: Config, top: Path, decision: events.Decision) -> Page:
        client, secrets = _connect(asked, config)
        with client, self._announced(asked, config) as announcement:
            done = deploy(
                config,
                top,
                client=client,
                login=git_login(asked.variables),
                report=self.report,
                secrets=secrets,
                force=asked.force,
                retrain=decision.retrain if asked.retrain is None else asked.retrain,
                planned=lambda plan: self._note(plan, client),
            )
            before, self.live = self.live, done.live
            if announcement and done.live:
                announcement.environment_url = done.plan.endpoint
                announcement.description = f"version {done.live.release.version}"
        if done.live is None:
            return Page(status="built", why="`publish` is none: built, and not published", plan=done.plan)
        if done.unchanged:
            why = "what is live was made from the same inputs; `retrain: true` trains again"
            return Page(status="unchanged", why=why, plan=done.plan, deployment=done.live)
        metrics = compare(done.live.release.metrics, before.release.metrics if before else {})
        return Page(
            status="deployed",
            why=decision.why,
            plan=done.plan,
            deployment=done.live,
            metrics=metrics,
            plots=self.plots(),
        )

    def _announced(self, asked: Inputs, config: Config) -> AbstractContextManager[Announcement | None]:
        if asked.github_token is None:
            return nullcontext()
        return announced(
            self.environment,
            asked.github_token,
            commit=self.environment.get("GITHUB_SHA", ""),
            name=asked.environment or config.algorithm,
            warn=self.report.warn,
        )

    def _preview(self, asked: Inputs, config: Config, top: Path, decision: events.Decision) -> Page:
        secrets = [secret.reveal() for secret in asked.secrets]
        with _optional(asked, config) as client:
            with self.report.step("plan"):
                plan = make_plan(config, top, client=client, environment=self.environment, pushes=False)
                self._note(plan, client)
            with working_alone(plan, self.report):
                made = preview(plan, client=client, report=self.report, secrets=secrets)
        alone = "" if client else ". Not compared with the live model: this job has no `url` and `api-key`"
        self.cases, self.metrics = made.cases, made.metrics
        if made.error:
            raise made.error
        return Page(
            status="previewed",
            why=f"{decision.why}; all {len(made.cases)} cases passed{alone}",
            plan=plan,
            deployment=self.live,
            metrics=made.metrics,
            cases=self.cases,
            plots=self.plots(),
        )

    def _plan(self, asked: Inputs, config: Config, top: Path, decision: events.Decision) -> Page:
        why = f"a deploy would train and go live; nothing was done ({decision.why})"
        with self.report.step("plan"), _optional(asked, config) if decision.trusted else nullcontext() as client:
            deploys = self.environment.get("GITHUB_EVENT_NAME") in events.DEPLOYING
            login = git_login(asked.variables) if deploys else None
            plan = make_plan(config, top, client=client, environment=self.environment, login=login, pushes=deploys)
            self._note(plan, client)
            if is_up_to_date(plan, self.live):
                why = f"nothing changed since what is live: a deploy would do nothing ({decision.why})"
        return Page(status="planned", why=why, plan=plan, deployment=self.live)

    def _note(self, plan: Plan, client: Client | None) -> None:
        self.plan = plan
        if client:
            self.live = client.live(plan.name)

    def _refuse_another_commit(self, top: Path) -> None:
        head, expected = git.commit_of(top).id, self.environment.get("GITHUB_SHA")
        if expected and expected != head:
            raise ConfigError(
                f"{head[:12]} is checked out, but the event is about {expected[:12]}; "
                "use actions/checkout without `ref`, and commit nothing in the workflow before this step"
            )


def _optional(asked: Inputs, config: Config) -> AbstractContextManager[Client | None]:
    # without address and key there is nothing to compare with, and nothing else is missing; a run's identity is for
    # deploying
    can = asked.variables.get("PUSHPOINT_URL") and asked.variables.get("PUSHPOINT_API_KEY")
    return _connect(asked, config)[0] if can else nullcontext()


def _connect(asked: Inputs, config: Config) -> tuple[Client, list[str]]:
    if not asked.variables.get("PUSHPOINT_URL"):
        how = "the workflow gives none, or an empty one: set the variable PUSHPOINT_URL where this job sees it, in the "
        raise MissingSetting("url", how=how + "repository's settings or in the job's environment")
    if not asked.variables.get("PUSHPOINT_API_KEY") and not is_offered(asked.variables):
        how = "the workflow gives none, or an empty one: set the secret PUSHPOINT_API_KEY where this job sees it, "
        raise MissingSetting("api-key", how=how + "or give the job `id-token: write` and trust it: pushpoint trust add")
    instrumentation.set_on_retry_hooks(())  # they write between the workflow commands
    client, secrets = open_client(asked.variables, Path(os.devnull), lambda: config.algorithm)
    return client, [*secrets, *(secret.reveal() for secret in asked.secrets)]


def _payload(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
