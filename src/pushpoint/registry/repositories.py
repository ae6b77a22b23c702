"""Bare git repositories, one for each algorithm, named by the algorithm's id: no user's text is in a path.

What a commit holds is read through git, never from a checked-out file, so a link in a commit leads nowhere.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pushpoint import git
from pushpoint.errors import ConfigError, Conflict, Unavailable
from pushpoint.limits import Limits
from pushpoint.names import AlgorithmName, is_commit
from pushpoint.records import Algorithm

BRANCH = "master"
"""The branch that is built. Clients of the old platform push there by name."""

FETCH_TIMEOUT = 300.0
"""Seconds that a fetch from a git host may take."""
LARGEST_FETCH = 1 << 30
"""Bytes that one fetch may bring, as for a push."""
_LATEST = 4102444799  # the last second of the century; git reads no later one
_LARGEST_COMMIT = 16 << 10  # bytes
_TEMPLATE = "refs/pushpoint/template"
_FETCHED, _FOLLOWED, _KEPT = "refs/pushpoint/fetched", "refs/pushpoint/followed", "refs/pushpoint/kept"
_FETCH = {
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",  # everything into one pack, which the limit on a file's size then limits
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "http.userAgent": "git/pushpoint",
}

SERVED = {
    "http.receivepack": "true",
    "http.getanyfile": "false",
    "receive.denyNonFastForwards": "true",
    "receive.denyDeletes": "true",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": "1g",
    "core.fsync": "all",
    "transfer.hideRefs": "refs/pushpoint",
    "uploadpack.allowFilter": "true",
    # so that what strangers pushed costs no more memory than it must
    "core.bigFileThreshold": "32m",  # what is larger goes through in pieces
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "pack.threads": "2",
    "pack.windowMemory": "64m",
}
"""How git works on a repository; told each time, so that nothing in the repository itself has a say."""
WORK = Limits(memory=1 << 30, seconds=600)
"""What one git may use for one request."""
MOST_REFS, MOST_COMMANDS = 10_000, 1000
"""Branches and tags of a repository, and of a push."""
LARGEST_FILE_READ = 4 << 20
"""Bytes of a file of a commit that the platform itself reads: the manifest, the cases of the smoke test."""
LARGEST_CODE = 2 << 30
"""Bytes of a commit's files together, when it is built."""
_INDEX = Limits(memory=384 << 20, seconds=10, file=16 << 20)  # some 150,000 files; a bomb has 10^10


def path(root: Path, algorithm: Algorithm) -> Path:
    """Say where the repository of an algorithm is.

    Returns:
        Path of the bare repository.
    """
    return root / f"{algorithm.id}.git"


def create(root: Path, algorithm: Algorithm) -> None:
    """Make the repository of a new algorithm, with the template as its first commit; idempotent."""
    final = path(root, algorithm)
    if final.exists():
        return
    draft = final.with_suffix(f".{secrets.token_hex(4)}")
    _init(draft)
    git.run(["fast-import", "--quiet"], directory=draft, stdin=_first_commit(algorithm))
    _settle(draft, final)


def up_to(repository: Path, commit: str) -> Path:
    """Make a repository that ends at a commit and holds nothing besides, for people who may see no more; idempotent.

    Who may fetch anything from a repository may fetch all that is in it, by git's protocol; a namespace would not do.

    Returns:
        Path of the bare repository, inside the other one.
    """
    final = repository / "versions" / f"{commit}.git"
    if final.exists():
        return final
    draft = final.with_suffix(f".{secrets.token_hex(4)}")
    _init(draft)
    packed = ["pack-objects", "--quiet", "--revs", "--delta-base-offset", str(draft / "objects" / "pack" / "pack")]
    git.run(packed, directory=repository, stdin=f"{commit}\n".encode(), limits=WORK, more=SERVED)
    git.run(["update-ref", f"refs/heads/{BRANCH}", commit], directory=draft)
    _settle(draft, final)
    return final


def has_room(repository: Path, more: int) -> bool:
    """Say whether a repository may get `more` branches and tags.

    Returns:
        True if it may.
    """
    listed = git.run(["for-each-ref", f"--count={MOST_REFS + 1}", "--format="], directory=repository)
    return listed.count(b"\n") + more <= MOST_REFS


def head(repository: Path) -> str | None:
    """Look up the tip of the branch that is built.

    Returns:
        The commit, or none in an empty repository.
    """
    return _tip(repository, f"refs/heads/{BRANCH}")


