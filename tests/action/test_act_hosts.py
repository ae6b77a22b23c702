"""The Action among other servers: a git host, an issuer of identities, GitHub's API; and what `new` lays down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pushpoint.cli import app
from pushpoint.cli.new import action_reference
from pushpoint.names import AlgorithmName
from tests.action import act
from tests.action.act import action, workflow
from tests.conftest import Platform, start_platform, stop_platform
from tests.githost import GitHost
from tests.github.standin import GitHub, github
from tests.issuer import Issuer, issuing
from tests.repositories import trained
from tests.test_examples import FOLDERS, copy_of

pytestmark = pytest.mark.slow
TOKEN = "ghp_may+push/here%"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return action(tmp_path_factory.mktemp("action") / "pushpoint")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    with GitHost(tmp_path_factory.mktemp("host"), write=TOKEN) as found:
        yield found


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


@pytest.fixture(scope="module")
def platform(host: GitHost, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    options = ("--git-host", host.address, "--private-issuer", issuer.url)
    running = start_platform(tmp_path_factory.mktemp("home"), *options)
    yield running
    stop_platform(running)


def test_an_old_workflow_for_a_github_hosted_algorithm_deploys_although_a_colleague_pushes_meanwhile(
    platform: Platform, host: GitHost, ours: Path, tmp_path: Path
) -> None:
    host.create("team/reviews", {"README.md": "ours"}, public=True)
    made = trained(tmp_path / "ml", "reviews")
    old = {
        "algorithmia_api": "${{ vars.PUSHPOINT_URL }}",
        "algorithmia_api_key": "${{ secrets.PUSHPOINT_API_KEY }}",
        "algorithmia_username": "ann",
        "algorithmia_algoname": "reviews",
        "github_username": "team",
        "github_pat": "${{ secrets.PAT }}",
        "git_host": f"http://{host.address}",
        "model_path": "model.pkl",
        "notebook_path": "model_training.ipynb",
    }
    workflow(made, old)
    made.commit("An old workflow")
    pushed = []
    host.before_push = lambda: pushed.append(host.commit("team/reviews", {"notes.md": "by a colleague"}))
    before = len(host.requests)
    ran = act.run(made.directory, platform, ours, tmp_path / "results", secrets={"PAT": TOKEN})
    host.before_push = None
    assert (ran.code, ran.outputs["status"], ran.outputs["version"]) == (0, "deployed", "0.1.0"), ran.log
    tip = host.tip("team/reviews")
    assert host.git("team/reviews", "rev-parse", "main~1") == pushed[0]
    assert (
        json.loads(host.read("team/reviews", "model_manifest.json"))["model_sha256_hash"] == ran.outputs["model-sha256"]
    )
    assert made.call(platform)["commit"] == ran.outputs["commit"]
    with platform.client() as client:
        live = client.live(AlgorithmName("ann", "reviews"))
    assert live is not None
    assert live.release.commit == tip, "the platform built what is on the git host"
    assert TOKEN not in ran.log
    assert not [request for request in host.requests[before:] if "ghp_" in request.target]


def test_a_job_without_a_key_deploys_by_its_identity(
    platform: Platform, issuer: Issuer, ours: Path, tmp_path: Path
) -> None:
    made = trained(tmp_path / "ml", "vouched")
    workflow(made, {"url": "${{ vars.PUSHPOINT_URL }}", "algorithm": "ann/vouched"})
    made.commit("No key")
    trust = ("trust", "add", "vouched", "--repository", "acme/reviews", "--issuer", issuer.url)
    assert made.run(platform, *trust).code == 0
    keyless = Platform(platform.url, "", platform.home, platform.process)
    ran = act.run(made.directory, keyless, ours, tmp_path / "results", steps=issuer.job())
    assert (ran.code, ran.outputs["status"], ran.outputs["version"]) == (0, "deployed", "0.1.0"), ran.log
    assert made.call(platform)["commit"] == ran.outputs["commit"]
    history = made.run(platform, "releases", "--history", COLUMNS="300")
    assert "acme/reviews run" in history.out
    executed = json.loads(next((ran.results / "evidence").glob("*/model_training.ipynb")).read_text())
    assert issuer.job()["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] not in json.dumps(executed) + ran.summary


@pytest.fixture
def api() -> Iterator[GitHub]:
    with github(repository="acme/reviews", commits=set(), writers={"ghs_may-deploy"}) as found:
        yield found


def test_with_a_token_github_shows_the_deployment_and_how_it_ended(
    platform: Platform, api: GitHub, ours: Path, tmp_path: Path
) -> None:
    made = trained(tmp_path / "ml", "shown")
    workflow(made, act.WITH | {"github-token": "${{ secrets.SHOW }}", "environment": "endpoint"})
    made.commit("Show it")
    steps = {"GITHUB_API_URL": api.url, "GITHUB_REPOSITORY": api.repository}
    secrets = {"SHOW": "ghs_may-deploy"}
    api.commits.add(made.git("rev-parse", "HEAD"))
    ran = act.run(made.directory, platform, ours, tmp_path / "first", steps=steps, secrets=secrets)
    assert (ran.code, ran.outputs["status"]) == (0, "deployed"), ran.log
    assert not ran.annotations("warning"), ran.log
    (number,) = api.deployments
    assert api.states(number) == ["in_progress", "success"]
    made.notebook("raise ValueError('no')")
    api.commits.add(made.commit("Fail"))
    failed = act.run(made.directory, platform, ours, tmp_path / "second", steps=steps, secrets=secrets)
    assert failed.code == 1
    assert api.states(max(api.deployments)) == ["in_progress", "failure"]
    assert "ghs_may-deploy" not in ran.log + failed.log


def commit_all(folder: Path) -> None:
    who = {f"GIT_{role}_{what}": "ann@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for arguments in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "-qm", "First"]):
        subprocess.run(["git", *arguments], cwd=folder, env=os.environ | who, check=True)


def test_what_new_lays_down_deploys_on_a_push_and_previews_a_pull_request(
    platform: Platform, host: GitHost, ours: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "wine"
    done = CliRunner().invoke(app, ["new", "wine", "--github", "-C", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    settings = (folder / "pushpoint.toml").read_text()
    (folder / "pushpoint.toml").write_text(settings.replace("https://github.com/OWNER/wine.git", host.url("team/wine")))
    host.create("team/wine", public=True)
    commit_all(folder)
    secrets, uses = {"REPOSITORY_TOKEN": TOKEN}, action_reference()
    request = {"pull_request": {side: {"repo": {"full_name": "acme/wine"}} for side in ("head", "base")}}
    tried = act.run(folder, platform, ours, tmp_path / "preview", event="pull_request", payload=request, uses=uses)
    assert tried.code == 0, tried.log
    assert tried.summary.startswith("## ✅ Preview: wine")
    assert "<code>accuracy</code>" in tried.summary
    assert not host.git("team/wine", "branch", "--list")
    ran = act.run(folder, platform, ours, tmp_path / "push", secrets=secrets, uses=uses)
    assert ran.code == 0, ran.log
    assert ran.summary.startswith("## ✅ Live: ann/wine 0.1.0")
    assert host.git("team/wine", "rev-list", "--count", "main") == "1"
    left = {path.name for path in (ran.results / "artifacts" / "evidence").rglob("*") if path.is_file()}
    assert {"model_training.ipynb", "model_training.html"} <= left


@pytest.mark.parametrize("name", ["sentiment", "sentiment-github"])
def test_the_sentiment_examples_deploy_by_their_workflows(
    platform: Platform, host: GitHost, ours: Path, tmp_path: Path, name: str
) -> None:
    folder = copy_of(FOLDERS[name], tmp_path / "repository")
    own = name.replace("-", "_")
    settings = (folder / "pushpoint.toml").read_text()
    settings = settings.replace("https://github.com/OWNER/sentiment.git", host.url("team/sentiment"))
    (folder / "pushpoint.toml").write_text(settings.replace('"sentiment"', f'"{own}"', 1))
    shutil.move(folder / "sentiment", folder / own)
    shutil.move(folder / own / "src" / "sentiment.py", folder / own / "src" / f"{own}.py")
    notebook = (folder / "model_training.ipynb").read_text()
    (folder / "model_training.ipynb").write_text(notebook.replace("sentiment/src/sentiment.py", f"{own}/src/{own}.py"))
    if "github" in name:
        host.create("team/sentiment", public=True)
    commit_all(folder)
    secrets = {"REPOSITORY_TOKEN": TOKEN} if "github" in name else {}
    ran = act.run(folder, platform, ours, tmp_path / "results", secrets=secrets, uses=f"OWNER/pushpoint@{'0' * 40}")
    assert ran.code == 0, ran.log
    assert ran.summary.startswith(f"## ✅ Live: ann/{own} 0.1.0")
    assert "### Metrics" in ran.summary
    with platform.client() as client:
        live = client.live(AlgorithmName("ann", own))
    assert live is not None
    if "github" in name:
        assert live.release.commit == host.tip("team/sentiment")
