"""Manifest + inference code -> one commit on the algorithm's repository.

The commit's tree is the inference folder, mirrored as the commit holds it, plus the manifest; without a folder, what is
there plus the manifest. Author, time and content come from recorded values, so the same step again makes the same
commit. When the branch moved meanwhile, the commit is made anew on top, unless what is there came from a later commit
of the ML repository: the newest commit wins.

`put_on_top` is the part that needs no plan: what the commit is to hold is handed in.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pushpoint import git
from pushpoint import manifest as manifests
from pushpoint.client import Client
from pushpoint.config import GitLogin
from pushpoint.deploy import adk
from pushpoint.deploy.hosting import remote_of
from pushpoint.deploy.plan import Plan, comes_later
from pushpoint.digests import describe
from pushpoint.errors import ConfigError, NotFound, PushRejected, Superseded, Unavailable
from pushpoint.manifest import Manifest
from pushpoint.report import Report

KEPT = ("algorithmia.conf",)
"""Files of the algorithm's repository that stay although the inference folder does not have them."""
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".ipynb_checkpoints", ".git", ".pushpoint")
_TRAILER = "Pushpoint-Deploy-Id"
_TRIES = 8
_TRIES_ALONE = 2
"""Tries after which a branch that did not move tells that no race is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A commit to be made.

    Attributes:
        deploy_id: What it is found by, if it was made before.
        message: What it says of itself; the deploy id is added.
        email: Address of its author.
        created: Its time.
        lay_out: Makes a clone's work tree hold what the commit is to hold; raises where what is there has to stay.
    """

    deploy_id: str
    message: str
    email: str
    created: datetime
    lay_out: Callable[[Path], object]


def push(plan: Plan, manifest: Manifest, *, client: Client, report: Report, login: GitLogin | None = None) -> str:
    """Push inference code and manifest to the algorithm's repository; the platform's own is created if it is new.

    Args:
        plan: What is deployed.
        manifest: What ties the code to the model.
        client: The platform.
        report: Told the commit.
        login: Who we are on the git host, if the repository is on one.

    Returns:
        The commit on the algorithm's repository.
    """
    if not client.exists(plan.name):
        client.create(plan.name)
    remote = remote_of(plan.repository, plan.name, client=client, login=login)

    def lay_out_unless_newer(place: Path) -> None:
        _refuse_to_go_back(plan, place)
        lay_out(plan, manifest, place, report=report)

    source = plan.source
    change = Change(
        deploy_id=manifest.deploy_id,
        message=f"Deploy {source.commit[:12]} of {source.repository}\n\n{source.message[:4000].strip()}",
        email=plan.commit_email,
        created=manifest.created,
        lay_out=lay_out_unless_newer,
    )
    return put_on_top(remote, plan.branch, change, is_hosted=plan.repository is not None, report=report)


def put_on_top(remote: git.Remote, branch: str | None, change: Change, *, is_hosted: bool, report: Report) -> str:
    """Make a commit on top of a branch, again and again while others push; where it would change nothing, make none.

    Args:
        remote: The algorithm's repository.
        branch: Its branch; none for the one that HEAD names.
        change: What to commit.
        is_hosted: Whether the repository is on a git host, for the advice.
        report: Told the commit.

    Returns:
        The commit, or the branch's tip if it holds the same already.

    Raises:
        Superseded: A later commit of the ML repository was deployed meanwhile.
        Unavailable: Others pushed again and again, or the repository takes no push.
    """
    with tempfile.TemporaryDirectory(prefix="pushpoint-") as scratch:
        clone = Path(scratch) / "clone"
        _clone(remote, clone)
        branch = branch or git.text(["symbolic-ref", "--short", "HEAD"], directory=clone)
        for attempt in range(_TRIES):
            tip = _tip(clone, branch)
            if tip:
                if commit := _pushed_before(change, clone, tip):
                    report.line(f"{commit[:12]} is there already")
                    return commit
                git.run(["reset", "--quiet", "--hard", tip], directory=clone)
            change.lay_out(clone)
            commit = _commit(change, clone, tip)
            if commit == tip:
                report.line(f"{commit[:12]} holds the same already")
                return commit
            try:
                git.run(["push", "--quiet", "origin", f"{commit}:refs/heads/{branch}"], directory=clone, remote=remote)
            except PushRejected:
                report.line("someone else pushed meanwhile; doing it again on top")
                time.sleep(random.uniform(0.05, 0.3) * (attempt + 1))  # noqa: S311 - spreads the racers
                git.run(["fetch", "--quiet", "origin"], directory=clone, remote=remote)
                if tip == _tip(clone, branch) and attempt >= _TRIES_ALONE:
                    why = "does not take the push, though nobody else pushes"
                    where = "the host's rules for this branch" if is_hosted else "the platform's disk"
                    raise Unavailable(f"{remote.url} {why}; look at {where} and deploy again") from None
                continue
            report.line(f"commit {commit[:12]} on {remote.url}")
            return commit
    raise Unavailable(f"{remote.url} is being pushed to all the time; deploy again later")


def _pushed_before(change: Change, clone: Path, tip: str) -> str:
    """Find the commit of this very deploy, made by a run that was killed before it could note it.

    Returns:
        The commit, or nothing.
    """
    trailer = f"{_TRAILER}: {change.deploy_id}"
    return git.text(["log", "-1", "--format=%H", "--fixed-strings", f"--grep={trailer}", tip], directory=clone)


