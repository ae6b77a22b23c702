"""Thin functions over the git program.

Every argument that came from outside stands behind `--` or `--end-of-options`, is a checked name or a full commit; no
secret is ever an argument. Against a remote, the credential travels in the environment of the one git process that
needs it (`GIT_CONFIG_*`, git 2.31), so it is in no URL, file or argument list.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pushpoint.errors import ConfigError, Error, NotFound, PushRejected, Refused, Unauthenticated, Unavailable
from pushpoint.limits import Limits

_PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "XDG_CONFIG_HOME",
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_ALWAYS = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_ISOLATED = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
_ISOLATED |= {"GIT_NO_REPLACE_OBJECTS": "1"}
_SAFE = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "gc.auto": "0",
}
_SAFE |= {"protocol.https.allow": "always", "protocol.file.allow": "user", "credential.helper": ""}
_SAFE |= {"http.followRedirects": "false"}  # a credential goes to the host it was given for, and to no other
NOBODY = {"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull}
"""Variables for a git that works for somebody else: the .netrc of who runs the platform is not for them."""
_HARMLESS = re.compile(
    r"core\.(bare|filemode|ignorecase|logallrefupdates|precomposeunicode|repositoryformatversion|symlinks|worktree)"
    r"|extensions\.\w+|user\.(name|email)|branch\.(remote|merge)|remote\.(url|fetch|promisor|partialclonefilter)"
    r"|submodule\.(active|url)"
)
_USER = re.compile(r"://[^/]*@")
_SHOWN = 600
"""Characters of what a remote said that go into an error."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository behind HTTP.

    Attributes:
        url: Without a credential.
        user: Basic authentication's user name.
        password: Its password: a key or a token; empty to ask as nobody.
        advice: What to do when it is not accepted, as the end of a sentence.
        more: Further settings for git, such as `http.curloptResolve`.
    """

    url: str
    user: str
    password: str
    advice: str = "check PUSHPOINT_API_KEY"
    more: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    @property
    def _token(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def settings(self) -> dict[str, str]:
        """Return the settings that authenticate git against this remote alone.

        Returns:
            Settings, which belong into git's environment.
        """
        credential = {f"http.{self.url}.extraHeader": f"Authorization: Basic {self._token}"} if self.password else {}
        return credential | dict(self.more)

    def masked(self, text: str) -> str:
        """Hide the credential in what the remote said, in case it repeats it.

        Returns:
            The text, cut to a length that can be shown.
        """
        for secret in (self._token, self.password) if self.password else ():
            text = text.replace(secret, "********")
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def settings(values: Mapping[str, str]) -> dict[str, str]:
    """Write git settings as environment variables.

    Returns:
        `GIT_CONFIG_COUNT` and its pairs.
    """
    pairs = {f"GIT_CONFIG_KEY_{index}": key for index, key in enumerate(values)}
    pairs |= {f"GIT_CONFIG_VALUE_{index}": value for index, value in enumerate(values.values())}
    return {"GIT_CONFIG_COUNT": str(len(values)), **pairs}


def harmless_settings(file: Path) -> str:
    """Read a file of git's settings, leaving out whatever may hold a credential or name a program.

    Args:
        file: Such as `.git/config`. What it includes is not read.

    Returns:
        Text of the same format: what the repository and its branches are; addresses without users and passwords.
    """
    listed = run(["config", "--file", str(file), "--no-includes", "--list", "-z"], isolated=True)
    lines = []
    for entry in listed.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = entry.partition("\n")
        section, _, rest = key.partition(".")
        middle, _, name = rest.rpartition(".")
        if _HARMLESS.fullmatch(f"{section}.{name}"):
            value, middle = (re.sub(r'(["\\])', r"\\\1", text) for text in (_USER.sub("://", value), middle))
            value = value.replace("\n", "\\n").replace("\t", "\\t")
            part = f' "{middle}"' if middle else ""
            lines.append(f'[{section}{part}]\n\t{name} = "{value}"\n')
    return "".join(lines)


def environment(*, isolated: bool = True, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment for a git process: what it needs of ours, and no prompts.

    Args:
        isolated: Whether to leave the user's own git configuration out.
        more: Settings beside those that an isolated git gets.

    Returns:
        Variables; without any credential unless `more` has one.
    """
    found = {name: os.environ[name] for name in (*_PASSED, *_PROXIES) if name in os.environ}
    return found | _ALWAYS | (_ISOLATED if isolated else {}) | settings((_SAFE if isolated else {}) | dict(more))


