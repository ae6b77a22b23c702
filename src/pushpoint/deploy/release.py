"""The platform's half of a deploy, seen from here: wait for the build, publish it, have it rolled out."""

from __future__ import annotations

import re
import time

from pushpoint.client import Client
from pushpoint.deploy.plan import Plan
from pushpoint.errors import BuildFailed, NotFound, RolloutFailed, Superseded, Unavailable
from pushpoint.lifecycle import BuildState, DeploymentState
from pushpoint.names import AlgorithmName
from pushpoint.report import Report
from pushpoint.wire import DeploymentView

LOOK = 0.1
"""Seconds between two looks."""
BUILD_TIMEOUT = 3600.0
ROLLOUT_TIMEOUT = 1800.0
_INSTALLED = re.compile(r"\s*[\d.]+s\s+\+ \S+==")
_RELEVANT = 25
"""Lines of a failed build's log that are shown."""


def wait_for_build(plan: Plan, commit: str, *, client: Client, report: Report, again: bool) -> str:
    """Wait until the platform has built the commit; its log is shown as it grows.

    Args:
        plan: What is deployed.
        commit: On the algorithm's repository.
        client: The platform.
        report: Told the log.
        again: Whether a build that failed before is tried again: an earlier run of this deploy saw it fail.

    Returns:
        The build's id.

    Raises:
        BuildFailed: It failed; everything live is as it was.
        Unavailable: It took too long.
    """
    if again:
        client.compile(plan.name, commit)
    deadline = time.monotonic() + BUILD_TIMEOUT
    offset, log, build_id = 0, "", ""
    while time.monotonic() < deadline:
        try:
            build = client.build(plan.name, commit)
        except NotFound:
            client.compile(plan.name, commit)
            continue
        if build.build_id != build_id:
            offset, log, build_id = 0, "", build.build_id
        part = client.build_log(plan.name, build.build_id, offset=offset)
        offset, log = part.next, log + part.logs
        if shown := [line for line in part.logs.splitlines() if not _INSTALLED.match(line)]:
            report.line("\n".join(shown))
        if build.status is BuildState.SUCCEEDED:
            return build.build_id
        if build.status is BuildState.FAILED:
            raise BuildFailed(build.build_id, "\n".join(log.rstrip().splitlines()[-_RELEVANT:]))
        time.sleep(LOOK)
    raise Unavailable(f"the build of {commit} is not done after {BUILD_TIMEOUT:g} s; deploy again to go on waiting")


def publish(plan: Plan, build: str, commit: str, *, client: Client, report: Report) -> str:
    """Give the build a version.

    Returns:
        The version.
    """
    notes = f"{plan.source.repository} {plan.source.commit}\n{plan.source.message[:2000]}"
    version = client.publish(plan.name, commit, part=plan.publish, sample_input=plan.sample_input, notes=notes)
    report.line(f"version {version} of build {build}")
    return version


def roll_out(plan: Plan, version: str, deploy_id: str, *, client: Client, report: Report) -> DeploymentView:
    """Have the release made live: started, verified, tried out, switched to.

    Returns:
        The deployment, live.

    Raises:
        RolloutFailed: It was not made live; what was live before still is.
        Superseded: Something newer is live.
        Unavailable: It took too long.
    """
    with report.step("roll out"):
        begun = client.roll_out(plan.name, version, deploy_id=deploy_id)
        if begun.state in {DeploymentState.DRAINING, DeploymentState.RETIRED}:
            raise Superseded(f"version {version} was live already and was replaced since; deploy again to begin anew")
        return wait_until_live(plan.name, begun, client=client, report=report)


def wait_until_live(
    name: AlgorithmName, deployment: DeploymentView, *, client: Client, report: Report
) -> DeploymentView:
    """Look at a deployment until it is live.

    Returns:
        The deployment, live.

    Raises:
        RolloutFailed: It was not made live; what was live before still is.
        Superseded: Something newer is live.
        Unavailable: It took too long.
    """
    deadline = time.monotonic() + ROLLOUT_TIMEOUT
    said = None
    while time.monotonic() < deadline:
        if deployment.state is not said:
            said = deployment.state
            report.line(said)
        match said:
            case DeploymentState.LIVE | DeploymentState.DRAINING | DeploymentState.RETIRED:
                return deployment
            case DeploymentState.FAILED:
                raise RolloutFailed(deployment.reason)
            case DeploymentState.SUPERSEDED:
                raise Superseded(deployment.reason)
        time.sleep(LOOK)
        deployment = client.deployment(name, deployment.id)
    raise Unavailable(f"version {deployment.release.version} is not live after {ROLLOUT_TIMEOUT:g} s; deploy again")
