"""The deploy, as one line: each step takes values and returns a value, and the last value is the deployment.

Nothing that others see changes before `push`, nothing is live before `roll_out`. There is no clock and no chance in the
line: times come from recorded values, so a run that goes on where another was killed makes the same manifest, the same
commit and the same deploy id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pushpoint.client import Client
from pushpoint.config import GitLogin
from pushpoint.deploy.hosting import register
from pushpoint.deploy.journal import Journal
from pushpoint.deploy.plan import Plan
from pushpoint.deploy.push import push
from pushpoint.deploy.release import publish, roll_out, wait_for_build
from pushpoint.deploy.train import Training, is_unchanged, manifest_of, train
from pushpoint.deploy.upload import upload
from pushpoint.digests import describe
from pushpoint.errors import Superseded
from pushpoint.report import Report
from pushpoint.wire import DeploymentView


def deploy(
    plan: Plan,
    *,
    client: Client,
    journal: Journal,
    report: Report,
    secrets: Sequence[str] = (),
    hidden: Sequence[Path] = (),
    login: GitLogin | None = None,
) -> DeploymentView | None:
    """Take a planned commit to a live endpoint, or go on where an earlier run stopped.

    Args:
        plan: What to deploy.
        client: The platform.
        journal: What an earlier run of the same plan has done.
        report: Told what happens.
        secrets: Texts that the notebook's environment must not hold.
        hidden: Files that the notebook must not see.
        login: Who we are on the git host, if the algorithm's repository is on one.

    Returns:
        The deployment, live; none where `publish` is `none`, which ends after the build.

    Raises:
        Error: A step failed; no later step was taken, and the same command may be run again.
        Superseded: The release was live and is over, or something newer is live.
    """
    if register(plan.name, plan.hosting, client=client):
        report.line(f"the platform builds {plan.algorithm} from {plan.repository} from now on")
    training: Training = journal.step(train, plan, report=report, secrets=secrets, hidden=hidden)
    if not is_unchanged(training):
        journal.forget()  # the model was written again since that training; it proves nothing about this file
        training = journal.step(train, plan, report=report, secrets=secrets, hidden=hidden)
    with report.step("describe"), report.progress("hashing", Path(training.model_path).stat().st_size) as progress:
        model = describe(Path(training.model_path), progress=progress)
    uri = journal.step(upload, plan, model, training.model_path, client=client, report=report)
    manifest = manifest_of(plan, model, training, uri)
    commit = journal.step(push, plan, manifest, client=client, report=report, login=login)
    build = journal.step(wait_for_build, plan.name, commit, client=client, report=report, again=journal.replayed)
    if plan.publish == "none":
        return None
    version = journal.step(publish, plan, build, commit, client=client, report=report)
    try:
        return roll_out(plan.name, version, manifest.deploy_id, client=client, report=report)
    except Superseded:
        journal.forget()  # what was noted leads to a release that is over
        raise
