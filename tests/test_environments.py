"""Environments are made from wheels and source packages that lie in a directory: no index is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pushpoint.environments import Environment, make_environment
from pushpoint.errors import ConfigError, RequirementsFailed

OFFLINE = {"UV_OFFLINE": "1", "UV_DEFAULT_INDEX": "file:///nowhere"}

BACKEND = """
import os, pathlib, time, zipfile
pathlib.Path({told!r}).write_text(os.environ["HOME"] + " " + " ".join(sorted(os.environ)))
time.sleep({sleep})
def build_wheel(directory, *_):
    name = "{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("{name}.py", "")
        about = "{name}-1.0.dist-info"
        wheel.writestr(about + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr(about + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "/RECORD", "")
    return name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
"""


class Workshop:
    """A directory of packages, and environments made from them."""

    def __init__(self, home: Path) -> None:
        self.home, self.root, self.told = home, home / "environments", home / "told"
        self.links = home / "links"
        self.links.mkdir()
        self.lines: list[str] = []
        for version in ("1.0", "2.0"):
            self.wheel("leaf", version)
        self.wheel("tree", "1.0", "leaf<2")

    def wheel(self, name: str, version: str, *needs: str, tag: str = "py3") -> None:
        with zipfile.ZipFile(self.links / f"{name}-{version}-{tag}-none-any.whl", "w") as wheel:
            about = f"{name}-{version}.dist-info"
            required = "".join(f"Requires-Dist: {need}\n" for need in needs)
            wheel.writestr(f"{name}.py", f"version = {version!r}")
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
            wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")

    def source(self, folder: Path, name: str, sleep: float = 0) -> Path:
        folder.mkdir(parents=True)
        (folder / "backend.py").write_text(BACKEND.format(told=str(self.told), name=name, sleep=sleep))
        (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name))
        return folder

    def archive(self, name: str) -> None:
        folder = self.source(self.home / f"{name}-1.0", name)
        (folder / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        subprocess.run(["tar", "czf", self.links / f"{name}-1.0.tar.gz", folder.name], cwd=self.home, check=True)

    @property
    def variables(self) -> Mapping[str, str]:
        return OFFLINE | {"UV_FIND_LINKS": str(self.links)}

    def requirements(self, text: str, name: str = "requirements.txt") -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def make(self, requirements: str | Path | None, **options: Any) -> Environment:
        if isinstance(requirements, str):
            requirements = self.requirements(requirements)
        usual: dict[str, Any] = {"root": self.root, "cache": self.home / "cache", "variables": self.variables}
        return make_environment(requirements, say=self.lines.append, **(usual | options))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def imported(environment: Environment, code: str) -> str:
    run = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_an_environment_has_what_its_lock_says(workshop: Workshop) -> None:
    made = workshop.make("# trees\ntree  # with leaves\n", extra=["leaf"])

    assert made.lock == "leaf==1.0\ntree==1.0\n"
    assert imported(made, "import tree, leaf; print(leaf.version)") == "1.0"
    assert made.path == workshop.root / made.digest
    assert made.python == made.path / "bin" / "python"
    assert not made.reused
    assert any("leaf==1.0" in line for line in workshop.lines)


def test_the_second_time_it_is_found(workshop: Workshop) -> None:
    first = workshop.make("tree")
    second = workshop.make("tree==1.0")

    assert second.reused
    assert second.path == first.path
    assert imported(second, "import tree") == ""


@pytest.mark.parametrize("other", ["requirements", "extra"])
def test_another_wish_is_another_environment(workshop: Workshop, other: str) -> None:
    first = workshop.make("leaf")
    second = workshop.make("leaf<2") if other == "requirements" else workshop.make("leaf", extra=["tree"])

    assert second.path != first.path
    assert imported(first, "import leaf; print(leaf.version)") == "2.0"
    assert imported(second, "import leaf; print(leaf.version)") == "1.0"


@pytest.mark.parametrize("requirements", [None, "", "# nothing\n\n", Path("/nowhere/requirements.txt")])
def test_nothing_may_be_asked_for(workshop: Workshop, requirements: str | Path | None) -> None:
    bare = workshop.make(requirements)
    assert bare.lock == ""
    assert imported(bare, "print(1)") == "1"

    made = workshop.make(requirements, extra=["leaf"])
    assert made.lock == "leaf==2.0\n"


def test_files_and_directories_are_relative_to_the_file(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.source(workshop.home / "in" / "mine", "mine")
    workshop.requirements("leaf\n", "in/more/other.txt")
    workshop.requirements("leaf<2\n", "in/limits.txt")
    workshop.requirements("-r more/other.txt\n-c limits.txt\n./mine\n", "in/requirements.txt")
    monkeypatch.chdir(workshop.home)

    made = workshop.make(Path("in/requirements.txt"))
    assert imported(made, "import mine, leaf; print(leaf.version)") == "1.0"

    again = workshop.make(Path("in/requirements.txt"))
    assert not again.reused, "./mine may have changed"


def test_where_the_file_wants_its_packages_from_counts(workshop: Workshop) -> None:
    made = workshop.make("--find-links ./links\ntree\n", variables=OFFLINE)

    assert made.lock == "leaf==1.0\ntree==1.0\n"
    assert imported(made, "import tree") == ""


def test_an_installation_that_was_killed_does_not_count(workshop: Workshop) -> None:
    class Killed(BaseException):
        pass

    def die(line: str) -> None:
        if "Installed" in line or "leaf" in line:
            raise Killed

    with pytest.raises(Killed):
        make_environment(
            workshop.requirements("leaf"),
            root=workshop.root,
            cache=workshop.home / "cache",
            variables=workshop.variables,
            say=die,
        )
    (half,) = (path for path in workshop.root.iterdir() if path.is_dir())
    (half / "left over").touch()

    made = workshop.make("leaf")
    assert made.path == half
    assert not made.reused
    assert not (half / "left over").exists()
    assert imported(made, "import leaf") == ""


def test_an_environment_that_somebody_changed_is_made_again(workshop: Workshop) -> None:
    first = workshop.make("leaf")
    (packages,) = first.path.glob("lib/python*/site-packages")
    imported(first, "import leaf")
    assert workshop.make("leaf").reused, "bytecode is no change"

    (packages / "surprise.py").touch()
    assert not workshop.make("leaf").reused
    assert not (packages / "surprise.py").exists()

    first.python.unlink()
    assert not workshop.make("leaf").reused


def test_two_processes_make_it_once(workshop: Workshop) -> None:
    requirements = workshop.requirements("tree")
    code = f"""
from pathlib import Path
from pushpoint.environments import make_environment
made = make_environment(Path({str(requirements)!r}), root=Path({str(workshop.root)!r}),
    cache=Path({str(workshop.home / "cache")!r}), variables={dict(workshop.variables)!r}, say=lambda line: None)
print(made.reused)
"""
    racers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = sorted(racer.communicate()[0].strip() for racer in racers)

    assert told == ["False", "True", "True"]
    assert workshop.make(requirements).reused


FAILURES = {
    "leef\n": "leef",
    "leaf==99\n": "leaf==99",
    "leaf>>1\n": ">>1",
    "tree\nleaf==2.0\n": "leaf==2.0",
    "./nowhere\n": "nowhere",
    "-r nowhere.txt\n": "nowhere.txt",
}


@pytest.mark.parametrize(("text", "named"), FAILURES.items(), ids=[text.strip() for text in FAILURES])
def test_what_cannot_be_installed_is_named(workshop: Workshop, text: str, named: str) -> None:
    with pytest.raises(RequirementsFailed) as failed:
        workshop.make(text)

    assert named in failed.value.log
    assert failed.value.path.endswith("requirements.txt")


def test_an_index_that_denies_what_it_has_just_offered_is_asked_again(workshop: Workshop) -> None:
    wheel, away = workshop.links / "leaf-2.0-py3-none-any.whl", workshop.home / "away"

    def say(line: str) -> None:
        workshop.lines.append(line)
        if "virtual environment" in line:
            wheel.rename(away)
        if "asking again" in line:
            away.rename(wheel)

    made = make_environment(
        workshop.requirements("leaf"),
        root=workshop.root,
        cache=workshop.home / "cache",
        variables=workshop.variables,
        say=say,
    )
    assert made.lock == "leaf==2.0\n"
    assert sum("asking again" in line for line in workshop.lines) == 1
    assert imported(made, "import leaf; print(leaf.version)") == "2.0"


def test_a_file_that_is_no_text_is_refused(workshop: Workshop) -> None:
    path = workshop.home / "requirements.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequirementsFailed, match="cannot be read"):
        workshop.make(path)


def test_a_network_that_is_down_is_said(workshop: Workshop) -> None:
    variables = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    with pytest.raises(RequirementsFailed, match="package index could not be reached"):
        workshop.make("leaf", variables=variables)


def test_a_build_that_hangs_is_stopped(workshop: Workshop) -> None:
    workshop.source(workshop.home / "slow", "slow", sleep=60)
    began = time.monotonic()
    with pytest.raises(RequirementsFailed, match="stopped after 2 s"):
        workshop.make("./slow", timeout=2)
    assert time.monotonic() - began < 20


def test_an_interpreter_that_is_none_is_a_mistake(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="python99"):
        workshop.make("leaf", python="python99")


def test_versions_are_remembered_for_plain_requirements_only(workshop: Workshop) -> None:
    other = workshop.requirements("leaf", "other.txt")
    assert workshop.make("leaf", lock_age=60).lock == "leaf==2.0\n"
    assert workshop.make(f"-r {other.name}", lock_age=60).lock == "leaf==2.0\n"

    workshop.wheel("leaf", "3.0")
    workshop.lines.clear()
    assert workshop.make("leaf", lock_age=60).lock == "leaf==2.0\n"
    assert not workshop.lines, "uv was not even started"
    assert workshop.make("leaf", lock_age=60, extra=["tree>0"]).lock == "leaf==1.0\ntree==1.0\n"
    assert workshop.make(f"-r {other.name}", lock_age=60).lock == "leaf==3.0\n"
    assert workshop.make("leaf").lock == "leaf==3.0\n"

    for memory in workshop.root.glob("*.chosen"):
        os.utime(memory, (time.time() - 61, time.time() - 61))
    assert workshop.make("leaf", lock_age=60).lock == "leaf==3.0\n"


def test_uv_sees_no_secret(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUSHPOINT_API_KEY", "ALGORITHMIA_API_KEY", "GITHUB_TOKEN", "UV_PUBLISH_TOKEN"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("UV_INDEX_MINE_USERNAME", "reader")
    workshop.source(workshop.home / "mine", "mine")

    workshop.make("./mine", variables={**workshop.variables, "WANTED": "1"})
    told = workshop.told.read_text().split()[1:]
    assert not [name for name in told if "TOKEN" in name or "KEY" in name]
    assert {"PATH", "WANTED", "UV_INDEX_MINE_USERNAME"} <= set(told)


class Cell:
    """Stands for a sandbox: remembers what was to run inside."""

    def __init__(self) -> None:
        self.commands: list[Sequence[str]] = []
        self.writable: list[Sequence[Path]] = []

    def __call__(self, argv: Sequence[str], variables: Mapping[str, str], writable: Sequence[Path]) -> Sequence[str]:
        command = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()), *argv]
        self.commands.append(command)
        self.writable.append(writable)
        return command


def test_wheels_of_strangers_are_installed_outside(workshop: Workshop) -> None:
    cell = Cell()
    made = workshop.make("tree[all] >= 1.0 ; python_version > '3'\n", contained=cell)

    assert made.lock == "leaf==1.0\ntree==1.0\n"
    assert not cell.commands


@pytest.mark.parametrize("text", ["odd", "./odd-1.0", "-e ./odd-1.0", "odd @ file://{home}/odd-1.0", "-r other.txt"])
def test_code_of_strangers_runs_inside_only(workshop: Workshop, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "planted")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:planted@127.0.0.1:9")
    workshop.archive("odd")
    workshop.requirements("odd", "other.txt")
    cell = Cell()

    def built_outside(argv: Sequence[str], variables: Mapping[str, str], writable: Sequence[Path]) -> Sequence[str]:
        assert cell.commands or not workshop.told.exists(), "it was built before anything was contained"
        return cell(argv, variables, writable)

    if text.startswith("-e"):  # the backend cannot do it; that it was not asked outside is what counts
        with pytest.raises(RequirementsFailed):
            workshop.make(text, contained=built_outside)
    else:
        made = workshop.make(text.format(home=workshop.home), contained=built_outside)
        scratch, path = cell.writable[-1]
        assert path == made.path
        assert next(made.path.glob("lib/python*/site-packages/odd.py"), None)
    scratch = cell.writable[0][0]
    assert scratch.parent == workshop.root
    assert not scratch.exists()
    for command in cell.commands:
        assert f"--cache-dir {scratch}/cache" in " ".join(command)
        assert "planted" not in " ".join(command)
    if workshop.told.exists():
        home, *names = workshop.told.read_text().split()
        assert home == str(scratch)
        assert "UV_INDEX_MINE_PASSWORD" not in names


def test_what_was_built_inside_is_shared_with_nobody_else(workshop: Workshop) -> None:
    workshop.archive("odd")
    theirs = workshop.make("odd", contained=Cell())
    mine = workshop.make("odd")
    others = workshop.make("odd==1.0", contained=Cell())

    assert theirs.lock == mine.lock == others.lock == "odd==1.0\n"
    assert len({theirs.path, mine.path, others.path}) == 3
    assert workshop.make("odd", contained=Cell()).path == theirs.path


OWN = f"3.{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("text", "others", "said"),
    [
        ("old", [OWN, "3.9", "3.8"], rf"no wheel for Python {OWN} of old\. Python 3\.8 would do: choose it"),
        ("leaf\nold==1.0\n", [OWN], r"of old==1\.0\. Python 3\.8 would do: install it"),
        ("old\nolder\n", [OWN, "3.8"], r"of old, older\. No version of Python has all of them"),
        ("two\nodd\n", ["3.9", "3.8"], r"of two\. Python 3\.8 or 3\.9 would do: choose it"),
    ],
)
def test_requirements_that_exist_for_other_pythons_alone_are_refused_before_anything_is_built(
    workshop: Workshop, text: str, others: list[str], said: str
) -> None:
    for name, tag in [("old", "cp38"), ("older", "cp39"), ("two", "cp38"), ("two", "cp39")]:
        workshop.wheel(name, "1.0", tag=tag)
    for name in ("old", "older", "two", "odd"):
        workshop.archive(name)

    with pytest.raises(RequirementsFailed, match=said):
        workshop.make(text, others=others, contained=Cell())
    assert not workshop.told.exists()
    assert workshop.make("odd", others=others, contained=Cell()).lock == "odd==1.0\n", "it has wheels for no Python"


def test_a_link_to_a_file_of_ours_is_not_followed_for_strangers(workshop: Workshop) -> None:
    (workshop.home / "secret").write_text("leaf")
    link = workshop.home / "requirements.txt"
    link.symlink_to("secret")

    assert workshop.make(link).lock == "leaf==2.0\n"
    with pytest.raises(RequirementsFailed, match="symbolic link"):
        workshop.make(link, contained=Cell())


def test_requirements_that_no_one_wrote_by_hand_are_not_read(workshop: Workshop) -> None:
    file = workshop.home / "requirements.txt"
    with file.open("wb") as growing:
        growing.truncate((4 << 20) + 1)
    with pytest.raises(RequirementsFailed, match="more than 4194304 bytes"):
        workshop.make(file)
