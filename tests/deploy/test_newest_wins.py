"""Whatever the order of deploys, what was committed last is what answers."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.conftest import Platform
from tests.repositories import Ran, Repository, checked_in


def clone(repository: Repository, directory: Path) -> Repository:
    repository.git("clone", "--quiet", str(repository.directory), str(directory))
    return Repository(directory, repository.name)


def at_once(platform: Platform, *repositories: Repository) -> list[Ran]:
    found: dict[int, Ran] = {}

    def deploy(number: int) -> None:
        found[number] = repositories[number].deploy(platform)

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(len(repositories))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(repositories))]


def change(repository: Repository, text: str, time: int | None = None) -> str:
    repository.write("model.pkl", text)
    return repository.commit(text, time=time)


def test_an_older_commit_does_not_replace_a_newer_one(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "older")
    first = repository.git("rev-parse", "HEAD")
    second = change(repository, "second")
    assert repository.deploy(platform).version == "0.1.0"
    tip = repository.tip(platform)

    repository.git("checkout", "--quiet", first)
    late = repository.deploy(platform)
    assert late.code == 9
    assert "0.1.0" in late.error
    assert "--force" in late.error
    assert repository.run(platform, "plan").code == 9
    assert repository.tip(platform) == tip
    assert repository.call(platform)["commit"] == second

    assert repository.deploy(platform, "--force").version == "0.2.0"
    assert repository.call(platform)["commit"] == first


def test_an_older_commit_that_does_not_know_the_newer_one_is_refused_all_the_same(
    platform: Platform, tmp_path: Path
) -> None:
    repository = checked_in(tmp_path / "ml", "unaware")
    repository.git("remote", "add", "origin", str(repository.directory))
    unaware = clone(repository, tmp_path / "clone")
    repository.write("model.pkl", "second")
    repository.commit("Second", time=4_000_000_000)
    assert repository.deploy(platform).version == "0.1.0"

    late = unaware.deploy(platform)
    assert late.code == 9
    assert late.error.endswith("--force to deploy this one all the same")
    assert repository.versions(platform) == ["0.1.0"]
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")


def test_two_commits_deployed_at_once_end_with_the_newest(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "racing")
    assert repository.deploy(platform).version == "0.1.0"
    for round_ in range(2):
        older = clone(repository, tmp_path / f"older{round_}")
        change(older, f"older {round_}", time=4_000_000_000 + 2 * round_)
        newer = clone(older, tmp_path / f"newer{round_}")
        older.git("remote", "set-url", "origin", str(repository.directory))
        newer.git("remote", "set-url", "origin", str(repository.directory))
        newest = change(newer, f"newer {round_}", time=4_000_000_001 + 2 * round_)
        first, second = at_once(platform, older, newer)
        assert second.code == 0, second.err
        assert first.code in {0, 9}, first.err
        assert repository.call(platform)["commit"] == newest
        repository.git("fetch", "--quiet", str(newer.directory), "HEAD")
        repository.git("reset", "--quiet", "--hard", "FETCH_HEAD")


def test_two_branches_pushed_at_once_are_both_pushed(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "branches")
    branches = [clone(repository, tmp_path / name) for name in ("left", "right")]
    commits = {change(branch, branch.directory.name) for branch in branches}
    for branch in branches:  # neither is known to come after the other, and they are of different repositories
        branch.git("remote", "set-url", "origin", f"https://git.example/{branch.directory.name}.git")
    found = at_once(platform, *branches)
    assert all(ran.code in {0, 9} for ran in found), [ran.err for ran in found]
    assert any(ran.code == 0 for ran in found)
    bare = str(repository.pushed(platform))
    history = repository.git("--git-dir", bare, "log", "--format=%B", "master")
    assert all(f"Deploy {commit[:12]}" in history for commit in commits)
    assert repository.git("--git-dir", bare, "rev-list", "--merges", "--count", "master") == "0"
    assert repository.call(platform)["commit"] in commits