def is_template(repository: Path, commit: str) -> bool:
    """Say whether a commit of the branch is the template's, which is never built unasked.

    Returns:
        True if it is the branch's root and was not fetched.
    """
    root = _tip(repository, _TEMPLATE) or git.text(
        ["rev-list", "--max-parents=0", "-1", f"refs/heads/{BRANCH}"], directory=repository
    )
    return commit == root and _tip(repository, _FOLLOWED) is None


def fetch(repository: Path, remote: git.Remote, branch: str | None) -> str:
    """Fetch a branch of a git host's repository into a place of its own; the branch that is built stays.

    Args:
        repository: Ours.
        remote: Theirs.
        branch: Its branch; none for the one that its HEAD names.

    Returns:
        The branch's commit there.

    Raises:
        ConfigError: It is too large, or broken.
        Unavailable: The host does not answer, or not in time.
    """
    theirs = f"refs/heads/{branch}" if branch else "HEAD"
    quiet = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance"]
    try:
        git.run(
            ["fetch", *quiet, "--end-of-options", remote.url, f"+{theirs}:{_FETCHED}"],
            directory=repository,
            variables=git.NOBODY,
            remote=replace(remote, more=(*remote.more, *_FETCH.items())),
            timeout=FETCH_TIMEOUT,
            limits=replace(WORK, file=LARGEST_FETCH),
        )
    except Unavailable as error:
        # git only says that a program it started ended early; what that one left tells why
        if any(path.stat().st_size >= LARGEST_FETCH for path in _leftovers(repository)):
            raise ConfigError(f"{remote.url} is larger than is taken; keep models and data out of it") from error
        raise
    finally:
        for path in _leftovers(repository):
            path.unlink(missing_ok=True)
    return git.text(["rev-parse", "--verify", _FETCHED], directory=repository)


def follow(repository: Path, commit: str, *, rewritten: bool = False) -> None:
    """Move the branch that is built to a fetched commit.

    Args:
        repository: Ours.
        commit: What was fetched.
        rewritten: Whether it need not come after what is there, whose commits are kept aside then.

    Raises:
        Conflict: It does not come after what is there.
    """
    now = head(repository)
    is_ahead = now is None or now == commit or comes_before(repository, now, commit)
    if now and not is_ahead and not rewritten and not is_template(repository, now):
        raise Conflict(
            f"the branch's history was rewritten on the git host: {commit[:12]} does not come after {now[:12]}, which "
            "was fetched before; restore it there, or take it as it is: pushpoint source reset"
        )
    steps = [f"update refs/heads/{BRANCH} {commit} {now or '0' * 40}", f"update {_FOLLOWED} {commit}"]
    if not is_ahead:
        steps.append(f"update {_KEPT}/{now} {now}")
    git.run(["update-ref", "--stdin"], directory=repository, stdin="".join(f"{step}\n" for step in steps).encode())


def holds(repository: Path, commit: str) -> bool:
    """Say whether a commit is on the branch that is built.

    Returns:
        True if it is.
    """
    now = head(repository)
    return now is not None and (commit == now or comes_before(repository, commit, now))


def read(repository: Path, commit: str, name: str) -> str | None:
    """Read a text file of a commit.

    Returns:
        Its content, or none if the commit has no such file; nothing of one that is too large to be what it should.
    """
    file = f"{commit}:{name}"
    try:
        if int(git.text(["cat-file", "-s", file], directory=repository)) > LARGEST_FILE_READ:
            return ""
        return git.run(["cat-file", "blob", file], directory=repository).decode("utf-8", "replace")
    except ConfigError:
        return None


def log(repository: Path, *, since: datetime | None = None, until: datetime | None = None) -> list[dict[str, str]]:
    """List the commits of the branch that is built, newest first.

    Returns:
        Of at most 1,000, those of a size that people write: `id`, `short_message`, `message` and `author`.
    """
    if head(repository) is None:
        return []
    # in seconds, and none of the next century: what git cannot read as a date it makes something else of, silently
    period = [
        f"--{name}=@{min(max(0, int(when.timestamp())), _LATEST)}"
        for name, when in (("since", since), ("until", until))
        if when
    ]
    branch = f"refs/heads/{BRANCH}"
    listed = git.run(["rev-list", "--max-count=1000", *period, branch], directory=repository, limits=WORK, more=SERVED)
    sizes = git.text(["cat-file", "--batch-check=%(objectname) %(objectsize)"], directory=repository, stdin=listed)
    shown = [name for name, size in map(str.split, sizes.splitlines()) if int(size) <= _LARGEST_COMMIT]
    if not shown:
        return []
    text = git.text(
        ["log", "--no-walk=unsorted", "--stdin", "-z", "--format=%H%x01%an%x01%s%x01%B"],
        directory=repository,
        stdin="".join(f"{name}\n" for name in shown).encode(),
    )
    found = (entry.split("\x01", 3) for entry in text.split("\0") if entry.strip())
    return [
        {"id": commit.strip(), "short_message": short, "message": message.strip(), "author": author}
        for commit, author, short, message in found
    ]


