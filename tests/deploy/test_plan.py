"""The plan: what a deploy would do, and what the model is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pushpoint.config import read_file, resolve
from pushpoint.deploy.plan import Plan, make_plan, top_of
from pushpoint.errors import ConfigError
from tests.conftest import Platform
from tests.repositories import TRAINING, Repository, trained


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = trained(tmp_path / "ml", "planned")
    made.write("requirements.txt", "-r more/base.txt\n")
    made.write("more/base.txt", "--constraint limits.txt\n")
    made.write("more/limits.txt", "# none\n")
    made.write("data/a.csv", "1,2")
    made.write("untracked/b.csv", "3,4")
    made.write(".gitignore", "model.pkl\nuntracked\n.pushpoint\n")
    made.settings(data=["data", "untracked"])
    made.commit()
    return made


def plan(
    repository: Repository, platform: Platform, environment: Mapping[str, str] | None = None, **flags: Any
) -> Plan:
    given = {name.replace("_", "-"): value for name, value in flags.items()}
    config = resolve(file=read_file(repository.directory / "pushpoint.toml"), environment={}, flags=given)
    with platform.client() as client:
        return make_plan(config, top_of(repository.directory), client=client, environment=environment or {})


CHANGES: dict[str, tuple[bool, Callable[[Repository], object]]] = {
    "notebook": (True, lambda r: r.notebook(TRAINING, "1")),
    "inference": (True, lambda r: r.write("planned/src/planned.py", "def apply(input): ...\n")),
    "a new inference file": (True, lambda r: r.write("planned/deep/er/file", "")),
    "requirements": (True, lambda r: r.write("requirements.txt", "-r more/base.txt\n# more\n")),
    "requirements of requirements": (True, lambda r: r.write("more/base.txt", "--constraint limits.txt\n# more\n")),
    "constraints": (True, lambda r: r.write("more/limits.txt", "numpy<9\n")),
    "declared data": (True, lambda r: r.write("data/a.csv", "1,3")),
    "more declared data": (True, lambda r: r.write("data/b/c.csv", "")),
    "untracked data": (True, lambda r: r.write("untracked/b.csv", "3,5")),
    "more untracked data": (True, lambda r: r.write("untracked/c.csv", "")),
    "sample input": (True, lambda r: r.settings(data=["data", "untracked"], sample_input=1)),
    "less data": (True, lambda r: r.settings(data=["data"])),
    "another model path": (True, lambda r: r.settings(data=["data", "untracked"], model_path="other.pkl")),
    "nothing": (False, lambda r: None),
    "the model": (False, lambda r: r.write("model.pkl", "written by hand")),
    "readme": (False, lambda r: r.write("README.md", "read me")),
    "other code": (False, lambda r: r.write("plannedx/src/planned.py", "")),
    "what a deploy leaves": (False, lambda r: r.write(".pushpoint/x", "")),
    "timeouts": (False, lambda r: r.settings(data=["data", "untracked"], cell_timeout=9, notebook_timeout=9)),
    "publish": (False, lambda r: r.settings(data=["data", "untracked"], publish="major")),
    "settings in another order": (
        False,
        lambda r: r.write("pushpoint.toml", 'data = ["data", "untracked"]\nalgorithm="planned"'),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_inputs_are_these_and_no_others(platform: Platform, repository: Repository, name: str) -> None:
    counts, change = CHANGES[name]
    before = plan(repository, platform)
    change(repository)
    repository.commit()
    after = plan(repository, platform)
    assert before.inputs.startswith("sha256:")
    assert (after.inputs != before.inputs) == counts
    assert after.source.commit != before.source.commit
    assert after.id != before.id, "another commit is another plan"


def test_the_defaults(platform: Platform, repository: Repository) -> None:
    made = plan(repository, platform)
    assert (made.notebook, made.model_path, made.requirements) == (
        "model_training.ipynb",
        "model.pkl",
        "requirements.txt",
    )
    assert (made.algorithm, made.inference, made.collection) == ("ann/planned", "planned", "data://ann/planned")
    assert (made.publish, made.sample_input, made.cell_timeout, made.notebook_timeout) == ("minor", None, 0, 21600)
    assert made.source.repository == "ml"
    assert made.source.ref == "refs/heads/main"
    assert made.source.commit == repository.git("rev-parse", "HEAD")
    assert made.source.message == "Change"
    assert made.source.committed.utcoffset() is not None


def test_facts_come_from_ci_where_it_tells_them(platform: Platform, repository: Repository) -> None:
    github = {"GITHUB_REPOSITORY": "team/ml", "GITHUB_REF": "refs/tags/v1"}
    source = plan(repository, platform, github).source
    assert (source.repository, source.ref) == ("team/ml", "refs/tags/v1")
    source = plan(repository, platform, {"CI_PROJECT_PATH": "group/ml", "CI_COMMIT_BRANCH": "dev"}).source
    assert (source.repository, source.ref) == ("group/ml", "refs/heads/dev")
    repository.git("checkout", "--quiet", "--detach")
    source = plan(repository, platform).source
    assert source.ref == source.commit


JENKINS = {"JENKINS_URL": "https://jenkins.example/"}


@pytest.mark.parametrize(
    ("variables", "ref"),
    [
        ({"CI_COMMIT_TAG": "v1"}, "refs/tags/v1"),
        ({"CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/7/head"}, "refs/merge-requests/7/head"),
        (JENKINS | {"BRANCH_NAME": "main", "GIT_BRANCH": "main"}, "refs/heads/main"),
        (JENKINS | {"BRANCH_NAME": "feature/x"}, "refs/heads/feature/x"),
        (JENKINS | {"GIT_BRANCH": "origin/feature/x"}, "refs/heads/feature/x"),
        (JENKINS | {"BRANCH_NAME": "PR-7", "CHANGE_ID": "7", "CHANGE_BRANCH": "better"}, "refs/heads/better"),
        (JENKINS | {"BRANCH_NAME": "v1", "TAG_NAME": "v1"}, "refs/tags/v1"),
        (JENKINS | {"GIT_BRANCH": "detached"}, ""),
        (JENKINS, ""),
        ({"BRANCH_NAME": "main", "TAG_NAME": "v1"}, ""),
    ],
)
def test_the_ref_of_a_detached_checkout_is_what_ci_says(
    platform: Platform, repository: Repository, variables: dict[str, str], ref: str
) -> None:
    repository.git("checkout", "--quiet", "--detach")
    source = plan(repository, platform, variables).source
    assert source.ref == (ref or source.commit)


@pytest.mark.parametrize(
    ("url", "name"),
    {
        "https://user:token@git.example/team/ml.git": "team/ml",
        "ssh://git@git.example:2222/team/ml": "team/ml",
        "git@git.example:team/ml.git": "ml",
        "/srv/git/ml.git": "ml",
    }.items(),
)
def test_the_repository_is_named_without_a_credential(
    platform: Platform, repository: Repository, url: str, name: str
) -> None:
    repository.git("remote", "add", "origin", url)
    made = plan(repository, platform)
    assert made.source.repository == name
    assert "token" not in repr(made)


def test_a_subfolder_is_as_good_as_the_top(repository: Repository, tmp_path: Path) -> None:
    assert top_of(repository.directory / "data") == repository.directory
    with pytest.raises(ConfigError, match="git init"):
        top_of(tmp_path)


def test_an_owner_may_be_named(platform: Platform, repository: Repository) -> None:
    for name in ("ann/planned", "algo://ann/planned", "planned"):
        assert plan(repository, platform, algorithm=name).algorithm == "ann/planned"


def test_a_monorepo(platform: Platform, repository: Repository) -> None:
    repository.notebook(TRAINING, path="team/one/train.ipynb")
    repository.write("team/one/code/src/one.py", "def apply(input): ...\n")
    repository.commit()
    flags: dict[str, Any] = {"algorithm": "one", "notebook": "team/one/train.ipynb", "inference": "team/one/code"}
    made = plan(repository, platform, **flags)
    assert made.inference == "team/one/code"
    assert made.code_tree == repository.git("rev-parse", "HEAD:team/one/code")
    repository.write("planned/other", "")
    repository.commit()
    assert plan(repository, platform, **flags).inputs == made.inputs
