"""From a folder and a file to an endpoint, against a platform that really runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pushpoint
from pushpoint.errors import (
    AlreadyExists,
    BuildFailed,
    CallFailed,
    ConfigError,
    MissingSetting,
    ModelMissing,
    NotFound,
    RolloutFailed,
    Unauthenticated,
    Unavailable,
)
from pushpoint.library import Algorithm
from pushpoint.lifecycle import BuildState
from pushpoint.names import algorithm_name
from tests.conftest import Platform
from tests.repositories import INFERENCE, checked_in


@pytest.fixture
def client(platform: Platform) -> Iterator[pushpoint.Client]:
    with pushpoint.Client(platform.url, platform.key) as found:
        yield found


def code(folder: Path, name: str, source: str = INFERENCE, **files: str) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "__init__.py").touch()
    (folder / "src" / f"{name}.py").write_text(source)
    for file, text in files.items():
        (folder / file.replace("_", ".")).write_text(text)
    return folder


def model_file(folder: Path, text: str = "a model") -> tuple[Path, str]:
    (folder / "model.pkl").write_text(text)
    return folder / "model.pkl", hashlib.sha256(text.encode()).hexdigest()


def published(client: pushpoint.Client, name: str, folder: Path, model: str = "a model") -> Algorithm:
    """Make an algorithm whose first release is live."""
    algorithm = client.algorithm(name).create()
    stored = algorithm.upload(model_file(folder, model)[0])
    algorithm.push(code(folder / name, name), model=stored).wait().publish("first", sample_input="x")
    return algorithm


def test_a_dozen_lines_make_an_endpoint(platform: Platform, client: pushpoint.Client, tmp_path: Path) -> None:
    file, digest = model_file(tmp_path)
    algorithm = client.algorithm("dozen")
    assert algorithm.create() is algorithm.create()
    model = algorithm.upload(file, metrics={"accuracy": 0.75})
    assert model.uri == f"data://ann/dozen/model_{digest[:16]}.pkl"
    build = algorithm.push(code(tmp_path / "inference", "dozen"), model=model)
    assert build.wait().state is BuildState.SUCCEEDED
    release = build.publish("first", sample_input="great", public=False)
    assert (release.algorithm, release.version, release.is_live, release.notes) == ("ann/dozen", "0.1.0", True, "first")
    assert (release.is_public, release.metrics, release.commit) == (False, {"accuracy": 0.75}, build.commit)
    assert release.model
    assert release.model.sha256 == digest
    assert algorithm("great") == {"model": digest, "commit": "", "input": "great"}
    answer = algorithm.call({"a": [1]}, version="0.1.0", stdout=True)
    assert (answer.value["input"], answer.version, answer.commit) == ({"a": [1]}, "0.1.0", build.commit)
    assert (answer.model_sha256, answer.source_commit, answer.algorithm) == (digest, "", "ann/dozen")
    assert answer.seconds >= 0
    assert [one.version for one in algorithm.releases()] == ["0.1.0"]
    assert "build succeeded" in algorithm.logs()
    assert algorithm.logs() == build.log()
    with platform.client() as wire:
        deployment = wire.live(algorithm_name("ann/dozen"))
    assert deployment
    assert deployment.actor == "ann"


def test_what_cannot_be_found_out_is_not_said(client: pushpoint.Client, tmp_path: Path) -> None:
    release = published(client, "unsaid", tmp_path).live()
    assert release
    assert (release.source, release.inputs) == (None, None)
    assert release.provenance["event"] == "client"
    assert not {"notebook", "code_tree", "lock_sha256"} & set(release.provenance)


def test_pushing_the_same_again_makes_nothing_new_and_a_change_does(client: pushpoint.Client, tmp_path: Path) -> None:
    algorithm = published(client, "again", tmp_path)
    first = algorithm.releases()[0]
    stored = algorithm.upload(tmp_path / "model.pkl")
    build = algorithm.push(tmp_path / "again", model=stored)
    assert build.commit == first.commit
    assert build.publish("again").version == "0.1.0"
    assert [one.version for one in algorithm.releases()] == ["0.1.0"]

    other = algorithm.upload(model_file(tmp_path, "another model")[0])
    second = algorithm.push(tmp_path / "again", model=other).publish("second", part="revision")
    assert second.version == "0.1.1"
    assert algorithm("x")["model"] == other.descriptor.hex

    (tmp_path / "again" / "src" / "gone.py").touch()
    third = algorithm.push(tmp_path / "again", model=other)
    (tmp_path / "again" / "src" / "gone.py").unlink()
    fourth = algorithm.push(tmp_path / "again", model=other)
    assert len({first.commit, second.commit, third.commit, fourth.commit}) == 4
    assert fourth.publish().is_live

    back = algorithm.rollback("0.1.0")
    assert (back.version, back.is_live) == ("0.1.0", True)
    assert algorithm("x")["model"] == stored.descriptor.hex
    assert fourth.publish().is_live, "what is the newest code may be live again"


def test_code_without_a_model_is_pushed_as_it_is(client: pushpoint.Client, tmp_path: Path) -> None:
    algorithm = client.algorithm("ann/echo").create()
    folder = code(tmp_path / "echo", "echo", "def apply(input):\n    print('heard')\n    return input\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").touch()
    (folder / ".env").write_text("SECRET=1")
    release = algorithm.push(folder).publish()
    assert release.model is None
    values: list[object] = ["text", b"\x00bytes", {"json": [1.5, None]}, [], 0, None]
    assert [algorithm(value) for value in values] == values
    assert list(algorithm.stream("x")) == ["x"]
    assert algorithm.call("x", stdout=True).stdout == "heard\n"
    assert algorithm.call(b"x").value == b"x"
    assert "heard" in algorithm.logs(output=True)


def test_a_push_of_what_a_commit_holds_takes_part_in_the_order_of_commits(
    platform: Platform, client: pushpoint.Client, tmp_path: Path
) -> None:
    repository = checked_in(tmp_path / "reviews", "ordered")
    older = repository.git("rev-parse", "HEAD")
    repository.write("ordered/src/ordered.py", INFERENCE + "\n")
    newer = repository.commit("Newer")
    algorithm = client.algorithm("ordered").create()
    stored = algorithm.upload(model_file(tmp_path, "from a notebook")[0])
    release = algorithm.push(repository.directory / "ordered", model=stored).publish()
    assert release.source
    assert (release.source.commit, release.source.repository) == (newer, "reviews")
    assert release.provenance["code_tree"] == repository.git("rev-parse", "HEAD:ordered")
    assert algorithm.call("x").source_commit == newer

    repository.git("checkout", "--quiet", older)
    refused = repository.deploy(platform)
    assert (refused.code, "later commit" in refused.err) == (9, True)
    repository.git("checkout", "--quiet", "main")
    assert repository.deploy(platform).version == "0.2.0", "what the notebook's model was made from is not known"


# -- what fails, fails with advice --------------------------------------------------------------------------


def test_an_algorithms_own_error_is_an_exception_here(client: pushpoint.Client, tmp_path: Path) -> None:
    source = """
