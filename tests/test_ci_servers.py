"""The scripts of the pages about GitLab and Jenkins, taken from there and run as those servers would.

A real shell, a real pip with a real wheel, a fresh clone at a detached commit, a real platform. What is not real is the
server: the order, the conditions and the variables are ours, after what the servers document.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pushpoint.names import algorithm_name
from pushpoint.wire import ReleaseView
from tests.conftest import Platform
from tests.repositories import Repository, trained
from tests.test_house import COMMANDS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "how-to"
JOB_TOKEN = "glcbt-" + "n0tours" * 3
previews = pytest.mark.skipif("preview" not in COMMANDS, reason="there is no `pushpoint preview` yet")


def block(page: str, language: str, number: int = 0) -> str:
    found = re.findall(
        rf"^```{language}\n(.*?)^```", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(found[number])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `PACKAGE` names."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh Python, as in an image."""
    folder = tmp_path_factory.mktemp("image") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


@pytest.fixture
def origin(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    made = trained(tmp_path / "origin", re.sub(r"\W+", "_", request.node.name)[-24:].strip("_"))
    made.commit("Second")
    made.commit("Third")
    return made


def clone(origin: Repository, to: Path, remote: str) -> str:
    """Check out as a CI server does: shallow, detached. Returns the commit."""
    source = f"file://{origin.directory}"
    subprocess.run(["git", "clone", "--quiet", "--depth", "2", source, str(to)], check=True)
    for command in (["checkout", "--quiet", "--detach"], ["remote", "set-url", "origin", remote]):
        subprocess.run(["git", *command], cwd=to, check=True)
    return origin.git("rev-parse", "HEAD")


def image_variables(platform: Platform, image: Path, wheel: Path) -> dict[str, str]:
    """The variables of a machine with that Python. No index is asked: what the wheel needs lies in our environment."""
    return platform.environment() | {
        "PATH": f"{image}{os.pathsep}{os.defpath}",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PACKAGE": str(wheel),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(script: str, directory: Path, variables: Mapping[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", *flags, "-c", script],
        cwd=directory,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def released(origin: Repository, platform: Platform) -> ReleaseView:
    with platform.client() as client:
        (release,) = client.releases(algorithm_name(f"ann/{origin.name}"))
    return release


# -- GitLab -------------------------------------------------------------------------------------------------


def gitlab(job: str, origin: Repository, directory: Path, variables: Mapping[str, str]) -> tuple[Any, Any]:
    """Run a job of the page. Returns it, and how it ended."""
    whole = yaml.safe_load(block("deploy-from-gitlab.md", "yaml"))
    commit = clone(origin, directory, f"https://gitlab-ci-token:{JOB_TOKEN}@gitlab.example/acme/reviews.git")
    predefined = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER_URL": "https://gitlab.example",
        "CI_PROJECT_PATH": "acme/reviews",
        "CI_PROJECT_DIR": str(directory),
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHA": commit,
        "CI_CONFIG_PATH": ".gitlab-ci.yml",
        "CI_PIPELINE_ID": "1001",
        "CI_JOB_ID": "2002",
        "CI_JOB_TOKEN": JOB_TOKEN,
    }
    script = "\n".join([*whole["default"]["before_script"], *whole[job]["script"]])
    return whole[job], run(script, directory, {**variables, **predefined}, "-e")


def kept(job: Any, directory: Path) -> list[str]:
    """The artifacts of a job, by the pattern that each must have matched."""
    for pattern in job["artifacts"]["paths"]:
        assert list(directory.glob(pattern)), f"nothing is called {pattern}"
    return [str(file) for pattern in job["artifacts"]["paths"] for file in directory.glob(pattern)]


