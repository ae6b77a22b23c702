"""The algorithm's repository, seen from a deploy: the platform's own, or one on a git host.

Before anything is spent: the host is asked whether the token may push, and the platform whether it can fetch.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pushpoint import git
from pushpoint.client import Client
from pushpoint.config import GitLogin
from pushpoint.errors import ConfigError, MissingSetting, Unavailable
from pushpoint.names import AlgorithmName, repository_url
from pushpoint.wire import SetSource, SourceStatus

_USUAL = ("main", "master")
_TIMEOUT = 60.0
"""Seconds for a look at the git host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """Where an algorithm's code goes.

    Attributes:
        repository: On a git host; none for the platform's own.
        branch: The branch that is pushed and built; none for the one that the host's HEAD names.
        is_empty: Whether nothing was ever pushed there.
    """

    repository: str | None
    branch: str | None
    is_empty: bool


def find_hosting(repository: str | None, name: AlgorithmName, *, client: Client, login: GitLogin | None) -> Hosting:
    """Find out where an algorithm's code goes, and whether it would arrive.

    Args:
        repository: The setting.
        name: The algorithm.
        client: The platform; it is asked what it builds from, and whether it can fetch.
        login: Who we are on the git host.

    Returns:
        Where.

    Raises:
        ConfigError: Setting and platform name different repositories, or the platform cannot fetch.
        MissingSetting: There is no token.
        Unavailable: The git host does not answer.
    """
    source = client.source(name)
    if repository is None:
        if source:
            advice = f'set `repository = "{source.url}"`, or move it to the platform: pushpoint source remove'
            raise ConfigError(f"{name} is built from {source.url}, so that is where to push; {advice}")
        return Hosting(repository=None, branch=None, is_empty=False)
    if source and not repository_url(source.url).is_same(repository_url(repository)):
        advice = f"correct `repository`, or move the algorithm: pushpoint source set {name} --repository {repository}"
        raise ConfigError(f"{name} is built from {source.url}, not from {repository}; {advice}")
    if source is None and client.exists(name) and client.builds(name, limit=1):
        advice = f"move it on purpose: pushpoint source set {name} --repository {repository}"
        raise ConfigError(f"{name} is hosted on the platform and was built there; leave `repository` out, or {advice}")
    if login is None:
        raise MissingSetting("PUSHPOINT_GIT_TOKEN", how=f"set it to a token that may push to {repository}")
    parts = urlsplit(repository)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ConfigError(f"{repository} has no TLS, and your token would travel in the open; write it as https://")
    remote = _remote(repository, login)
    branches, head = _looked_up(remote)
    if source:
        refuse_if_not_fetched(name, client.source_status(name))
    branch = source.branch if source else None
    if branch is None and head not in branches:
        branch = next((usual for usual in _USUAL if usual in branches), None)
    if branches and (branch or head) not in branches:
        raise ConfigError(f"{repository} has no branch {branch or 'main'}; make it there")
    return Hosting(repository=repository, branch=branch, is_empty=not branches)


def register(name: AlgorithmName, hosting: Hosting, *, client: Client) -> bool:
    """Tell the platform where an algorithm is built from, unless it knows.

    Returns:
        Whether it was told.

    Raises:
        ConfigError: It cannot fetch there.
    """
    if hosting.repository is None or client.source(name):
        return False
    client.create(name)
    client.set_source(name, SetSource(url=hosting.repository, branch=hosting.branch))
    refuse_if_not_fetched(name, client.source_status(name))
    return True


def refuse_if_not_fetched(name: AlgorithmName, status: SourceStatus) -> None:
    """Stop where the platform cannot fetch.

    Raises:
        ConfigError: It needs a token.
        Unavailable: The git host does not answer it.
    """
    match status.scm_connection_status:
        case "deploy_key_error":
            why = f"the platform cannot fetch {name}: {status.message}"
            raise ConfigError(f"{why}; it does not get this deploy's token, which may write")
        case "provider_internal_error":
            raise Unavailable(f"the platform cannot fetch {name}: {status.message}")


def remote_of(repository: str | None, name: AlgorithmName, *, client: Client, login: GitLogin | None) -> git.Remote:
    """Say how git reaches the algorithm's repository.

    Returns:
        The remote, with the key or token that opens it.

    Raises:
        MissingSetting: There is no token.
    """
    if repository is None:
        return git.Remote(*client.repository(name))
    if login is None:
        raise MissingSetting("PUSHPOINT_GIT_TOKEN", how=f"set it to a token that may push to {repository}")
    return _remote(repository, login)


def _remote(repository: str, login: GitLogin) -> git.Remote:
    advice = "set PUSHPOINT_GIT_TOKEN to a token that may push there"
    return git.Remote(repository, login.user, login.token.reveal(), advice=advice)


def _looked_up(remote: git.Remote) -> tuple[set[str], str]:
    """Ask the host for its branches, and whether it would take a push.

    Returns:
        The branches, and which of them its HEAD names.
    """
    # Not in the checkout: its configuration may hold a credential for the same host, as actions/checkout leaves one.
    with tempfile.TemporaryDirectory(prefix="pushpoint-") as scratch:
        empty = Path(scratch)
        git.run(["init", "--quiet", "--bare", str(empty)])
        asked = ["ls-remote", "--symref", "--end-of-options", remote.url, "HEAD", "refs/heads/*"]
        listed = git.run(asked, directory=empty, remote=remote, timeout=_TIMEOUT).decode("utf-8", "replace")
        nothing = ["push", "--dry-run", "--quiet", "--all", "--end-of-options", remote.url]
        git.run(nothing, directory=empty, remote=remote, timeout=_TIMEOUT)
    branches, head = set(), ""
    for line in listed.splitlines():
        first, _, name = line.partition("\t")
        if name == "HEAD" and first.startswith("ref: refs/heads/"):
            head = first.removeprefix("ref: refs/heads/")
        elif name.startswith("refs/heads/"):
            branches.add(name.removeprefix("refs/heads/"))
    return branches, head