class InputError(Exception):
    error_type = "InputError"

def apply(input):
    if input == "bad":
        raise InputError("send something\\x1b[31m else")
    return 1 / 0
"""
    algorithm = client.algorithm("fails").create()
    algorithm.push(code(tmp_path / "fails", "fails", source)).publish()
    with pytest.raises(CallFailed, match="InputError: send something else; correct the input") as caught:
        algorithm("bad")
    assert (caught.value.error_type, caught.value.message) == ("InputError", "send something else")
    with pytest.raises(CallFailed, match=r"(?s)division by zero.*line 8.*mend the algorithm") as caught:
        algorithm.call("x")
    assert 'src/fails.py", line 8' in caught.value.stacktrace


def test_a_build_that_failed_tells_why_and_is_tried_again_when_pushed_again(
    client: pushpoint.Client, tmp_path: Path
) -> None:
    algorithm = client.algorithm("broken").create()
    folder = code(tmp_path / "broken", "broken", "import nothing_of_that_name\n")
    build = algorithm.push(folder)
    with pytest.raises(BuildFailed, match="nothing_of_that_name"):
        build.wait()
    with pytest.raises(BuildFailed, match="nothing_of_that_name"):
        build.publish()
    assert "nothing_of_that_name" in build.log()
    assert algorithm.releases() == []
    assert algorithm.live() is None
    id_before = build.algorithm._wire.build(algorithm_name("ann/broken"), build.commit).build_id
    again = algorithm.push(folder)
    assert again == build
    with pytest.raises(BuildFailed):
        again.wait()
    assert build.algorithm._wire.build(algorithm_name("ann/broken"), build.commit).build_id != id_before


def test_a_release_that_does_not_answer_gets_no_traffic(client: pushpoint.Client, tmp_path: Path) -> None:
    algorithm = published(client, "careful", tmp_path)
    stored = algorithm.upload(model_file(tmp_path, "worse")[0])
    with pytest.raises(RolloutFailed, match="asked to fail"):
        algorithm.push(tmp_path / "careful", model=stored).publish(sample_input="fail")
    assert algorithm.call("x").version == "0.1.0"
    assert [one.state for one in algorithm.releases()] == ["failed", "live"]


def test_who_may_call_a_release_is_settled_when_it_is_published(client: pushpoint.Client, tmp_path: Path) -> None:
    algorithm = client.algorithm("settled").create()
    build = algorithm.push(code(tmp_path / "settled", "settled", "def apply(input):\n    return input\n"))
    assert build.publish(public=True).is_public
    with pytest.raises(AlreadyExists, match="published as public and stays so; push a change"):
        build.publish(public=False)


@pytest.mark.parametrize(
    ("problem", "kind", "says"),
    [
        (lambda a, _: a.push("nowhere"), ConfigError, "is no folder"),
        (lambda a, folder: a.push(folder), ConfigError, r"src/missing.py does not exist; .* write it there"),
        (lambda a, folder: a.push(code(folder / "c", "missing")), NotFound, r"does not exist.* `create\(\)`"),
        (lambda a, _: a.upload("nowhere.pkl"), ModelMissing, "cannot be read .* check its name"),
        (lambda a, folder: a.upload(model_file(folder, "")[0]), ModelMissing, "is empty; save the model first"),
        (lambda a, f: a.upload(model_file(f)[0], metrics={"a": float("nan")}), ConfigError, "is nan; find out why"),
        (lambda a, f: a.upload(model_file(f)[0], metrics={"<b>": 1}), ConfigError, "cannot name a metric"),
        (lambda a, _: a(object()), ConfigError, "a object that JSON cannot hold"),
        (lambda a, _: a(float("inf")), ConfigError, r"JSON cannot hold .*\.tolist\(\)"),
        (lambda a, _: a("x"), NotFound, "missing not found; check its name"),
        (lambda a, _: a.rollback(), NotFound, "no live release"),
        (lambda a, _: a.logs(), NotFound, "."),
    ],
)
def test_a_mistake_is_explained(client, tmp_path, problem, kind, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=says):
        problem(client.algorithm("missing"), tmp_path)


# -- which platform -----------------------------------------------------------------------------------------


def test_the_platform_is_found_as_the_commands_find_it(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingSetting, match=r"PUSHPOINT_URL.*pushpoint serve"):
        pushpoint.Client()
    profile = tmp_path / "config" / "pushpoint" / "profile.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(f"url = {json.dumps(platform.url)}\nkey-file = {json.dumps(str(platform.home / 'api-key'))}\n")
    with pushpoint.Client() as client:
        assert (client.url, client.account) == (platform.url, "ann")
    with pytest.raises(MissingSetting, match="the profile's is for"):
        pushpoint.Client("http://127.0.0.1:1")
    monkeypatch.setenv("PUSHPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PUSHPOINT_API_KEY", platform.key)
    with pushpoint.Client(platform.url) as client:
        assert client.algorithm("x").name == "ann/x"
        assert platform.key not in repr(client) + repr(vars(client)) + repr(client.algorithm("x"))
    with pushpoint.Client(platform.url, "sim" + "x" * 40) as client, pytest.raises(Unauthenticated, match="API_KEY"):
        client.algorithm("x")
    with pushpoint.Client() as client, pytest.raises(Unavailable, match="start the platform: pushpoint serve"):
        _ = client.account


def script(platform: Platform, folder: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = platform.environment() | variables
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_script_says_nothing_of_its_own(platform: Platform, tmp_path: Path) -> None:
    code(tmp_path / "silent", "silent", "def apply(input):\n    return input\n")
    program = """