def export(repository: Path, commit: str, target: Path) -> None:
    """Lay the files of a commit into a new directory, for a sandbox to see.

    Raises:
        ConfigError: They are too many or too large, or no file system can hold them.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    index = target.with_suffix(".index")
    variables = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(target)}
    try:
        git.run(["read-tree", commit], directory=repository, variables=variables, limits=_INDEX, more=SERVED)
        if (size := _size(repository, commit)) > LARGEST_CODE:
            raise ConfigError(f"they have {size} bytes, and {LARGEST_CODE} is the most")
        laying_out = ["checkout-index", "--all", "--force"]
        git.run(laying_out, directory=repository, variables=variables, limits=WORK, more=SERVED)
    except ConfigError as error:
        why = f"the files of commit {commit} cannot be laid out ({error})"
        raise ConfigError(f"{why}; commit fewer or smaller ones, in folders that are less deep") from error
    finally:
        for file in (index, index.with_suffix(".index.lock")):
            file.unlink(missing_ok=True)


def _size(repository: Path, commit: str) -> int:
    """Add up the files of a commit, of which there are not too many.

    Returns:
        Bytes.
    """
    listed = git.run(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], directory=repository).split(b"\0")
    sizes = [line.partition(b"\t")[0].split()[-1] for line in listed if line]
    return sum(int(size) for size in sizes if size != b"-")  # a submodule has none


def comes_before(repository: Path, older: str, newer: str) -> bool:
    """Say whether `older` is an ancestor of `newer`, and not the same.

    Returns:
        True if it is.
    """
    return older != newer and git.is_ancestor(repository, older, newer, isolated=True)


def template(name: AlgorithmName) -> Mapping[str, str]:
    """Return the files that a new algorithm starts with.

    Returns:
        Path to text.

    Source:
        The Node and Python clients' suites call a fresh algorithm and expect `hello INPUT`.
    """
    conf = {"username": name.owner, "algoname": name.name, "language": "python3"}
    return {
        "algorithmia.conf": json.dumps(conf, indent=2) + "\n",
        "requirements.txt": "",
        "src/__init__.py": "",
        f"src/{name.name}.py": 'def apply(input):\n    return f"hello {input}"\n',
    }


def _init(place: Path) -> None:
    git.run(["init", "--quiet", "--bare", f"--initial-branch={BRANCH}", "--template=", str(place)])


def _settle(draft: Path, final: Path) -> None:
    try:
        draft.rename(final)
    except OSError:  # someone else was faster
        shutil.rmtree(draft)


def _leftovers(repository: Path) -> list[Path]:
    return list((repository / "objects" / "pack").glob("tmp_*"))


def _tip(repository: Path, ref: str) -> str | None:
    # git's own file first: a program costs milliseconds, and each start of the platform asks for all repositories
    try:
        text = (repository / ref).read_text("ascii").strip()
        if is_commit(text):
            return text
    except (OSError, UnicodeDecodeError):
        if not (repository / "packed-refs").exists():
            return None
    try:
        return git.text(["rev-parse", "--verify", "--quiet", ref], directory=repository)
    except ConfigError:
        return None


def _first_commit(algorithm: Algorithm) -> bytes:
    when = int(datetime.now(UTC).timestamp())
    parts = [
        f"commit refs/heads/{BRANCH}\ncommitter Pushpoint <pushpoint@localhost> {when} +0000\n",
        _data("Template"),
    ]
    for name, content in template(algorithm.name).items():
        parts += [f"M 100644 inline {name}\n", _data(content)]
    parts.append(f"reset {_TEMPLATE}\nfrom refs/heads/{BRANCH}\n")
    return "".join(parts).encode()


def _data(content: str) -> str:
    return f"data {len(content.encode())}\n{content}\n"