def run(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
    remote: Remote | None = None,
    stdin: bytes | None = None,
    isolated: bool = True,
    timeout: float | None = None,
    limits: Limits | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Run git and return what it printed.

    Args:
        arguments: After `git`.
        directory: Repository or work tree to run in.
        variables: Added to the environment.
        remote: Remote to authenticate against.
        stdin: Bytes for its standard input.
        isolated: Whether to leave the user's own git configuration out.
        timeout: Seconds after which it and all it started are ended.
        limits: What it and all it started may use.
        more: Further settings.

    Returns:
        Its standard output.

    Raises:
        ConfigError: git is not installed, or refused the arguments or the repository.
        Unauthenticated: The remote did not accept the credential.
        Refused: The remote knows who asks, and says no.
        NotFound: The remote has no such repository or branch.
        Unavailable: The remote could not be reached, or not in time.
        PushRejected: The remote's branch moved meanwhile.
    """
    found = environment(isolated=isolated, more=dict(more) | (remote.settings() if remote else {})) | dict(
        variables or {}
    )
    try:
        process = subprocess.Popen(
            (limits or Limits()).command(["git", *arguments]),
            cwd=directory,
            env=found,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the gits that it starts hold its pipes, so they must end with it
        )
    except FileNotFoundError as error:
        raise ConfigError("the git program is missing; install git") from error
    with process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            where = f" against {remote.url}" if remote else ""
            why = f"git {arguments[0]}{where} was stopped after {timeout:g} s"
            raise Unavailable(f"{why}; try again later") from None
    if process.returncode == 0:
        return out
    said = err.decode(errors="replace").strip()
    if remote is None:
        raise ConfigError(f"git {arguments[0]} failed: {said or process.returncode}")
    refusal: Error = _refusal(remote, arguments[0], said)
    raise refusal


def _refusal(remote: Remote, act: str, said: str) -> Error:
    shown = remote.masked(said)
    status = found.group(1) if (found := re.search(r"error: (\d{3})\b", said)) else ""
    if "hook declined" in said or "protected branch" in said:
        return Refused(f"{remote.url} does not take the push: {shown}; let this user push to the branch")
    if "rejected" in said or "cannot lock ref" in said or "fetch first" in said:
        return PushRejected(f"{remote.url} moved meanwhile; fetch and push again")
    if "Authentication failed" in said or status == "401" or "could not read Username" in said:
        why = "did not accept the key" if remote.password else "answers nobody without a user name and token"
        return Unauthenticated(f"{remote.url} {why}; {remote.advice}")
    if status == "403":
        return Refused(f"{remote.url} refuses this key; ask its owner for one that may, and {remote.advice}")
    if status.startswith("3"):
        return ConfigError(f"{remote.url} answers with a redirection, which is not followed; write where it leads")
    if "couldn't find remote ref" in said:
        return NotFound(f"{remote.url} has no such branch, or no commit; push a first one there")
    if status == "404" or "not found" in said:
        return NotFound(f"{remote.url} does not exist, or not for who asks; check the address, and {remote.advice}")
    if "fsck error" in said or "in fsck" in said:
        return ConfigError(f"{remote.url} holds what git calls broken: {shown}; mend that commit there")
    return Unavailable(f"git {act} against {remote.url} failed: {shown}; try again later")


@cache
def version() -> tuple[int, int]:
    """Say which git is installed.

    Returns:
        Major and minor number.
    """
    found = re.search(rb"(\d+)\.(\d+)", run(["version"]))
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def text(arguments: Sequence[str], *, directory: Path, isolated: bool = True, stdin: bytes | None = None) -> str:
    """Run git and return its one line.

    Returns:
        Standard output without the last newline.
    """
    return run(arguments, directory=directory, isolated=isolated, stdin=stdin).decode("utf-8", "replace").rstrip("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its name, message and time."""

    id: str
    message: str
    committed: datetime


def commit_of(directory: Path, revision: str = "HEAD", *, isolated: bool = False) -> Commit:
    """Look up a commit.

    Returns:
        The commit that `revision` names.
    """
    shown = run(
        [
            "show",
            "--no-patch",
            "--no-show-signature",
            "--format=%H%x00%ct%x00%B",
            "--end-of-options",
            revision,
        ],
        directory=directory,
        isolated=isolated,
    )
    name, seconds, message = shown.decode("utf-8", "replace").split("\0", 2)
    return Commit(id=name, message=message.rstrip("\n"), committed=datetime.fromtimestamp(int(seconds), tz=UTC))


def has_commit(directory: Path, commit: str) -> bool:
    """Say whether the repository holds a commit.

    Returns:
        True if it does.
    """
    try:
        run(["cat-file", "-e", f"{commit}^{{commit}}"], directory=directory, isolated=False)
    except ConfigError:
        return False
    return True


def is_ancestor(directory: Path, older: str, newer: str, *, isolated: bool = False) -> bool:
    """Say whether `older` is `newer` or comes before it; both must be there.

    Returns:
        True if it does.
    """
    try:
        run(["merge-base", "--is-ancestor", older, newer], directory=directory, isolated=isolated)
    except ConfigError:
        return False
    return True


def entries(directory: Path, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """List the files of a commit at or below `paths`.

    Yields:
        Path and object id, in git's order.
    """
    listed = run(
        ["--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths],
        directory=directory,
        isolated=False,
    )
    for line in listed.decode("utf-8", "surrogateescape").split("\0"):
        if line:
            facts, _, path = line.partition("\t")
            yield path, facts.split(" ")[2]


def wanted(directory: Path) -> list[str]:
    """List the files and links below a directory that git holds or would add: neither ignored ones nor submodules.

    Returns:
        Paths relative to the directory.
    """
    asked = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = run(asked, directory=directory, isolated=False).decode("utf-8", "surrogateescape").split("\0")
    return sorted({path for path in listed if path and is_file_or_link(directory / path)})


def is_file_or_link(path: Path) -> bool:
    """Say whether a path is something that a commit can hold: no folder, no named pipe, no device.

    Returns:
        True if it is.
    """
    return path.is_symlink() or path.is_file()


def changed(directory: Path, paths: Sequence[str]) -> list[str]:
    """List what differs from the checked-out commit at or below `paths`, untracked files included.

    Returns:
        Paths relative to the top of the work tree.
    """
    listed = run(
        [
            "--literal-pathspecs",
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--",
            *paths,
        ],
        directory=directory,
        isolated=False,
    )
    return [line[3:] for line in listed.decode("utf-8", "surrogateescape").split("\0") if line]


def altered(directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
    """List the files at or below `paths` whose content is not the commit's, whatever the index believes of them.

    The index may be told to look away (`assume-unchanged`, `skip-worktree`); here the bytes are read.

    Returns:
        Paths relative to the top of the work tree.
    """
    listed = [(path, blob) for path, blob in entries(directory, commit, paths) if not _is_special(directory / path)]
    gone = [path for path, _ in listed if not (directory / path).is_file()]
    there = [(path, blob) for path, blob in listed if (directory / path).is_file() and "\n" not in path]
    names = "".join(f"{path}\n" for path, _ in there).encode("utf-8", "surrogateescape")
    found = run(["hash-object", "--stdin-paths"], directory=directory, stdin=names, isolated=False).decode().split()
    return gone + [path for (path, blob), actual in zip(there, found, strict=True) if actual != blob]


def is_ignored(directory: Path, path: str) -> bool:
    """Say whether git ignores a path.

    Returns:
        True if it does.
    """
    try:
        run(["check-ignore", "--quiet", "--", path], directory=directory, isolated=False)
    except ConfigError:
        return False
    return True


def _is_special(path: Path) -> bool:
    return path.is_symlink() or path.is_dir()  # links and submodules: `git status` tells of them


def changed_between(directory: Path, older: str, newer: str) -> list[str]:
    """List the files that differ between two commits.

    Returns:
        Paths relative to the top.
    """
    listed = run(["diff", "--name-only", "-z", "--no-renames", older, newer], directory=directory, isolated=False)
    return [path for path in listed.decode("utf-8", "surrogateescape").split("\0") if path]
