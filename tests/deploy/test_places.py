"""Places that a commit or a notebook names and that lead elsewhere: refused, and nothing there is read or written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pushpoint.cli import EXIT
from pushpoint.config import resolve
from pushpoint.deploy.plan import make_plan
from pushpoint.deploy.train import notebook_caches
from pushpoint.digests import describe
from pushpoint.errors import ConfigError, ModelMissing
from pushpoint.names import AlgorithmName
from tests.conftest import Platform
from tests.githost import GitHost
from tests.repositories import TRAINING, Repository, checked_in, trained


def link_lock(made: Repository, elsewhere: Path) -> None:
    (made.directory / ".pushpoint").mkdir()
    (made.directory / ".pushpoint" / "lock").symlink_to(elsewhere / "precious")


def link_ignore(made: Repository, elsewhere: Path) -> None:
    (made.directory / ".pushpoint").mkdir()
    (made.directory / ".pushpoint" / ".gitignore").symlink_to(elsewhere / "precious")


def link_inference(made: Repository, elsewhere: Path) -> None:
    made.git("rm", "-r", "--quiet", made.name)
    (made.directory / made.name).symlink_to(elsewhere)


def link_data(made: Repository, elsewhere: Path) -> None:
    (made.directory / "everything").symlink_to(elsewhere)
    made.settings(data=["everything"])


LINKS: dict[str, tuple[Callable[[Repository, Path], None], str]] = {
    "the lock": (link_lock, "git rm -r .pushpoint"),
    "the ignore file": (link_ignore, "git rm -r .pushpoint"),
    "the inference folder": (link_inference, "leads through a link"),
    "data": (link_data, "leads through a link"),
}


@pytest.mark.parametrize("what", LINKS)
def test_a_committed_link_leads_nowhere(platform: Platform, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    name = f"linked_{list(LINKS).index(what)}"
    (elsewhere / "src").mkdir(parents=True)
    (elsewhere / "src" / f"{name}.py").write_text("def apply(input): return input\n")
    (elsewhere / "precious").write_text("precious")
    made = checked_in(tmp_path / "ml", name)
    link, said = LINKS[what]
    link(made, elsewhere)
    made.git("add", "--all", "--force")
    made.commit("A link")
    for command in ("plan", "deploy"):
        ran = made.run(platform, command)
        assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
    assert (elsewhere / "precious").read_text() == "precious"
    with platform.client() as client:
        assert not client.exists(AlgorithmName("ann", name))


def test_a_named_pipe_is_no_model_and_nobody_waits_for_it(platform: Platform, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelMissing, match="not a regular file"):
        describe(tmp_path / "pipe")
    made = trained(tmp_path / "ml", "piped")
    made.notebook("import os; os.mkfifo('model.pkl')")
    made.commit("A pipe")
    ran = made.deploy(platform)
    assert ran.code == 3
    assert "is not a regular file" in ran.error


def test_a_proposal_s_settings_get_nobody_s_token(platform: Platform, tmp_path: Path) -> None:
    with GitHost(tmp_path / "host") as host:
        host.create("evil/proposed")
        made = checked_in(tmp_path / "ml", "proposed")
        made.settings(repository=host.url("evil/proposed"))
        made.commit("Elsewhere")
        config = resolve(
            file={"algorithm": "proposed", "repository": host.url("evil/proposed")}, environment={}, flags={}
        )
        with platform.client() as client:
            plan = make_plan(config, made.directory, client=client, environment={}, pushes=False)
        assert plan.repository == host.url("evil/proposed")
        ran = made.run(platform, "preview", PUSHPOINT_GIT_TOKEN="ghp_may-write")
        assert ran.code == 0, ran.err
        assert host.requests == []


def test_a_token_does_not_travel_in_the_open(platform: Platform, tmp_path: Path) -> None:
    made = checked_in(tmp_path / "ml", "open")
    made.settings(repository="http://git.example.com/team/open.git")
    made.commit("No TLS")
    ran = made.run(platform, "plan", PUSHPOINT_GIT_TOKEN="ghp_secret")
    assert ran.code == EXIT[ConfigError]
    assert "has no TLS" in ran.err
    assert "ghp_secret" not in ran.out + ran.err


@pytest.mark.parametrize(
    "proposal",
    [
        {"GITHUB_EVENT_NAME": "pull_request"},
        {"GITHUB_EVENT_NAME": "merge_group"},
        {"CI_PIPELINE_SOURCE": "merge_request_event"},
        {"CHANGE_ID": "7"},
    ],
)
def test_what_a_proposal_installs_is_not_for_a_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposal: dict[str, str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    environments, cache = notebook_caches()
    for name, value in proposal.items():
        monkeypatch.setenv(name, value)
    others, another = notebook_caches()
    assert cache is not None
    assert another is not None
    assert environments.parent == cache.parent != others.parent == another.parent
    assert not others.is_relative_to(environments.parent)


def test_what_a_killed_run_left_is_swept(platform: Platform, tmp_path: Path) -> None:
    made = trained(tmp_path / "ml", "swept")
    made.notebook(TRAINING)
    made.commit("Again")
    left = made.directory / ".pushpoint" / "training-left"
    left.mkdir(parents=True)
    assert made.deploy(platform).code == 0
    assert not left.exists()
