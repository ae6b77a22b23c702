"""Builds: what is built, what is kept, and what a failing one leaves alone."""

from __future__ import annotations

import time
from pathlib import Path

from pushpoint.lifecycle import BuildState
from pushpoint.names import algorithm_name
from tests.conftest import Platform
from tests.repositories import INFERENCE, checked_in


def test_the_template_is_not_built(platform: Platform) -> None:
    name = algorithm_name("ann/fresh")
    with platform.client() as client:
        client.create(name)
        time.sleep(0.3)
        assert client.builds(name) == []
        assert client.live(name) is None


def test_a_failed_build_leaves_everything_as_it_was(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "built")
    name = algorithm_name("ann/built")
    assert repository.deploy(platform).version == "0.1.0"
    with platform.client() as client:
        before, releases = client.live(name), list(client.releases(name))
        repository.inference(INFERENCE.replace("global found", "print('so far'); raise KeyError('weights')"))
        repository.commit()
        failed = repository.deploy(platform)
        assert failed.code == 6
        assert failed.json["error"]["type"] == "BuildFailed"
        assert "raise KeyError('weights')" in failed.error, "the stack is in the log's relevant part"
        assert client.live(name) == before
        assert list(client.releases(name)) == releases
        states = [build.status for build in client.builds(name)]
        assert states == [BuildState.FAILED, BuildState.SUCCEEDED]
        assert repository.call(platform)["input"] == "x"

        ran = repository.run(platform, "logs")
        assert ran.code == 0
        assert "KeyError" in ran.out
        assert "build failed" in ran.out
        assert "so far" in repository.run(platform, "logs", "--output").out
        older = client.builds(name)[1]
        for named in (older.build_id, older.commit_sha):
            ran = repository.run(platform, "logs", "ann/built", "--build", named)
            assert "build succeeded" in ran.out
        assert repository.run(platform, "logs", "ann/built", "--build", "nothing").code == 10
        assert repository.run(platform, "logs", "ann/nothing").code == 10


def test_a_log_is_seen_while_it_grows(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "growing")
    assert repository.deploy(platform).version == "0.1.0"
    repository.inference("import time\ntime.sleep(2)\n" + INFERENCE)
    repository.commit()
    assert repository.deploy(platform, "--publish", "none").code == 0
    name = algorithm_name("ann/growing")
    bare = str(repository.pushed(platform))
    tree = repository.git("--git-dir", bare, "rev-parse", "master^{tree}")
    made = repository.git("--git-dir", bare, "commit-tree", tree, "-p", "master", "-m", "Again")
    repository.git("--git-dir", bare, "update-ref", "refs/heads/master", made)
    with platform.client() as client:
        client.compile(name, made)
        build = client.build(name, made)
        texts: list[str] = []
        while True:
            part = client.build_log(name, build.build_id, offset=sum(len(text.encode()) for text in texts))
            assert part.next == sum(len(text.encode()) for text in texts) + len(part.logs.encode())
            texts += [part.logs] if part.logs else []
            if part.finished and not part.logs:
                break
            time.sleep(0.05)
        assert len(texts) > 1, "it came in parts"
        assert "".join(texts) == client.build_log(name, build.build_id).logs
        client.compile(name, made)
        assert client.build(name, made).build_id == build.build_id, "a build that did not fail is not done again"


def test_publish_none_ends_after_the_build(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "quiet")
    ran = repository.deploy(platform, "--publish", "none")
    assert ran.code == 0
    assert ran.json["deployment"] is None
    assert "publish" not in ran.json["steps"]
    assert repository.versions(platform) == []
    with platform.client() as client:
        assert client.live(algorithm_name("ann/quiet")) is None
    assert repository.deploy(platform, "--publish", "major").version == "1.0.0"
    repository.write("model.pkl", "another")
    repository.commit()
    assert repository.deploy(platform, "--publish", "revision").version == "1.0.1"
