"""A deploy or a platform that is killed, at any step, is started again and ends where it would have ended."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.repositories import INFERENCE, Repository, checked_in, command, trained

STEPS = ["train", "describe", "upload", "push", "wait for build", "publish", "roll out"]


@contextmanager
def deploying(repository: Repository, platform: Platform, until: str) -> Iterator[subprocess.Popen[str]]:
    """Start a deploy, and come back when it has said `until`."""
    process = subprocess.Popen(
        command("deploy", "--json"),
        cwd=repository.directory,
        env=platform.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        said = ""
        for line in process.stderr:
            said += line
            if line.strip() == until or (until.endswith(" ") and until in line):
                break
        else:
            raise AssertionError(said)
        yield process


def killed(repository: Repository, platform: Platform, until: str) -> None:
    with deploying(repository, platform, until) as process:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", STEPS)
def test_a_deploy_that_is_killed_goes_on(platform: Platform, tmp_path: Path, step: str) -> None:
    repository = checked_in(tmp_path / "ml", f"at_{step.replace(' ', '_')}")
    killed(repository, platform, step)
    again = repository.deploy(platform)

    assert again.version == "0.1.0"
    assert repository.versions(platform) == ["0.1.0"]
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")
    assert not again.json["up_to_date"] or step == "roll out"
    if step not in STEPS[:2]:
        assert again.json["up_to_date"] or "train: done by the run before" in again.err
    commits = repository.git("--git-dir", str(repository.pushed(platform)), "rev-list", "--count", "master")
    assert commits == "2", "the template and one deploy"
    assert list((repository.directory / ".pushpoint" / "journal").iterdir()) == []


def test_a_training_that_is_killed_is_done_again(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "halfway")
    repository.notebook("open('model.pkl', 'w').write('half'); print('half')", "import time; time.sleep(2)")
    repository.write("notes", "")
    repository.commit()
    killed(repository, platform, "half")
    assert (repository.directory / "model.pkl").read_text() == "half"
    again = repository.deploy(platform)
    assert again.version == "0.1.0"
    assert "done by the run before" not in again.err


def test_a_model_that_was_written_again_is_not_the_one_that_was_trained(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "swapped")
    killed(repository, platform, "upload")
    repository.write("model.pkl", "put there by hand")
    again = repository.deploy(platform)
    assert again.version == "0.1.0"
    commit = repository.git("rev-parse", "HEAD")
    assert (repository.directory / "model.pkl").read_text() == f"trained at {commit}"
    assert repository.call(platform)["commit"] == commit


def test_a_journal_whose_release_is_over_does_not_lie(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "lying")
    assert repository.deploy(platform).version == "0.1.0"
    repository.write("model.pkl", "second")
    repository.commit()
    with deploying(repository, platform, "live") as process:
        process.kill()  # it is live, and the journal still tells of it
        process.communicate()
    assert repository.run(platform, "rollback").code == 0

    for _ in range(2):
        again = repository.deploy(platform)
        if again.code == 0:
            break
        assert again.code == 9
        assert "deploy again" in again.error
    assert again.json["deployment"]["state"] == "live"
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[list[Platform]]:
    """A home whose platform is killed and started again; the newest is the last."""
    platforms = [start_platform(tmp_path / "home")]
    yield platforms
    stop_platform(platforms[-1])


def kill_and_restart(platforms: list[Platform]) -> Platform:
    before = platforms[-1]
    before.process.kill()
    before.process.wait()
    stop_platform(before)
    platforms.append(start_platform(before.home, port=int(before.url.rpartition(":")[2])))
    return platforms[-1]


SLOW = "import time\ntime.sleep(1.5)\n" + INFERENCE


@pytest.mark.parametrize(("until", "codes"), [("container customization: ", {6, 11}), ("starting", {7, 11})])
def test_a_platform_that_is_killed_comes_back(
    home: list[Platform], tmp_path: Path, until: str, codes: set[int]
) -> None:
    repository = checked_in(tmp_path / "ml", "phoenix", "first")
    assert repository.deploy(home[0]).version == "0.1.0"
    first = repository.call(home[0])
    repository.inference(SLOW)
    repository.commit()
    with deploying(repository, home[0], until) as process:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        reader.start()
        platform = kill_and_restart(home)
        assert process.stdout
        process.stdout.read()
        reader.join()
    assert process.returncode in codes, said
    assert "again" in said[-1] or "start the platform" in said[-1], "that it took too long to come back is possible"
    assert repository.call(platform) == first, "what was live answers"

    again = repository.deploy(platform)
    assert again.version == "0.2.0"
    assert "push: done by the run before" in again.err
    assert repository.versions(platform) == ["0.2.0", "0.1.0"]
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")


def test_a_platform_that_is_killed_while_it_serves_serves_again(home: list[Platform], tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "served")
    assert repository.deploy(home[0]).version == "0.1.0"
    platform = kill_and_restart(home)
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")
    assert repository.deploy(platform).json["up_to_date"] is True


def test_a_platform_that_was_killed_before_a_build_had_its_folder_starts(home: list[Platform], tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "bare")
    assert repository.deploy(home[0]).version == "0.1.0"
    home[0].process.kill()
    home[0].process.wait()
    with sqlite3.connect(home[0].home / "platform.db") as database:
        columns = "(id, algorithm_id, 'commit', state, started)"
        values = "select 'cut', id, ?, 'in-progress', created from algorithms"
        database.execute(f"insert into builds {columns} {values}", ("c" * 40,))
    database.close()
    platform = kill_and_restart(home)
    assert repository.call(platform)["input"] == "x"
    ran = repository.run(platform, "logs", "ann/bare", "--build", "cut")
    assert "stopped meanwhile" in ran.out
