"""The main job, from outside: a commit goes in, an endpoint that answers comes out."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.repositories import INFERENCE, TRAINING, checked_in, trained


def official(platform: Platform, reference: str, input: object) -> Any:
    """Call with the old platform's own client, as it is on PyPI."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=SyntaxWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import Algorithmia

    client = Algorithmia.client(platform.key, platform.url)  # type: ignore[no-untyped-call]
    try:
        return client.algo(reference).pipe(input).result
    finally:
        client.requestSession.close()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_whole_line(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "whole")
    first = repository.git("rev-parse", "HEAD")
    ran = repository.deploy(platform)

    assert ran.code == 0, ran.err
    assert ran.version == "0.1.0"
    assert ran.model == sha256(f"trained at {first}")
    assert ran.json["algorithm"] == "ann/whole"
    assert ran.json["up_to_date"] is False
    assert ran.json["endpoint"] == f"{platform.url}/v1/algo/ann/whole"
    steps = ["plan", "train", "describe", "upload", "push", "wait for build", "publish", "roll out"]
    assert list(ran.json["steps"]) == steps
    assert ran.json["deployment"]["generation"] == 1
    assert ran.json["deployment"]["release"]["source"]["commit"] == first
    assert "trained" in ran.err, "what the notebook prints is seen"

    answer = {"model": sha256(f"trained at {first}"), "commit": first, "input": "x"}
    assert official(platform, "ann/whole", "x") == answer

    repository.notebook(TRAINING, "print('changed')")
    second = repository.commit("Change the notebook")
    ran = repository.deploy(platform)
    assert ran.version == "0.2.0"
    newer = {"model": sha256(f"trained at {second}"), "commit": second, "input": {"a": [1, None]}}
    assert official(platform, "ann/whole", {"a": [1, None]}) == newer
    assert official(platform, "ann/whole/0.1.0", "x") == answer
    assert official(platform, "ann/whole/0.2.0", {"a": [1, None]}) == newer
    assert official(platform, "ann/whole/latest", {"a": [1, None]}) == newer

    ran = repository.run(platform, "rollback", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["release"]["version"] == "0.1.0"
    assert ran.json["is_rollback"] is True
    assert official(platform, "ann/whole", "x") == answer

    ran = repository.deploy(platform)
    assert ran.version == "0.3.0"
    assert ran.json["deployment"]["generation"] == 4
    assert repository.call(platform)["commit"] == second
    assert repository.versions(platform) == ["0.3.0", "0.2.0", "0.1.0"]


def test_the_same_commit_twice_is_one_version(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "twice")
    assert repository.deploy(platform).version == "0.1.0"
    tip = repository.tip(platform)

    again = repository.deploy(platform)
    assert again.version == "0.1.0"
    assert again.json["up_to_date"] is True
    assert list(again.json["steps"]) == ["plan"], "nothing was trained, sent or pushed"
    spoken = repository.run(platform, "deploy")
    assert spoken.code == 0
    assert "up to date" in spoken.err
    assert repository.versions(platform) == ["0.1.0"]
    assert repository.tip(platform) == tip

    repository.write("README.md", "not an input")
    repository.commit()
    assert repository.deploy(platform).json["up_to_date"] is True

    forced = repository.deploy(platform, "--force")
    assert forced.version == "0.2.0"
    assert "0 bytes sent" in forced.err


def test_changed_code_with_equal_bytes_is_a_release_that_sends_no_model(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "equal", "bytes!!")
    first = repository.deploy(platform)
    assert "7 bytes sent" in first.err
    repository.inference(INFERENCE.replace('"input": input', '"input": [input]'))
    repository.commit()
    second = repository.deploy(platform)

    assert second.version == "0.2.0"
    assert second.model == first.model
    assert "0 bytes sent" in second.err
    assert repository.call(platform)["input"] == ["x"]
    assert repository.call(platform, version="0.1.0")["input"] == "x"


def test_two_deploys_at_once_in_one_checkout_make_one_version(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "both")
    found = []
    threads = [threading.Thread(target=lambda: found.append(repository.deploy(platform))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ran.version for ran in found] == ["0.1.0", "0.1.0"]
    assert sorted(ran.json["up_to_date"] for ran in found) == [False, True]
    assert repository.versions(platform) == ["0.1.0"]


def test_a_changed_byte_of_a_stored_model_is_noticed(tmp_path: Path) -> None:
    platform = start_platform(tmp_path / "home")
    damaged, whole = checked_in(tmp_path / "a", "damaged", "precious"), checked_in(tmp_path / "b", "whole", "other")
    assert damaged.deploy(platform).version == "0.1.0"
    assert whole.deploy(platform).version == "0.1.0"
    assert damaged.run(platform, "verify").code == 0

    expected, actual = sha256("precious"), sha256("precioux")
    blob = platform.home / "store" / "sha256" / expected[:2] / expected[2:]
    assert blob.read_text() == "precious"
    blob.chmod(0o644)
    blob.write_text("precioux")

    found = damaged.run(platform, "verify", "--json")
    assert found.code == 4
    assert f"sha256:{expected}" in found.err
    assert f"sha256:{actual}" in found.err
    assert whole.run(platform, "verify").code == 0

    stop_platform(platform)
    platform = start_platform(tmp_path / "home")
    try:
        refused = damaged.run(platform, "call", "ann/damaged", "--json", "--json-input", "1")
        assert refused.code == 1
        assert refused.json["error"]["error_type"] == "LoadingError"
        assert expected in refused.json["error"]["message"]
        assert actual in refused.json["error"]["message"]
        assert refused.json["result"] is None
        assert whole.call(platform)["model"] == sha256("other"), "others answer"

        blob.write_text("precious")
        assert damaged.call(platform)["model"] == expected, "the file was restored"
    finally:
        stop_platform(platform)


def test_a_release_whose_model_was_changed_does_not_become_live_again(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "older", "the old one")
    assert repository.deploy(platform).version == "0.1.0"
    repository.write("model.pkl", "the new one")
    repository.commit()
    assert repository.deploy(platform).version == "0.2.0"
    digest = sha256("the old one")
    blob = platform.home / "store" / "sha256" / digest[:2] / digest[2:]
    blob.chmod(0o644)
    blob.write_text("the odd one")

    rolled = repository.run(platform, "rollback", "--json")
    assert rolled.code == 7
    assert digest in rolled.error
    assert sha256("the odd one") in rolled.error
    assert repository.call(platform)["model"] == sha256("the new one")


@contextmanager
def watching_processes() -> Iterator[set[str]]:
    """Collect the arguments of every process there is, again and again."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    seen.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue
            time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def holding(folder: Path, text: str) -> list[str]:
    """List the files below a folder that hold a text, git's packed objects included."""
    import zlib

    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if "objects" in path.parts and len(path.name) == 38:
                content = zlib.decompress(content)
            if text.encode() in content:
                found.append(str(path.relative_to(folder)))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    platform = start_platform(tmp_path / "home")
    try:
        repository = trained(tmp_path / "ml", "secrets")
        dump = "import json, os\njson.dump(dict(os.environ), open('dump.json', 'w'))\nprint(os.environ)"
        repository.write(".gitignore", "model.pkl\ndump.json\n")
        repository.notebook(TRAINING, dump)
        repository.commit()
        planted = {"ALGORITHMIA_API_KEY": "canary-of-the-old-key", "GITHUB_TOKEN": "canary-of-the-token"}
        with watching_processes() as seen:
            assert repository.deploy(platform, **planted).version == "0.1.0"
            environment = json.loads((repository.directory / "dump.json").read_text())
            repository.notebook(TRAINING, dump, "raise ValueError('no')")
            repository.commit()
            failed = repository.deploy(platform, DATABASE=f"mysql://x:{platform.key}@host", **planted)
            assert failed.code == 3
            failing_environment = json.loads((repository.directory / "dump.json").read_text())

        assert "PATH" in environment, "the notebook has an environment"
        assert any("ipykernel" in arguments for arguments in seen), "processes were seen"
        assert any("git" in arguments and "push" in arguments for arguments in seen)
        for secret in (platform.key, *planted.values()):
            assert not [arguments for arguments in seen if secret in arguments]
            assert secret not in json.dumps([environment, failing_environment])
            assert secret not in failed.out + failed.err
            assert holding(repository.directory, secret) == []
            left = holding(platform.home, secret)
            assert left == (["api-key"] if secret == platform.key else [])
        assert (platform.home / "api-key").stat().st_mode & 0o777 == 0o600
        executed = list((repository.directory / ".pushpoint").rglob("*.ipynb"))
        assert len(executed) == 2
        assert holding(repository.directory, "canary-of") == []
        assert len(os.listdir(repository.directory / ".pushpoint" / "journal")) == 1, "of the deploy that failed"
    finally:
        stop_platform(platform)
