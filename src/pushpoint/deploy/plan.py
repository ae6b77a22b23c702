"""Settings and git facts become a Plan. Everything that can be refused without spending anything is refused here."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec

from pushpoint import git, smoke
from pushpoint.client import Client
from pushpoint.config import Config, GitLogin
from pushpoint.deploy.hosting import Hosting, find_hosting
from pushpoint.digests import Digest, describe
from pushpoint.errors import ConfigError, ModelMissing, NotebookMissing, Refused, RolloutFailed, Superseded
from pushpoint.manifest import Source
from pushpoint.names import AlgorithmName, algorithm_name, data_path
from pushpoint.records import lacking
from pushpoint.report import Report
from pushpoint.wire import DeploymentView

STATE = ".pushpoint"
"""Folder in the ML repository for what a deploy leaves: journal, executed notebooks, lock."""


NOBODY = "preview"
"""Stands for the owner of an algorithm where no platform was asked who that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one deploy will do.

    Attributes:
        url: The platform; empty where a preview has none.
        algorithm: `OWNER/NAME`.
        root: Top of the ML repository's work tree.
        source: The commit.
        notebook: Notebook to execute; none to deploy the model that is checked in.
        model_path: The model file; like all paths, relative to `root`.
        requirements: What the notebook needs; none where there is no such file.
        inference: Folder of the inference code; none to move the model alone.
        code_tree: Git's id of that folder in the commit.
        collection: Where the model goes, `data://OWNER/COLLECTION`.
        repository: The algorithm's repository on a git host; none for the platform's own.
        branch: Its branch; none for the one that the host's HEAD names.
        publish: Part of the version that grows, or `none`.
        sample_input: JSON text for the smoke test.
        commit_email: Of the author of the commit on the algorithm's repository.
        cell_timeout: Seconds; 0 is no limit.
        notebook_timeout: Seconds; 0 is no limit.
        inputs: Digest of all that the model is made from.
        force: Whether to deploy although nothing changed or something newer is there.
        retrain: Whether to deploy although nothing changed.
    """

    url: str
    algorithm: str
    root: str
    source: Source
    notebook: str | None
    model_path: str
    requirements: str | None
    inference: str | None
    code_tree: str
    data: tuple[str, ...]
    collection: str
    repository: str | None
    branch: str | None
    publish: str
    sample_input: str | None
    commit_email: str
    cell_timeout: float
    notebook_timeout: float
    inputs: Digest
    force: bool
    retrain: bool

    @property
    def name(self) -> AlgorithmName:
        """The algorithm's name, taken apart."""
        return algorithm_name(self.algorithm)

    @property
    def endpoint(self) -> str:
        """Address that callers use."""
        return f"{self.url}/v1/algo/{self.algorithm}"

    @property
    def hosting(self) -> Hosting:
        """Where the algorithm's code goes."""
        return Hosting(repository=self.repository, branch=self.branch, is_empty=False)

    @property
    def id(self) -> str:
        """Digest of the plan: the journal's name."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]

    @property
    def state(self) -> Path:
        """Folder for what a deploy leaves; it ignores itself, so it never makes a checkout dirty.

        Raises:
            ConfigError: It cannot be written, or is a link.
        """
        folder = Path(self.root) / STATE
        if folder.is_symlink():
            raise ConfigError(f"{folder} is a link, and a deploy writes there; remove it")
        try:
            folder.mkdir(exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written ({error.strerror}); a deploy keeps its journal there"
            ) from error
        return folder


@contextlib.contextmanager
def working_alone(plan: Plan, report: Report) -> Iterator[None]:
    """Let one deploy at a time work in a checkout; another one waits for it.

    Yields:
        Nothing; the block has the checkout for itself.
    """
    with (plan.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.line("another deploy works in this checkout; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def top_of(directory: Path) -> Path:
    """Find the ML repository that a directory is in.

    Returns:
        Top of its work tree.

    Raises:
        ConfigError: There is none, or it has no commit.
    """
    try:
        top = Path(git.text(["rev-parse", "--show-toplevel"], directory=directory, isolated=False))
        git.text(["rev-parse", "--verify", "--quiet", "HEAD"], directory=directory, isolated=False)
    except ConfigError as error:
        if "git program is missing" in str(error) or "dubious ownership" in str(error):
            raise
        advice = "run `git init`, `git add .` and `git commit` there"
        if "not a git repository" not in str(error):
            advice = "its repository has no commit yet; run `git add .` and `git commit` there"
        raise ConfigError(f"{directory} has no commit to deploy: {advice}") from error
    return top


def make_plan(
    config: Config,
    directory: Path,
    *,
    client: Client | None,
    environment: Mapping[str, str],
    login: GitLogin | None = None,
    pushes: bool = True,
    force: bool = False,
    retrain: bool = False,
) -> Plan:
    """Decide what a deploy of the checked-out commit will do.

    Args:
        config: The settings.
        directory: Top of the ML repository's work tree.
        client: The platform; it is asked who we are and what exists. None for a preview without one: then an
            algorithm without an owner is `preview`'s.
        environment: Where CI tells repository and ref.
        login: Who we are on the git host, if the algorithm's repository is on one.
        pushes: Whether this is to be deployed, so that it must be possible to push. A proposal's settings may name any
            git host, which is to get nobody's token.
        force: Whether to deploy although nothing changed or something newer is there.
        retrain: Whether to deploy although nothing changed.

    Returns:
        The plan.

    Raises:
        ConfigError: The settings or the checkout must change first.
        ModelMissing: There is neither a notebook nor a model.
        NotebookMissing: The notebook that was asked for is not there.
        Refused: The key may not deploy.
    """
    if any(git.entries(directory, "HEAD", [STATE])):
        raise ConfigError(f"{STATE}/ is a deploy's own folder, and the commit holds one; remove it: git rm -r {STATE}")
    account = client.account() if client else None
    name = algorithm_name(config.algorithm, owner=account.name if account else NOBODY)
    needed = {"data", "manage"} if pushes else {"view"}
    if account and (missing := needed - set(account.scopes)):
        raise Refused(lacking(sorted(missing)[:1], account.name))
    if account and name.owner not in {account.name, *account.organizations}:
        raise Refused(f"this key is {account.name}'s, and {name} is {name.owner}'s; use {name.owner}'s key")
    inference = _inference(config, directory, name)
    hosting = Hosting(repository=config.repository, branch=None, is_empty=False)
    if client and pushes:
        hosting = find_hosting(config.repository, name, client=client, login=login)
    is_new = hosting.is_empty if hosting.repository else not (client and client.exists(name))
    if inference is None and is_new:
        folder = config.inference or name.name
        raise ConfigError(f"{name} is new and there is no inference code; write {folder}/src/{name.name}.py")
    if inference:
        _refuse_bad_cases(directory / inference / smoke.FILE, config.sample_input)
    notebook, requirements = _notebook(config, directory), _requirements(config, directory)
    collection = data_path(config.collection or f"data://{name.owner}/{name.name}", me=name.owner)
    if not collection.collection or collection.file:
        raise ConfigError(f"collection is {collection}; write it as data://OWNER/COLLECTION")
    paths = [path for path in (notebook, requirements, inference, *config.data) if path]
    model_path = _inside(directory, config.model_path, "model-path")
    if notebook is None:
        if not any(git.entries(directory, "HEAD", [model_path])):
            why = "is not checked in, and there is no notebook to train it; commit one of the two"
            if git.is_ignored(directory, model_path):
                why += " (git ignores the model: git add --force)"
            raise ModelMissing(model_path, why)
        paths.append(model_path)
    for path in config.data:
        _refuse_links(directory, _inside(directory, path, "data"), "data")
        if not (directory / path).exists():
            raise ConfigError(f"data names {path}, which does not exist; correct it")
    paths += _included(directory, requirements)
    dirty = [path for path in git.changed(directory, paths) if not _is_untracked_data(directory, path, config)]
    dirty += [path for path in git.altered(directory, "HEAD", paths) if path not in dirty] if paths else []
    if dirty:
        more = f" and {len(dirty) - 3} more" if len(dirty) > 3 else ""
        shown = ", ".join(dirty[:3]) + more
        raise ConfigError(f"{shown} differ from the commit; commit or stash them, so that what is deployed has a name")
    return Plan(
        url=client.url if client else "",
        algorithm=str(name),
        root=str(directory),
        source=source_of(directory, environment),
        notebook=notebook,
        model_path=model_path,
        requirements=requirements,
        inference=inference,
        code_tree=_tree(directory, inference) if inference else "",
        data=config.data,
        collection=str(collection),
        repository=hosting.repository,
        branch=hosting.branch,
        publish=config.publish,
        sample_input=config.sample_input,
        commit_email=_email(config.commit_email),
        cell_timeout=config.cell_timeout,
        notebook_timeout=config.notebook_timeout,
        inputs=_inputs(directory, paths, config),
        force=force,
        retrain=retrain,
    )


def is_up_to_date(plan: Plan, live: DeploymentView | None) -> bool:
    """Say whether what is live was made from the same inputs.

    Returns:
        True if a deploy would change nothing.

    Raises:
        Superseded: What is live was made from a later commit.
    """
    if plan.force or live is None or live.release.source is None:
        return False
    if live.release.inputs == plan.inputs and not plan.retrain:
        return True
    other = live.release.source
    if comes_later(plan, other.commit):
        raise Superseded(
            f"version {live.release.version} of the later commit {other.commit[:12]} is live; "
            "check that one out, use `pushpoint rollback`, or pass --force to deploy this one all the same"
        )
    return False


def overlooked(plan: Plan, live: DeploymentView) -> list[str]:
    """List the code and data that changed since what is live was trained, and that no setting declares.

    Returns:
        Paths; none where this checkout does not hold that commit.
    """
    root = Path(plan.root)
    if live.release.source is None or not git.has_commit(root, live.release.source.commit):
        return []
    declared = [plan.notebook, plan.requirements, plan.inference, *plan.data, plan.model_path, "pushpoint.toml"]
    listed = git.changed_between(root, live.release.source.commit, plan.source.commit)
    prose = (".md", ".rst", ".txt", ".yml", ".yaml")
    return [
        path
        for path in listed
        if not path.startswith(".") and not path.endswith(prose)
        if not any(path == name or path.startswith(f"{name}/") for name in declared if name)
    ]


def comes_later(plan: Plan, other: str) -> bool:
    """Say whether another commit is known to come after the plan's.

    Returns:
        True if it does; false where this checkout does not hold it.
    """
    root = Path(plan.root)
    return (
        other != plan.source.commit and git.has_commit(root, other) and git.is_ancestor(root, plan.source.commit, other)
    )


def _inside(directory: Path, path: str, setting: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path.strip() or not path.isprintable():
        raise ConfigError(f"{setting} is {path!r}; write a path inside the repository, relative to its top")
    return str(pure)


def _email(text: str) -> str:
    if not re.fullmatch(r"[^\s<>]+", text):
        raise ConfigError(f"commit-email is {text!r}; write an address without spaces and angle brackets")
    return text


def _notebook(config: Config, directory: Path) -> str | None:
    if not config.notebook:
        return None
    path = _inside(directory, config.notebook, "notebook")
    if (directory / path).is_file():
        return path
    if config.is_default("notebook"):
        return None
    raise NotebookMissing(path)


def _requirements(config: Config, directory: Path) -> str | None:
    if not config.requirements:
        return None
    path = _inside(directory, config.requirements, "requirements")
    if (directory / path).is_file():
        return path
    if config.is_default("requirements"):
        return None
    raise ConfigError(f"requirements names {path}, which does not exist; correct it")


def _inference(config: Config, directory: Path, name: AlgorithmName) -> str | None:
    folder = _inside(directory, config.inference or name.name, "inference")
    _refuse_links(directory, folder, "inference")
    if not (directory / folder).is_dir():
        if config.inference is None:
            return None
        raise ConfigError(f"inference names {folder}, which is no folder; correct it")
    if not (directory / folder / "src" / f"{name.name}.py").is_file():
        raise ConfigError(f"{folder}/src/{name.name}.py does not exist; the platform calls `apply` in that file")
    return folder


def _refuse_links(directory: Path, path: str, setting: str) -> None:
    step = directory
    for part in PurePosixPath(path).parts:
        step /= part
        if step.is_symlink():
            raise ConfigError(f"{setting} is {path}, which leads through a link; name the place itself")


def _tree(directory: Path, folder: str) -> str:
    try:
        return git.text(["rev-parse", "--verify", "--quiet", f"HEAD:{folder}"], directory=directory, isolated=False)
    except ConfigError as error:
        raise ConfigError(f"{folder}/ is not in the commit; add and commit it") from error


def _refuse_bad_cases(file: Path, sample_input: str | None) -> None:
    try:
        smoke.cases(file.read_text(encoding="utf-8") if file.is_file() else None, sample_input)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{smoke.FILE} is not UTF-8; save it as such") from error
    except RolloutFailed as error:
        raise ConfigError(error.reason) from error


def _included(directory: Path, requirements: str | None) -> list[str]:
    """List the files that a requirements file takes in with `-r` and `-c`.

    Returns:
        Their paths, one level deep and on.
    """
    found: list[str] = []
    waiting = [requirements] if requirements else []
    while waiting:
        path = waiting.pop()
        text = (directory / path).read_text(encoding="utf-8", errors="replace")
        for name in re.findall(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]+(\S+)", text, re.MULTILINE):
            whole = os.path.normpath(PurePosixPath(path).parent / name)
            if not whole.startswith(("..", "/")) and whole not in found and (directory / whole).is_file():
                found.append(whole)
                waiting.append(whole)
    return found


def _is_untracked_data(directory: Path, path: str, config: Config) -> bool:
    """Say whether a path is declared data that git does not hold: its bytes count instead.

    Returns:
        True if it is.
    """
    declared = any(path == data or path.startswith(f"{data.rstrip('/')}/") for data in config.data)
    return declared and not any(git.entries(directory, "HEAD", [path.rstrip("/")]))


def _inputs(directory: Path, paths: list[str], config: Config) -> Digest:
    lines = [f"{path}\0{blob}" for path, blob in git.entries(directory, "HEAD", paths)] if paths else []
    tracked = {line.partition("\0")[0] for line in lines}
    untracked = (path for path in _files(directory, config.data) if path not in tracked)
    lines += [f"{path}\0{describe(directory / path).digest}" for path in untracked]
    settings = {"notebook", "model-path", "requirements", "inference", "data", "sample-input"}
    shown = {name: getattr(config, name.replace("-", "_")) for name in sorted(settings)}
    text = "\n".join(sorted(lines)).encode("utf-8", "surrogateescape") + msgspec.json.encode(shown)
    return Digest(f"sha256:{hashlib.sha256(text).hexdigest()}")


def _files(directory: Path, paths: tuple[str, ...]) -> Iterator[str]:
    for path in paths:
        whole = directory / path
        for file in sorted(whole.rglob("*")) if whole.is_dir() else [whole]:
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(directory).as_posix()


def source_of(directory: Path, environment: Mapping[str, str]) -> Source:
    """Look up what is checked out.

    Args:
        directory: Top of the ML repository's work tree.
        environment: Where CI tells repository and ref.

    Returns:
        Repository, ref and commit.
    """
    commit = git.commit_of(directory)
    return Source(
        repository=_repository(directory, environment),
        ref=_ref(directory, environment) or commit.id,
        commit=commit.id,
        message=commit.message,
        committed=commit.committed,
    )


def _repository(directory: Path, environment: Mapping[str, str]) -> str:
    for variable in ("GITHUB_REPOSITORY", "CI_PROJECT_PATH"):
        if value := environment.get(variable):
            return value
    try:
        url = git.text(["remote", "get-url", "origin"], directory=directory, isolated=False)
    except ConfigError:
        return directory.name
    parts = urlsplit(url)
    if parts.scheme in {"http", "https", "ssh"}:  # without what may stand before the @
        return parts.path.strip("/").removesuffix(".git")
    return url.rpartition(":")[2].strip("/").removesuffix(".git").rpartition("/")[2] or directory.name


def _ref(directory: Path, environment: Mapping[str, str]) -> str:
    get = environment.get
    if value := get("GITHUB_REF") or get("CI_MERGE_REQUEST_REF_PATH"):
        return value
    if value := get("CI_COMMIT_TAG") or (get("JENKINS_URL") and get("TAG_NAME")):
        return f"refs/tags/{value}"
    branch = get("CI_COMMIT_BRANCH")
    if get("JENKINS_URL"):
        # A multibranch job calls a change `PR-7` in BRANCH_NAME; any other job has `origin/main` in GIT_BRANCH.
        branch = get("CHANGE_BRANCH") or get("BRANCH_NAME") or get("GIT_BRANCH", "").partition("/")[2]
    if branch:
        return f"refs/heads/{branch}"
    try:
        return git.text(["symbolic-ref", "--quiet", "HEAD"], directory=directory, isolated=False)
    except ConfigError:
        return ""
