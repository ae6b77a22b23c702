"""The platform's half of a deploy, seen from here: wait for the build, publish it, have it rolled out."""

from __future__ import annotations

import re
import time
from uuid import uuid4

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


def wait_for_build(name: AlgorithmName, commit: str, *, client: Client, report: Report, again: bool) -> str:
    """Wait until the platform has built the commit; its log is shown as it grows.

    Args:
        name: The algorithm.
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
        client.compile(name, commit)
    deadline = time.monotonic() + BUILD_TIMEOUT
    offset, log, build_id = 0, "", ""
    while time.monotonic() < deadline:
        try:
            build = client.build(name, commit)
        except NotFound:
            client.compile(name, commit)
            continue
        if build.build_id != build_id:
            offset, log, build_id = 0, "", build.build_id
        part = client.build_log(name, build.build_id, offset=offset)
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


def roll_out(name: AlgorithmName, version: str, deploy_id: str, *, client: Client, report: Report) -> DeploymentView:
    """Have the release made live: started, verified, tried out, switched to.

    Returns:
        The deployment, live.

    Raises:
        RolloutFailed: It was not made live; what was live before still is.
        Superseded: Something newer is live.
        Unavailable: It took too long.
    """
    with report.step("roll out"):
        begun = client.roll_out(name, version, deploy_id=deploy_id)
        if begun.state in {DeploymentState.DRAINING, DeploymentState.RETIRED}:
            raise Superseded(f"version {version} was live already and was replaced since; deploy again to begin anew")
        return wait_until_live(name, begun, client=client, report=report)


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


def roll_back(name: AlgorithmName, version: str | None, *, client: Client, report: Report) -> DeploymentView:
    """Make an older release live again.

    Args:
        name: The algorithm.
        version: The release; none for the one that was live before.
        client: The platform.
        report: Told what happens.

    Returns:
        The deployment, live; that which is live already, if it is of this version.

    Raises:
        NotFound: There is nothing to go back from, or to.
        RolloutFailed: It was not made live; what was live before still is.
    """
    live = client.live(name)
    if live is None:
        raise NotFound(f"{name} has no live release to roll back from; deploy one")
    target = version or _before(live, list(client.deployments(name)))
    if target is None:
        raise NotFound(f"{name} had no other release live before {live.release.version}; name the version to go to")
    if target == live.release.version:
        report.line(f"{name} {target} is live already")
        return live
    with report.step(f"roll back {name} from {live.release.version} to {target}"):
        begun = client.roll_out(name, target, deploy_id=f"rollback-{uuid4()}", is_rollback=True)
        return wait_until_live(name, begun, client=client, report=report)


def _before(live: DeploymentView, deployments: list[DeploymentView]) -> str | None:
    """Find what was live before the live release came, so that a second rollback goes further back, not forth.

    Returns:
        A version, or none.
    """
    version = live.release.version
    came = min(one.generation for one in deployments if one.generation and one.release.version == version)
    earlier = [one for one in deployments if one.generation and one.generation < came and not one.is_rollback]
    return earlier[0].release.version if earlier else None
