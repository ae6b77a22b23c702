"""The Action as people meet it: whole workflows, run by act against a real platform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pushpoint.names import AlgorithmName
from tests.action import act
from tests.action.act import Ran, action, workflow
from tests.conftest import Platform
from tests.promises.machine import NOBODY, OTHERS, python_of_others
from tests.repositories import TRAINING, Repository, checked_in, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Action, as a runner fetches it."""
    return action(tmp_path_factory.mktemp("action") / "pushpoint")


@pytest.fixture
def run(platform: Platform, ours: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Run the workflow of a repository."""
    count = iter(range(100))

    def once(repository: Repository, **given: Any) -> Ran:
        given.setdefault("platform", platform)
        return act.run(repository.directory, given.pop("platform"), ours, tmp_path / f"results-{next(count)}", **given)

    return once


def request(head: str) -> dict[str, Any]:
    repository = {"full_name": head}
    return {"pull_request": {"head": {"repo": repository}, "base": {"repo": {"full_name": "acme/reviews"}}}}


def repository(folder: Path, name: str, **inputs: str) -> Repository:
    made = trained(folder, name)
    workflow(made, act.WITH | inputs)
    made.commit("Train on the reviews of May")
    return made


def test_a_push_deploys_and_says_all_about_it(platform: Platform, run: Callable[..., Ran], tmp_path: Path) -> None:
    made = repository(tmp_path / "ml", "pushed")
    head = made.git("rev-parse", "HEAD")
    ran = run(made)
    assert (ran.code, ran.outcome) == (0, "success"), ran.log
    answer = made.call(platform)
    assert ran.outputs["status"] == "deployed"
    assert ran.outputs["algorithm"] == "ann/pushed"
    assert ran.outputs["commit"] == answer["commit"] == head
    assert ran.outputs["model-sha256"] == answer["model"]
    assert (ran.outputs["version"], ran.outputs["generation"]) == ("0.1.0", "1")
    assert ran.outputs["endpoint"] == f"{platform.url}/v1/algo/ann/pushed"
    assert ran.outputs["model-uri"].startswith("data://ann/pushed/model_")
    assert len(ran.outputs["model-md5"]) == 32
    assert len(ran.outputs["deploy-id"]) == 64
    assert {"plan", "train", "upload", "push", "wait for build", "roll out", "all"} <= set(
        json.loads(ran.outputs["seconds"])
    )
    notebook = json.loads((ran.results / ran.outputs["notebook"].replace(".pushpoint", "evidence")).read_text())
    assert "".join(notebook["cells"][0]["outputs"][0]["text"]) == "trained\n"
    assert ran.groups()[:3] == ["plan", "train", "cell 1: import pathlib, subprocess"]
    assert ran.summary.startswith("## ✅ Live: ann/pushed 0.1.0")
    for text in (answer["model"], "curl ", "Train on the reviews of May", "<code>train</code>"):
        assert text in ran.summary
    assert platform.key not in ran.log
    with platform.client() as client:
        release = next(client.releases(AlgorithmName("ann", "pushed")))
    assert release.source is not None
    assert (release.source.ref, release.source.message) == ("refs/heads/main", "Train on the reviews of May")
    assert release.provenance["builder"] == "github-actions"
    assert release.provenance["event"] == "push"


def test_the_same_commit_again_changes_nothing_until_a_person_starts_it(
    platform: Platform, run: Callable[..., Ran], tmp_path: Path
) -> None:
    made = repository(tmp_path / "ml", "again")
    first = run(made)
    again = run(made)
    assert (again.code, again.outputs["status"]) == (0, "unchanged"), again.log
    assert again.outputs["deploy-id"] == first.outputs["deploy-id"]
    assert made.versions(platform) == ["0.1.0"]
    # started by hand, without inputs and without a commit's message in the event
    by_hand = run(made, event="workflow_dispatch", payload={"inputs": None, "head_commit": None})
    assert (by_hand.code, by_hand.outputs["status"], by_hand.outputs["version"]) == (0, "deployed", "0.2.0"), (
        by_hand.log
    )
    assert by_hand.outputs["commit"] == first.outputs["commit"]


FAILURES: dict[str, tuple[Callable[[Repository], None], int, str, str, str]] = {
    "cell": (
        lambda made: made.notebook("x = 1", "y = 2\nassert x == y, 'below the gate'"),
        3,
        "CellFailed",
        "model_training.ipynb",
        "below the gate",
    ),
    "install": (
        lambda made: made.write("requirements.txt", "# ours\nno-such-package-of-pushpoint==1.0\n"),
        3,
        "RequirementsFailed",
        "requirements.txt",
        "could not be installed",
    ),
    "build": (
        lambda made: made.write(f"{made.name}/src/{made.name}.py", "import os\n\nimport no_such_module\n"),
        6,
        "BuildFailed",
        "@/src/@.py",
        "no_such_module",
    ),
    "case": (
        lambda made: made.write(
            f"{made.name}/TEST_CASES.json",
            json.dumps([{"case_name": "wrong", "input": 1, "type": "EXACT_MATCH", "expected_output": 2}], indent=1),
        ),
        7,
        "RolloutFailed",
        "@/TEST_CASES.json",
        "smoke test failed",
    ),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_marked_at_its_line_and_changes_nothing(
    platform: Platform, run: Callable[..., Ran], tmp_path: Path, what: str
) -> None:
    made = repository(tmp_path / "ml", f"failing_{what}")
    good = made.deploy(platform)
    assert good.code == 0, good.err
    before = (made.call(platform), made.tip(platform))
    spoil, code, kind, file, words = FAILURES[what]
    spoil(made)
    made.commit("Spoil it")
    ran = run(made)
    assert (ran.code, ran.outcome, ran.outputs["status"]) == (1, "failure", "failed"), ran.log
    text, place = ran.annotations("error")[0]
    assert kind in place["title"]
    assert words in text
    assert place["file"] == file.replace("@", made.name)
    line = (made.directory / place["file"]).read_text().splitlines()[int(place["line"]) - 1]
    assert {"cell": "below the gate", "install": "no-such-package", "build": "no_such_module", "case": "wrong"}[
        what
    ] in line
    assert ran.summary.startswith(f"## ❌ Failed: ann/{made.name}")
    assert words in ran.summary.split("###")[0]
    assert f"exited with code {code}" in ran.log or f"exit status {code}" in ran.log or f"code {code}" in ran.log
    assert made.call(platform) == before[0], "what is live stays live"
    if what in {"cell", "install"}:
        assert made.tip(platform) == before[1], "nothing was pushed"
    if what == "cell":
        executed = json.loads(next(iter(ran.results.glob("evidence/*/model_training.ipynb"))).read_text())
        assert executed["cells"][1]["outputs"][0]["ename"] == "AssertionError"


def test_of_two_runs_the_newest_commit_is_live_whichever_ends_last(
    platform: Platform, run: Callable[..., Ran], tmp_path: Path
) -> None:
    made = repository(tmp_path / "ml", "racing")
    older = made.git("rev-parse", "HEAD")
    made.notebook(TRAINING, "print('newer')")
    newer = made.commit("Newer")
    assert made.deploy(platform).code == 0
    made.git("branch", "newer")
    made.git("reset", "--quiet", "--hard", older)
    ran = run(made)
    assert (ran.code, ran.outputs["status"]) == (0, "superseded"), ran.log
    assert any("later commit" in text for text, _ in ran.annotations("warning"))
    assert made.call(platform)["commit"] == newer


def test_a_dry_run_only_says_what_would_happen(platform: Platform, run: Callable[..., Ran], tmp_path: Path) -> None:
    made = repository(tmp_path / "ml", "dry", **{"dry-run": "true"})
    ran = run(made)
    assert (ran.code, ran.outputs["status"], ran.outputs["version"]) == (0, "planned", ""), ran.log
    assert "execute <code>model_training.ipynb</code>" in ran.summary
    with platform.client() as client:
        assert not client.exists(AlgorithmName("ann", "dry"))
    assert not (made.directory / "model.pkl").exists()


def test_a_pull_request_is_tried_out_and_changes_nothing(
    platform: Platform, run: Callable[..., Ran], tmp_path: Path
) -> None:
    made = repository(tmp_path / "ml", "proposed")
    made.notebook(TRAINING, "import pushpoint; pushpoint.metric('accuracy', 0.75)")
    made.commit("With a metric")
    assert made.deploy(platform).code == 0
    before = (made.call(platform), made.tip(platform), made.versions(platform))
    made.notebook(TRAINING, "import pushpoint; pushpoint.metric('accuracy', 0.8)")
    cases = [{"case_name": "echoes", "input": 7, "type": "EXACT_MATCH", "expected_output": 7, "tree": ["input"]}]
    made.write("proposed/TEST_CASES.json", json.dumps(cases))
    made.commit("Better")
    ran = run(made, event="pull_request", payload=request("acme/reviews"))
    assert (ran.code, ran.outputs["status"], ran.outputs["version"]) == (0, "previewed", ""), ran.log
    assert "| <code>accuracy</code> | 0.8 | 0.75 | +0.05 |" in ran.summary
    assert "| ✅ | <code>echoes</code> |" in ran.summary
    assert (made.call(platform), made.tip(platform), made.versions(platform)) == before
    cases[0]["expected_output"] = 8
    made.write("proposed/TEST_CASES.json", json.dumps(cases, indent=1))
    made.commit("Worse")
    bad = run(made, event="pull_request", payload=request("acme/reviews"), platform=None)
    assert (bad.code, bad.outputs["status"]) == (1, "failed"), bad.log
    assert bad.annotations("error")[0][1]["file"] == "proposed/TEST_CASES.json"
    assert "| ❌ | <code>echoes</code> |" in bad.summary


def test_a_pull_request_from_a_fork_is_only_planned_and_gets_no_key(run: Callable[..., Ran], tmp_path: Path) -> None:
    made = repository(tmp_path / "ml", "forked")
    made.notebook("raise SystemExit('this ran')")
    made.write("forked/src/forked.py", "raise SystemExit('this ran')")
    made.commit("Steal")
    for given in ({"platform": None}, {}):  # GitHub gives a fork no secret; were there one, it would not be used
        ran = run(made, event="pull_request", payload=request("mallory/reviews"), **given)
        assert (ran.code, ran.outputs["status"]) == (0, "planned"), ran.log
        assert "from a fork is only planned" in ran.summary
        assert "this ran" not in ran.log
        assert ran.groups() == ["plan"]


@pytest.mark.parametrize("event", ["pull_request_target", "issue_comment"])
def test_an_event_of_strangers_is_refused(run: Callable[..., Ran], tmp_path: Path, event: str) -> None:
    made = repository(tmp_path / "ml", "strangers")
    ran = run(made, event=event, payload=request("acme/reviews"))
    assert (ran.code, ran.outcome, ran.outputs["status"]) == (1, "failure", "failed"), ran.log
    assert "let the workflow start on push" in ran.annotations("error")[0][0]
    assert ran.groups() == []


def test_environments_are_kept_under_a_key_of_what_they_are_made_of(run: Callable[..., Ran], tmp_path: Path) -> None:
    made = checked_in(tmp_path / "ml", "kept")
    workflow(made, act.WITH | {"cache": "true", "mode": "plan"})
    made.commit("Keep")
    kept = tmp_path / "kept"
    kept.mkdir()
    own = {"KEPT": str(kept), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    first = run(made, environment=own)
    assert first.code == 0, first.log
    (there,) = kept.glob("pushpoint-*.tar")
    shutil.rmtree(tmp_path / "cache")
    second = run(made, environment=own)
    assert second.code == 0, second.log
    assert [path.name for path in kept.iterdir()] == [there.name], "the same key, so nothing was saved again"
    made.write("requirements.txt", "idna==3.10\n")
    made.commit("Another requirement")
    third = run(made, environment=own)
    assert third.code == 0, third.log
    assert len(list(kept.iterdir())) == 2, "other requirements, another key"
    assert (
        subprocess.run(["tar", "-tPf", str(there)], capture_output=True, text=True, check=True).stdout.count(
            "/complete"
        )
        == 1
    )


def test_the_workflow_of_an_unprivileged_user_deploys_too(platform: Platform) -> None:
    python_of_others()
    with tempfile.TemporaryDirectory(prefix="pushpoint-act-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        made = repository(place / "ml", "unprivileged")
        ours = action(place / "action")
        shutil.copytree(act.STANDINS, place / "standins")
        for name in ("bin", "home", "results"):
            (place / name).mkdir()
        shutil.copy(Path(sys.executable).parent / "act", place / "bin" / "act")
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        own = {
            "HOME": str(place / "home"),
            "XDG_CONFIG_HOME": str(place / "home"),
            "XDG_CACHE_HOME": str(OTHERS / "cache"),
            "PATH": os.defpath,
        }
        ran = act.run(
            made.directory,
            platform,
            ours,
            place / "results",
            environment=own,
            prefix=["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"],
            program=place / "bin" / "act",
            standins=place / "standins",
        )
        assert (ran.code, ran.outputs["status"], ran.outputs["version"]) == (0, "deployed", "0.1.0"), ran.log
        assert not ran.annotations("warning"), "the notebook ran confined"
        assert made.call(platform)["commit"] == ran.outputs["commit"]
