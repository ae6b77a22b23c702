"""What of a folder is pushed, and which commit is named for it: the one that holds exactly that, or none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pushpoint import manifest as manifests
from pushpoint.errors import ConfigError
from pushpoint.library.code import read_code
from pushpoint.report import quiet
from tests.repositories import Repository
from tests.test_manifest import example


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "reviews", "iris")
    made.inference()
    made.write(".gitignore", "*.log\n.venv/\n")
    made.write("notes.txt", "beside the code")
    made.commit("First")
    return made


def read(folder: Path, name: str = "iris"):  # type: ignore[no-untyped-def]
    return read_code(folder, name, environment={}, report=quiet())


def edit(repository: Repository) -> None:
    repository.write("iris/src/iris.py", "edited")


def add(repository: Repository) -> None:
    repository.write("iris/new.py", "")


def delete(repository: Repository) -> None:
    (repository.directory / "iris" / "requirements.txt").unlink()


def hide_an_edit(repository: Repository) -> None:
    edit(repository)
    repository.git("update-index", "--assume-unchanged", "iris/src/iris.py")


def stage(repository: Repository) -> None:
    edit(repository)
    repository.git("add", "--all")


@pytest.mark.parametrize("change", [edit, add, delete, hide_an_edit, stage])
def test_no_commit_is_named_for_what_no_commit_holds(
    repository: Repository, change: Callable[[Repository], None]
) -> None:
    change(repository)
    found = read(repository.directory / "iris")
    assert (found.source, found.tree) == (None, "")


def test_the_commit_is_named_that_holds_the_same(repository: Repository) -> None:
    repository.write("notes.txt", "edited, but beside the code")
    repository.write("iris/debug.log", "ignored by git")
    repository.write("iris/.venv/bin/python", "ignored by git")
    found = read(repository.directory / "iris")
    assert found.source
    assert found.source.commit == repository.git("rev-parse", "HEAD")
    assert (found.source.repository, found.source.ref, found.source.message) == ("reviews", "refs/heads/main", "First")
    assert found.tree == repository.git("rev-parse", "HEAD:iris")
    assert found.files == ("requirements.txt", "src/__init__.py", "src/iris.py")


def test_a_folder_that_is_a_repository_itself_is_its_commits(tmp_path: Path) -> None:
    made = Repository(tmp_path / "iris", "iris")
    made.write("src/iris.py", "")
    made.commit("Only code")
    found = read(made.directory)
    assert found.source
    assert found.tree == made.git("rev-parse", "HEAD^{tree}")
    made.write("src/iris.py", "edited")
    assert read(made.directory).source is None


def test_a_repository_without_a_commit_is_none(tmp_path: Path) -> None:
    made = Repository(tmp_path / "iris", "iris")
    made.write("src/iris.py", "")
    found = read(made.directory)
    assert (found.source, found.files) == (None, ("src/iris.py",))


def test_what_no_commit_can_hold_is_left_out(repository: Repository, tmp_path: Path) -> None:
    inner = Repository(repository.directory / "iris" / "inner", "inner")
    inner.write("x.py", "")
    inner.commit()
    os.mkfifo(repository.directory / "iris" / "pipe")
    assert read(repository.directory / "iris").files == ("requirements.txt", "src/__init__.py", "src/iris.py")
    (tmp_path / "plain" / "src").mkdir(parents=True)
    (tmp_path / "plain" / "src" / "iris.py").touch()
    os.mkfifo(tmp_path / "plain" / "pipe")
    assert read(tmp_path / "plain").files == ("src/iris.py",)


def test_without_a_repository_all_is_code_that_is_not_hidden(tmp_path: Path) -> None:
    for name in ("src/iris.py", "data/words.txt", ".env", ".venv/x.py", "src/__pycache__/iris.pyc", "src/old.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "away").symlink_to("/etc")
    assert read(tmp_path).files == ("away", "data/words.txt", "src/iris.py")


def test_code_that_git_ignores_is_missed_not_pushed_by_halves(repository: Repository) -> None:
    repository.write(".gitignore", "src/\n")
    repository.git("rm", "--quiet", "--cached", "-r", "iris/src")
    with pytest.raises(ConfigError, match=r"iris.py is ignored by git; .* write it there"):
        read(repository.directory / "iris")


def test_what_is_laid_out_is_the_code_and_the_manifest_and_nothing_else(tmp_path: Path) -> None:
    code = tmp_path / "iris"
    (code / "src").mkdir(parents=True)
    (code / "src" / "iris.py").write_text("new")
    (code / "link").symlink_to("src/iris.py")
    (code / manifests.FILE).write_text('{"model_filepath": "./model.pkl", "owner_team": "reviews"}')
    place = tmp_path / "scratch" / "clone"
    (place / "src").mkdir(parents=True)
    (place / "src" / "gone.py").touch()
    read(code).lay_out(place, example(), report=quiet())
    assert {path.relative_to(place).as_posix() for path in place.rglob("*")} == {
        "link",
        "src",
        "src/iris.py",
        manifests.FILE,
    }
    assert os.readlink(place / "link") == "src/iris.py"
    written = (place / manifests.FILE).read_text()
    assert json.loads(written)["owner_team"] == "reviews"
    assert json.loads(written)["algorithm"] == "ann/iris"
    read(code).lay_out(place, example(), report=quiet())
    assert (place / manifests.FILE).read_text() == written, "the same again is the same file"
    (code / manifests.FILE).write_text('{"model_filepath": "./model.pkl", "required_files": []}')
    read(code).lay_out(place, example(), report=quiet())
    assert json.loads((place / manifests.FILE).read_text())["required_files"] == [], "another tool's key is a change"
    (code / manifests.FILE).write_text('{"model_filepath": "./model.pkl", "owner_team": "reviews"}')
    read(code).lay_out(place, None, report=quiet())
    assert json.loads((place / manifests.FILE).read_text()) == {
        "model_filepath": "./model.pkl",
        "owner_team": "reviews",
    }