import pushpoint
algorithm = pushpoint.Client().algorithm("silent").create()
algorithm.push("silent").publish()
print(algorithm("hello"))
"""
    done = script(platform, tmp_path, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_our_retries_are_not_logged_and_those_of_the_program_are(platform: Platform, tmp_path: Path) -> None:
    program = """
import pushpoint, stamina
client = pushpoint.Client()
pushpoint.Client()
try:
    client.account
except pushpoint.errors.Unavailable:
    print("unavailable")
for attempt in stamina.retry_context(on=ValueError, wait_initial=0.01, attempts=2):
    with attempt:
        if attempt.num == 1:
            raise ValueError("of the program")
"""
    done = script(platform, tmp_path, program, PUSHPOINT_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "unavailable"
    assert "of the program" in second


def test_a_terminal_shows_what_happens(platform: Platform, tmp_path: Path) -> None:
    code(tmp_path / "told", "told", "def apply(input):\n    return input\n")
    program = """
import pushpoint
algorithm = pushpoint.Client().algorithm("told").create()
algorithm.push("told", message="\\x1b[31mred").publish()
"""
    main, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=platform.environment() | {"TERM": "dumb"}, stderr=other
    ) as process:
        os.close(other)
        said = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal so
            while piece := os.read(main, 4096):
                said += piece
    os.close(main)
    assert process.returncode == 0
    for part in (b"ann/told was created", b"push told", b"build succeeded", b"version 0.1.0", b"live"):
        assert part in said