def test_gitlabs_deploy_job_deploys_and_the_release_says_which_pipeline_made_it(
    origin: Repository, platform: Platform, image: Path, wheel: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "builds" / "acme" / "reviews"
    branch = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main"}
    job, done = gitlab("deploy", origin, directory, image_variables(platform, image, wheel) | branch)
    assert done.returncode == 0, done.stdout + done.stderr
    release = released(origin, platform)
    assert release.source
    assert (release.source.repository, release.source.ref) == ("acme/reviews", "refs/heads/main")
    assert release.source.commit == origin.git("rev-parse", "HEAD")
    assert release.provenance["builder"] == "gitlab-ci"
    assert release.provenance["event"] == "push"
    assert release.provenance["run_id"] == "1001"
    assert release.provenance["run_attempt"] == "2002"
    assert origin.call(platform)["commit"] == release.source.commit
    artifacts = kept(job, directory)
    assert any(name.endswith(".ipynb") for name in artifacts)
    dotenv = dict(
        line.split("=", 1) for line in (directory / job["artifacts"]["reports"]["dotenv"]).read_text().split()
    )
    assert job["environment"]["url"] == "$ENDPOINT"
    assert dotenv == {"ENDPOINT": f"{platform.url}/v1/algo/ann/{origin.name}"}
    said = done.stdout + done.stderr + "".join(Path(name).read_text() for name in artifacts)
    assert platform.key not in said
    assert JOB_TOKEN not in said
    assert JOB_TOKEN not in repr(release)
    ours = run(
        'python -c "import pushpoint; print(pushpoint.__file__)"', directory, image_variables(platform, image, wheel)
    )
    assert ours.stdout.startswith(str(image.parent)), "not the wheel that the job installed"


def test_gitlabs_deploy_job_fails_where_the_deploy_fails_and_keeps_the_notebook(
    origin: Repository, platform: Platform, image: Path, wheel: Path, tmp_path: Path
) -> None:
    origin.notebook("print('begun')", "1 / 0")
    origin.commit("A cell that fails")
    branch = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
    directory = tmp_path / "failed"
    job, done = gitlab("deploy", origin, directory, image_variables(platform, image, wheel) | branch)
    assert done.returncode == 3, done.stdout + done.stderr
    assert json.loads((directory / "deploy.json").read_text())["error"]["type"] == "CellFailed"
    assert any("ZeroDivisionError" in Path(name).read_text() for name in kept(job, directory))
    assert not (directory / "deploy.env").exists()


@previews
def test_gitlabs_preview_job_needs_no_key_and_leaves_the_platform_alone(
    origin: Repository, platform: Platform, image: Path, wheel: Path, tmp_path: Path
) -> None:
    variables = image_variables(platform, image, wheel)
    del variables["PUSHPOINT_API_KEY"]  # protected: a merge request does not get it
    request = {
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/7/head",
    }
    job, done = gitlab("preview", origin, tmp_path / "preview", variables | request)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in json.loads((tmp_path / "preview" / "preview.json").read_text())
    assert any(name.endswith(".ipynb") for name in kept(job, tmp_path / "preview"))
    with platform.client() as client:
        assert not client.exists(algorithm_name(f"ann/{origin.name}"))


def test_the_keyless_job_of_the_page_differs_in_its_identity_alone() -> None:
    whole, keyless = (yaml.safe_load(block("deploy-from-gitlab.md", "yaml", number)) for number in (0, 1))
    assert keyless["deploy"]["script"] == whole["deploy"]["script"][:1]
    assert set(keyless["deploy"]) - {"id_tokens"} <= set(whole["deploy"])


# -- Jenkins ------------------------------------------------------------------------------------------------


def steps() -> dict[str, list[str]]:
    """The `sh` steps of the page by stage, as the shell gets them."""
    text = block("deploy-from-jenkins.md", "groovy")
    assert text.count("{") == text.count("}")
    _, *parts = re.split(r"stage\('(\w+)'\)", text)
    found = {
        stage: re.findall(r"^ +sh '([^'\\]+)'$", part, re.MULTILINE)
        for stage, part in zip(parts[::2], parts[1::2], strict=True)
    }
    assert sum(map(len, found.values())) == len(re.findall(r"\bsh\b", text)), "a step was overlooked"
    return found


def jenkins(stages: list[str], directory: Path, variables: Mapping[str, str]) -> Any:
    """Run the steps of some stages, one shell each, until one fails. Returns the last one."""
    found = steps()
    done: Any = None
    for script in (script for stage in stages for script in found[stage]):
        done = run(script, directory, variables, "-xe")
        if done.returncode:
            break
    return done


def test_the_jenkinsfile_deploys_and_the_release_says_which_build_made_it(
    origin: Repository, platform: Platform, image: Path, wheel: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "workspace" / "reviews"
    commit = clone(origin, directory, "https://git.example/acme/reviews.git")
    server = {
        "JENKINS_URL": "https://jenkins.example/",
        "WORKSPACE": str(directory),
        "GIT_COMMIT": commit,
        "BRANCH_NAME": "main",
        "JOB_NAME": "reviews/main",
        "BUILD_TAG": "jenkins-reviews-main-7",
    }
    done = jenkins(["Install", "Deploy"], directory, image_variables(platform, image, wheel) | server)
    assert done.returncode == 0, done.stdout + done.stderr
    release = released(origin, platform)
    assert release.source
    assert (release.source.repository, release.source.ref) == ("acme/reviews", "refs/heads/main")
    assert release.source.commit == commit
    assert release.provenance["builder"] == "jenkins"
    assert release.provenance["workflow_ref"] == server["JOB_NAME"]
    assert release.provenance["run_id"] == server["BUILD_TAG"]
    assert json.loads((directory / "deploy.json").read_text())["endpoint"].endswith(f"/ann/{origin.name}")
    assert list(directory.glob(".pushpoint/**/*.ipynb"))
    assert platform.key not in done.stdout + done.stderr


@previews
def test_the_jenkinsfiles_preview_needs_no_key_and_leaves_the_platform_alone(
    origin: Repository, platform: Platform, image: Path, wheel: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "change"
    commit = clone(origin, directory, "https://git.example/acme/reviews.git")
    variables = image_variables(platform, image, wheel) | {
        "JENKINS_URL": "https://jenkins.example/",
        "GIT_COMMIT": commit,
    }
    del variables["PUSHPOINT_API_KEY"]
    change = {"BRANCH_NAME": "PR-7", "CHANGE_ID": "7", "CHANGE_BRANCH": "better"}
    done = jenkins(["Install", "Preview"], directory, variables | change)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in json.loads((directory / "preview.json").read_text())
    with platform.client() as client:
        assert not client.exists(algorithm_name(f"ann/{origin.name}"))
