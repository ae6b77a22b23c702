"""Bare repositories with what strangers may push: bombs, disguises, and commits that not everybody may see."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpoint import git
from pushpoint.errors import ConfigError
from pushpoint.names import AlgorithmName
from pushpoint.records import Algorithm
from pushpoint.registry import repositories


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = Algorithm(
        id="1",
        name=AlgorithmName("ann", "x"),
        label="",
        summary="",
        tagline="",
        settings={},
        sample_input=None,
        created=datetime.now(UTC),
        generation=0,
        live=None,
    )
    repositories.create(tmp_path / "repositories", made)
    return repositories.path(tmp_path / "repositories", made)


def write(repository: Path, *arguments: str, stdin: bytes = b"") -> str:
    return git.run(arguments, directory=repository, stdin=stdin).decode().strip()


def commit(repository: Path, entries: Sequence[str], *, parent: str | None = None) -> str:
    """Make a commit of entries as `git mktree` reads them."""
    tree = write(repository, "mktree", stdin="".join(f"{entry}\n" for entry in entries).encode())
    who = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    more = ["-p", parent] if parent else []
    made = git.run(["commit-tree", tree, "-m", "x", *more], directory=repository, variables=who).decode().strip()
    git.run(["update-ref", "refs/heads/master", made], directory=repository)
    return made


def blob(repository: Path, content: bytes) -> str:
    return write(repository, "hash-object", "-w", "--stdin", stdin=content)


def test_a_repository_up_to_a_commit_holds_what_comes_before_it_and_no_more(repository: Path) -> None:
    one, two = blob(repository, b"one"), blob(repository, b"two")
    first = commit(repository, [f"100644 blob {one}\ta"], parent=repositories.head(repository))
    second = commit(repository, [f"100644 blob {two}\ta"], parent=first)
    made = repositories.up_to(repository, first)
    assert repositories.head(made) == first
    assert git.has_commit(made, first)
    assert not git.has_commit(made, second)
    assert two not in write(made, "cat-file", "--batch-check", "--batch-all-objects")
    done = subprocess.run(["git", "fsck", "--strict", "--full"], cwd=made, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    before = made.stat().st_mtime_ns
    assert repositories.up_to(repository, first) == made
    assert made.stat().st_mtime_ns == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_a_file_that_is_too_large_to_be_a_manifest_is_read_as_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "LARGEST_FILE_READ", 100)
    made = commit(repository, [f"100644 blob {blob(repository, b'x' * size)}\t{size}" for size in (100, 101)])
    assert repositories.read(repository, made, "100") == "x" * 100
    assert repositories.read(repository, made, "101") == ""
    assert repositories.read(repository, made, "102") is None


def test_a_tree_of_ten_billion_files_is_not_laid_out(repository: Path, tmp_path: Path) -> None:
    """Ten objects that hold ten times each other: small to push, endless to check out."""
    kind, inner = "100644 blob", blob(repository, b"boom")
    for _ in range(9):
        listed = "".join(f"{kind} {inner}\t{number}\n" for number in range(10))
        kind, inner = "040000 tree", write(repository, "mktree", stdin=listed.encode())
    made = commit(repository, [f"{kind} {inner}\t{number}" for number in range(10)])
    with pytest.raises(ConfigError, match=r"git read-tree failed.*; commit fewer"):
        repositories.export(repository, made, tmp_path / "code")
    assert [path.name for path in tmp_path.iterdir()] == ["code", "repositories"]
    assert list((tmp_path / "code").iterdir()) == []


def test_files_that_are_larger_than_code_is_are_not_laid_out(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "LARGEST_CODE", 1000)
    half, link = blob(repository, bytes(500)), blob(repository, b"a")
    made = commit(repository, [f"100644 blob {half}\ta", f"100644 blob {half}\tb", f"160000 commit {'1' * 40}\tmodule"])
    repositories.export(repository, made, tmp_path / "code")
    made = commit(repository, [f"100644 blob {half}\ta", f"100644 blob {half}\tb", f"120000 blob {link}\tc"])
    with pytest.raises(ConfigError, match=r"have 1001 bytes, and 1000 is the most.*; commit fewer or smaller ones"):
        repositories.export(repository, made, tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []


def test_a_replaced_commit_is_built_as_what_its_name_says(repository: Path, tmp_path: Path) -> None:
    good = commit(repository, [f"100644 blob {blob(repository, b'good')}\ta"])
    evil = commit(repository, [f"100644 blob {blob(repository, b'evil')}\ta"])
    git.run(["update-ref", f"refs/replace/{good}", evil], directory=repository)
    repositories.export(repository, good, tmp_path / "code")
    assert (tmp_path / "code" / "a").read_text() == "good"
    assert repositories.read(repository, good, "a") == "good"


def test_only_the_first_commit_of_a_hosted_branch_is_the_template(repository: Path) -> None:
    """Also where git has put all of its references into one file, and in repositories from before the mark."""
    first = str(repositories.head(repository))
    for prepare in ([], ["pack-refs", "--all"], ["update-ref", "-d", "refs/pushpoint/template"]):
        if prepare:
            git.run(prepare, directory=repository)
        assert repositories.head(repository) == first
        assert repositories.is_template(repository, first)
    second = commit(repository, [], parent=first)
    git.run(["update-ref", f"refs/heads/{repositories.BRANCH}", second], directory=repository)
    assert repositories.head(repository) == second
    assert not repositories.is_template(repository, second)
    git.run(["update-ref", "refs/pushpoint/followed", second], directory=repository)
    assert not repositories.is_template(repository, first), "a fetched branch begins with no template"


def test_a_repository_has_room_for_so_many_branches(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "MOST_REFS", 4)  # of which the platform's own mark of the template is one
    assert [repositories.has_room(repository, more) for more in (0, 2, 3)] == [True, True, False]


def test_a_commit_that_is_a_bomb_is_left_out_of_the_log(repository: Path) -> None:
    who = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    tree = write(repository, "mktree")
    made = str(repositories.head(repository))
    for message in (b"small", b"x" * (17 << 10), b"last"):
        parents = ["-p", made]
        made = (
            git.run(["commit-tree", tree, *parents], directory=repository, variables=who, stdin=message)
            .decode()
            .strip()
        )
    git.run(["update-ref", "refs/heads/master", made], directory=repository)
    assert [one["message"] for one in repositories.log(repository)] == ["last", "small", "Template"]
