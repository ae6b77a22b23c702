"""Deploys to an algorithm whose repository is on a git host: pushed there, built from there, and the token nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.githost import GitHost
from tests.repositories import Ran, Repository, checked_in, pushpoint, trained

WRITE, READ = "ghp_w/r+i%t:e @#?&=é'\"$(id)\\", "glpat-R:e/a+d%20@x"


@dataclass(frozen=True)
class Hosted:
    platform: Platform
    host: GitHost

    def repository(self, folder: Path, name: str, *, notebook: bool = False) -> Repository:
        made = (trained if notebook else checked_in)(folder, name)
        made.settings(repository=self.host.url(f"team/{name}"))
        made.commit("On a git host")
        return made

    def deploy(self, repository: Repository, *flags: str, token: str | None = WRITE, **more: str) -> Ran:
        variables = {"PUSHPOINT_GIT_USER": "ann", **more} | ({"PUSHPOINT_GIT_TOKEN": token} if token else {})
        return repository.deploy(self.platform, *flags, **variables)

    def register(self, name: str, *, token: str = READ, url: str = "", **more: str) -> Ran:
        """Do what DevOps do once: name the repository, and give the platform a token that may read it."""
        return pushpoint(
            *("source", "set", f"ann/{name}", "--repository", url or self.host.url(f"team/{name}"), "--json"),
            directory=self.host.root,
            platform=self.platform,
            PUSHPOINT_GIT_TOKEN=token,
            PUSHPOINT_GIT_USER="reader",
            **more,
        )


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    with GitHost(tmp_path_factory.mktemp("host"), write=WRITE, read=READ) as host:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--git-host", host.address)
        yield Hosted(platform, host)
        stop_platform(platform)


@pytest.fixture(autouse=True)
def healthy(hosted: Hosted) -> Iterator[None]:
    yield
    hosted.host.fault = hosted.host.before_push = None


def test_the_whole_line(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/line", {"README.md": "ours", "model_manifest.json": '{"owner_team": "reviews"}'})
    assert hosted.register("line").code == 0
    repository = hosted.repository(tmp_path / "ml", "line", notebook=True)
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    tip = hosted.host.tip("team/line")
    assert ran.json["deployment"]["release"]["commit"] == tip
    assert hosted.host.git("team/line", "ls-tree", "-r", "--name-only", "main").split() == [
        "model_manifest.json",
        "requirements.txt",
        "src/__init__.py",
        "src/line.py",
    ]
    assert '"owner_team": "reviews"' in hosted.host.read("team/line", "model_manifest.json")
    assert hosted.host.git("team/line", "rev-list", "--count", "main") == "2"
    answer = repository.call(hosted.platform)
    assert answer["commit"] == repository.git("rev-parse", "HEAD")
    assert answer["model"] == ran.model

    assert hosted.deploy(repository).json["up_to_date"] is True
    assert hosted.host.tip("team/line") == tip


def test_an_empty_public_repository_gets_its_first_commit_and_the_platform_is_told_of_it(
    hosted: Hosted, tmp_path: Path
) -> None:
    hosted.host.create("team/fresh", branch="trunk", public=True)
    repository = hosted.repository(tmp_path / "ml", "fresh")
    planned = repository.run(hosted.platform, "plan", PUSHPOINT_GIT_TOKEN=WRITE)
    assert "the platform is told to build from there" in " ".join(planned.out.split()), planned.err
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    assert hosted.host.git("team/fresh", "rev-list", "--count", "trunk") == "1"
    assert repository.call(hosted.platform)["commit"] == repository.git("rev-parse", "HEAD")
    shown = repository.run(hosted.platform, "source", "show", "--json")
    assert shown.json["source"]["url"] == hosted.host.url("team/fresh")
    assert shown.json["status"]["scm_connection_status"] == "active"
