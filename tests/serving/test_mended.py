"""What one algorithm cannot do to another, to its own earlier builds, or to the platform."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pushpoint.lifecycle import DeploymentState
from pushpoint.names import algorithm_name
from pushpoint.sandbox import Sandbox, find_sandbox
from tests.conftest import Platform
from tests.repositories import checked_in
from tests.web.support import JSON, ask

ENDED = {DeploymentState.LIVE, DeploymentState.FAILED, DeploymentState.SUPERSEDED, DeploymentState.RETIRED}


@pytest.fixture(scope="module")
def confined() -> Sandbox:
    found = find_sandbox()
    if found.program is None:
        pytest.skip(found.reason)
    return found


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Link an environment's interpreter into a folder that looks like a Python, and whose `share` is the home."""
    (tmp_path / "scratch").mkdir(mode=0o700)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api-key").write_text("secret")
    laid_out = tmp_path / "laid out"
    (laid_out / "lib" / "python3.11").mkdir(parents=True)
    (laid_out / "lib" / "python3.11" / "os.py").touch()
    (laid_out / "bin").mkdir()
    (laid_out / "bin" / "python").symlink_to("/usr/bin/cat")
    (laid_out / "share").symlink_to(tmp_path / "home")
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(laid_out / "bin" / "python")
    (tmp_path / "environment" / "shown").write_text("it runs")
    return python


def test_a_planted_interpreter_shows_nothing_of_the_home(confined: Sandbox, planted: Path, tmp_path: Path) -> None:
    secrets = [tmp_path / "laid out" / "share" / "api-key", tmp_path / "home" / "api-key"]
    command = confined.command(
        [str(planted), str(tmp_path / "environment" / "shown"), *map(str, secrets)],
        variables={},
        directory=tmp_path / "scratch",
        scratch=tmp_path / "scratch",
        readable=[tmp_path / "environment", tmp_path / "laid out" / "bin"],
    )
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout == "it runs", ran.stderr
    assert ran.stderr.count("No such file") == 2


def test_what_is_shown_does_not_depend_on_the_program(confined: Sandbox, planted: Path, tmp_path: Path) -> None:
    def shown(program: str) -> list[str]:
        made = confined.command([program], variables={}, directory=tmp_path, scratch=tmp_path)
        assert made[-2:] == ["--", program]
        return made[:-1]

    assert shown(str(planted)) == shown("/usr/bin/env")
    assert "laid out" not in " ".join(shown(str(planted)))


PLANTING = """\
import contextlib, importlib.util, os
from importlib._bootstrap_external import _code_to_hash_pyc

cached = importlib.util.cache_from_source({source!r})
evil = compile("def apply(input):\\n    return 'planted'", {source!r}, "exec")
with contextlib.suppress(OSError):
    os.makedirs(os.path.dirname(cached), exist_ok=True)
    with open(cached, "wb") as file:
        file.write(_code_to_hash_pyc(evil, b"\\0" * 8, False))


def apply(input):
    return "second"
"""


def test_what_one_build_compiles_is_not_run_by_another(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "compiled")
    repository.inference("def apply(input):\n    return 'first'\n")
    repository.commit()
    assert repository.deploy(platform, "--publish", "none").code == 0
    name = algorithm_name("ann/compiled")
    with platform.client() as client:
        first = client.builds(name)[0]
    source = platform.home / "builds" / first.build_id / "code" / "src" / "compiled.py"
    assert source.is_file()
    repository.inference(PLANTING.format(source=str(source)))
    repository.commit()
    assert repository.deploy(platform, "--publish", "none").code == 0
    with platform.client() as client:
        second = client.builds(name)[0]

    def compiled(build_id: str) -> list[Path]:
        found = (platform.home / "builds" / build_id / "bytecode").rglob("compiled.*.pyc")
        return [path for path in found if f"builds/{first.build_id}/code" in str(path)]

    assert any(b"planted" in path.read_bytes() for path in compiled(second.build_id)), "it was written"
    assert not any(b"planted" in path.read_bytes() for path in compiled(first.build_id))
    assert repository.call(platform, version=first.commit_sha) == "first"
    assert repository.call(platform, version=second.commit_sha) == "second"


def test_a_load_that_hangs_holds_up_nobody_else(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "hanging")
    hang = 'if "PYTHONDONTWRITEBYTECODE" in os.environ:\n        time.sleep(600)'
    repository.inference(f"import os, time\n\ndef load():\n    {hang}\n\ndef apply(input):\n    return input\n")
    repository.commit()
    assert repository.deploy(platform, "--publish", "none").code == 0
    commit = repository.tip(platform)

    answers: list[Any] = []
    began = time.monotonic()

    def call() -> None:
        answers.append(ask(platform, "POST", f"/v1/algo/ann/hanging/{commit}?timeout=1", b"1", headers=JSON).json)

    threads = [threading.Thread(target=call) for _ in range(40)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads) or slowest == 0.0:
        for path in ("/live", "/v1/account"):
            asked = time.monotonic()
            assert ask(platform, "GET", path).status in {200, 204}
            slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 10
    assert slowest < 2
    assert [found["error"]["error_type"] for found in answers] == ["TimeoutError"] * 40


COUNTING = """\
import time

seen = 0


def load():
    time.sleep(1)


def apply(input):
    global seen
    seen += 1
    if seen == 2:
        time.sleep(1)
        return "broken"
    return seen if input == "count" else "ok"
"""


def test_a_release_that_went_live_keeps_its_pool_when_its_second_rollout_fails(
    platform: Platform, tmp_path: Path
) -> None:
    repository = checked_in(tmp_path / "ml", "both")
    repository.inference(COUNTING)
    cases = [{"case_name": "it is well", "input": "well", "expected_output": "ok", "type": "EXACT_MATCH"}]
    repository.write("both/TEST_CASES.json", json.dumps(cases))
    repository.commit()
    assert repository.deploy(platform, "--publish", "none").code == 0
    name, commit = algorithm_name("ann/both"), repository.tip(platform)
    with platform.client() as client:
        version = client.publish(name, commit, part="minor", sample_input=None, notes="")
        begun = [client.roll_out(name, version, deploy_id=f"both-{number}") for number in range(2)]
        until = time.monotonic() + 30
        while {client.deployment(name, one.id).state for one in begun} - ENDED and time.monotonic() < until:
            time.sleep(0.05)
        found = [client.deployment(name, one.id) for one in begun]
        states = sorted(one.state for one in found)
        assert states == sorted([DeploymentState.LIVE, DeploymentState.FAILED])
        (failed,) = [one for one in found if one.state is DeploymentState.FAILED]
        assert "it is well" in (failed.reason or "")
        live = client.live(name)
        assert live is not None
        assert live.release.version == version
    time.sleep(0.3)  # what would let go of the pool has done so by now
    assert repository.call(platform, "count") == 3, "the same worker answers, which was asked twice before"