def _refuse_to_go_back(plan: Plan, clone: Path) -> None:
    # Where this checkout does not hold the other commit (it was made after the checkout), the commits' times decide.
    found = manifest_in(clone)
    there = found.source if found else None
    if plan.force or there is None or there.repository != plan.source.repository:
        return
    known = git.has_commit(Path(plan.root), there.commit)
    is_later = comes_later(plan, there.commit) if known else there.committed > plan.source.committed
    if is_later:
        raise Superseded(
            f"the later commit {there.commit[:12]} was pushed to {plan.algorithm} before and stays; "
            "pass --force to deploy this one all the same"
        )


def manifest_in(place: Path) -> Manifest | None:
    """Read the manifest in a folder.

    Returns:
        The manifest; none where there is none of ours, or a damaged one.
    """
    file = place / manifests.FILE
    try:
        return None if file.is_symlink() else manifests.read(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def lay_out(plan: Plan, manifest: Manifest, place: Path, *, report: Report) -> None:
    """Make a folder hold what a release is made of: the commit's inference code and the manifest.

    Args:
        plan: Says which commit and which folder in it; without a folder, the code in `place` stays.
        manifest: The manifest; keys of other tools are taken over from those it replaces.
        place: A folder, perhaps a clone of the algorithm's repository. The one beside it named `commit` is used too.
        report: Told what else was changed.
    """
    code = _inference_code(plan, place.with_name("commit")) if plan.inference else None
    fill(place, code, manifest, model_path=plan.model_path, report=report)


def fill(place: Path, code: Path | None, manifest: Manifest | None, *, model_path: str, report: Report) -> None:
    """Make a folder hold the same code as another one, and a manifest.

    Args:
        place: A folder, perhaps a clone of the algorithm's repository.
        code: Folder of the code; none to leave the code in `place`.
        manifest: Keys of other tools are taken over from the manifests it replaces; none for the code's own file.
        model_path: What the code calls the model's file, for the ADK.
        report: Told what else was changed.
    """
    file = place / manifests.FILE
    previous = describe(file).digest if file.is_file() and not file.is_symlink() else None
    before, extra = manifest_in(place), _others(file)
    if code:
        committed = _others(code / manifests.FILE)
        extra = committed | extra | {key: committed[key] for key in adk.LISTS if key in committed}
        for path in place.iterdir():
            if path.name != ".git" and path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(code, place, symlinks=True, ignore=_IGNORED, dirs_exist_ok=True)
    if manifest is None:
        return
    if (place / adk.MARKER).exists():
        extra = adk.name_model(extra, manifest, model_path, before)
        frozen = place / adk.FROZEN
        if os.path.lexists(frozen):
            adk.freeze_again(frozen, manifest, model_path, before)
            report.line(f"{adk.FROZEN} names the new model, and is sealed anew")
    file.unlink(missing_ok=True)  # a link there must not be followed
    file.write_text(manifests.write(replace(manifest, previous=previous, extra=extra)), encoding="utf-8")


def _commit(change: Change, clone: Path, tip: str) -> str:
    git.run(["add", "--all", "--force", "--", "."], directory=clone)
    tree = git.text(["write-tree"], directory=clone)
    if tip and tree == git.text(["rev-parse", f"{tip}^{{tree}}"], directory=clone):
        return tip
    when = f"{int(change.created.timestamp())} +0000"
    name = {"GIT_AUTHOR_NAME": "Pushpoint", "GIT_AUTHOR_EMAIL": change.email, "GIT_AUTHOR_DATE": when}
    name |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in name.items()}
    message = f"{change.message}\n\n{_TRAILER}: {change.deploy_id}\n"
    parent = ["-p", tip] if tip else []
    made = git.run(
        ["commit-tree", tree, *parent], directory=clone, variables=name, stdin=message.encode("utf-8", "replace")
    )
    return made.decode().strip()


def _tip(clone: Path, branch: str) -> str:
    try:
        return git.text(["rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{branch}"], directory=clone)
    except ConfigError:
        return ""  # nothing was ever pushed


def _clone(remote: git.Remote, clone: Path) -> None:
    for pause in (0.2, 0.5, 1.0, 0.0):
        try:
            git.run(
                ["clone", "--quiet", "--no-checkout", "--", remote.url, str(clone)],
                directory=clone.parent,
                remote=remote,
            )
            return
        except (NotFound, Unavailable):
            if not pause:
                raise
            time.sleep(pause)  # who creates the algorithm at this moment has not made its repository yet


def _inference_code(plan: Plan, place: Path) -> Path:
    # From the commit, not from the work tree: what git ignores there is nobody else's business, and a notebook may have
    # written to it. The whole index is read, because attributes of other folders may say how the files are laid out;
    # before the index, git looks for them in the work tree, so that is an empty one.
    root, commit = Path(plan.root), plan.source.commit
    shutil.rmtree(place, ignore_errors=True)
    index = {"GIT_INDEX_FILE": str(place.with_suffix(".index"))}
    plain = ["-c", "core.autocrlf=false", "-c", "core.eol=lf"]  # the commit's bytes, not this machine's habits
    git.run([*plain, "read-tree", commit], directory=root, variables=index, isolated=False)
    with_attributes = index | {"GIT_WORK_TREE": str(place.with_name("nothing"))}
    place.with_name("nothing").mkdir(exist_ok=True)
    paths = "".join(f"{path}\0" for path, _ in git.entries(root, commit, [str(plan.inference)]))
    git.run(
        [*plain, "checkout-index", "--force", "-z", "--stdin", f"--prefix={place}/"],
        directory=root,
        variables=with_attributes,
        stdin=paths.encode("utf-8", "surrogateescape"),
        isolated=False,
    )
    return place / str(plan.inference)


def _others(file: Path) -> dict[str, manifests.JSON]:
    if file.is_symlink() or not file.is_file():
        return {}
    try:
        return manifests.other_keys(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ConfigError):
        return {}
