"""A preview trains, loads and tries as a deploy would, and leaves no trace but the evidence in `.pushpoint`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pushpoint.sandbox import find_sandbox
from tests.conftest import Platform
from tests.repositories import INFERENCE, TRAINING, Ran, Repository, checked_in, command, trained

METRIC = "import pushpoint\npushpoint.metric('accuracy', {})"
ALONE = {"PUSHPOINT_URL": "", "PUSHPOINT_API_KEY": ""}


def cases(*listed: dict[str, Any]) -> str:
    return json.dumps([{"case_name": f"case {number}", **case} for number, case in enumerate(listed, start=1)])


def preview(repository: Repository, platform: Platform, **variables: str) -> Ran:
    return repository.run(platform, "preview", "--json", **variables)


def seen(platform: Platform) -> list[object]:
    """All that a platform keeps, but when keys were last used: rows, and the names, sizes and times of files."""
    kept: list[object] = []
    with sqlite3.connect(platform.home / "platform.db") as database:
        for (table,) in database.execute(
            "select name from sqlite_master where type = 'table' order by name"
        ).fetchall():
            columns = database.execute(f'pragma table_info("{table}")').fetchall()
            names = ", ".join(f'"{name}"' for _, name, *_ in columns if name != "last_used")
            kept += database.execute(f'select {names} from "{table}"').fetchall()
    database.close()
    for folder in ("store", "repositories", "builds", "environments"):
        for path in sorted((platform.home / folder).rglob("*")):
            if path.is_file() and path.suffix not in {".lock", ".log"}:
                kept.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return kept


def workers(name: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if f'"algorithm": "{name}"' in command:
            found.append(command)
    return found


def test_a_commit_is_previewed_without_a_platform(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "alone")
    repository.notebook(TRAINING, METRIC.format(0.75))
    repository.settings(sample_input="x")
    wanted = {"input": 2, "type": "EXACT_MATCH", "tree": ["input"], "expected_output": 2}
    repository.write("alone/TEST_CASES.json", cases(wanted, {"input": "fail", "type": "EXCEPTION"}))
    commit = repository.commit()
    ran = preview(repository, platform, **ALONE)

    assert ran.code == 0, ran.err
    found = ran.json["preview"]
    assert "error" not in ran.json
    assert list(ran.json["steps"]) == ["plan", "train", "describe", "build", "load", "try"]
    assert found["plan"]["algorithm"] == "preview/alone"
    assert found["plan"]["source"]["commit"] == commit
    assert found["model"]["digest"] == "sha256:" + hashlib.sha256(f"trained at {commit}".encode()).hexdigest()
    assert [(case["name"], case["wrong"]) for case in found["cases"]] == [
        ("sample input", None),
        ("case 1", None),
        ("case 2", None),
    ]
    assert found["load_seconds"] > 0
    assert found["live"] is None
    assert found["metrics"] == {"accuracy": {"new": 0.75, "live": None, "difference": None}}
    assert Path(found["training"]["rendering"]).is_file()
    assert "compared with nothing: `PUSHPOINT_URL` is not set" in ran.err
    assert repository.git("status", "--porcelain") == ""
    assert workers("preview/alone") == []


def test_metrics_are_compared_with_the_live_model_and_the_platform_stays_as_it_was(
    platform: Platform, tmp_path: Path
) -> None:
    repository = trained(tmp_path / "ml", "compared")
    repository.notebook(TRAINING, METRIC.format(0.5), METRIC.format(3).replace("accuracy", "dropped"))
    repository.commit("Measure")
    assert repository.deploy(platform).version == "0.1.0"
    repository.notebook(TRAINING, METRIC.format(0.75), METRIC.format(1).replace("accuracy", "added"))
    repository.commit("Better")
    before = seen(platform)
    ran = preview(repository, platform)

    assert ran.code == 0, ran.err
    assert seen(platform) == before
    assert ran.json["preview"]["live"]["release"]["version"] == "0.1.0"
    assert ran.json["preview"]["metrics"] == {
        "accuracy": {"new": 0.75, "live": 0.5, "difference": 0.25},
        "added": {"new": 1.0, "live": None, "difference": None},
        "dropped": {"new": None, "live": 3.0, "difference": None},
    }
    spoken = repository.run(platform, "preview")
    assert [line.split() for line in spoken.out.splitlines()][:2] == [
        ["metric", "new", "live", "difference"],
        ["accuracy", "0.75", "0.5", "+0.25"],
    ]
    assert "nothing was uploaded or pushed" in spoken.err
    assert seen(platform) == before
    assert repository.versions(platform) == ["0.1.0"]


def test_a_model_that_is_checked_in_is_previewed(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "kept")
    repository.write("kept/TEST_CASES.json", cases({"input": 1, "type": "NO_EXCEPTION"}))
    repository.commit()
    ran = preview(repository, platform)
    assert ran.code == 0, ran.err
    assert ran.json["preview"]["plan"]["algorithm"] == "ann/kept"
    assert ran.json["preview"]["training"]["rendering"] is None
    assert repository.run(platform, "releases").code == 10, "the platform has no such algorithm"


def test_each_case_gets_its_verdict_and_one_that_fails_is_an_error(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "judged")
    good = {"input": 1, "type": "NO_EXCEPTION"}
    wrong = {"input": 1, "type": "EXACT_MATCH", "tree": ["input"], "expected_output": 2}
    repository.write("judged/TEST_CASES.json", cases(wrong, good, {"input": "fail"}))
    repository.inference("print('imported', flush=True)\n" + INFERENCE)
    repository.commit()
    ran = preview(repository, platform, **ALONE)
    assert ran.code == 7
    said = [case["wrong"] for case in ran.json["preview"]["cases"]]
    assert said == [
        "case 1: 1 is not 2",
        None,
        "case 3: failed with AlgorithmError: asked to fail (ValueError in src/judged.py, line 16)",
    ]
    assert ran.json["error"]["type"] == "PreviewFailed"
    assert ran.json["error"]["exit_code"] == 7
    assert ran.error.startswith("the preview failed: case 1: 1 is not 2; case 3: failed")
    assert ran.error.endswith("mend the inference code or the test case, and commit")
    assert "the worker printed:\n  imported" in ran.err
    spoken = repository.run(platform, "preview", **ALONE)
    assert spoken.code == 7
    assert "✓ case 2" in spoken.err
    assert "error: the preview failed: case 1" in spoken.err
    assert spoken.out == ""


Change = Callable[[Repository], None]


def code(source: str) -> Change:
    return lambda repository: repository.inference(source)


def requirements(text: str) -> Change:
    return lambda repository: repository.write("broken/requirements.txt", text)


def another_file(repository: Repository) -> None:
    repository.inference("from src import other\n\n\ndef apply(input):\n    return 1\n")
    repository.write("broken/src/other.py", "\n\nx = y\n")


def no_code(repository: Repository) -> None:
    repository.git("rm", "-rq", "broken")


LOAD = "def load():\n    import json\n    json.loads('{')\n\n\ndef apply(input):\n    return 1\n"

BROKEN: dict[str, tuple[Change, int, str]] = {
    "load raises": (code(LOAD), 7, "the preview failed: broken/src/broken.py:3: LoadingError: Expecting"),
    "import raises": (
        code("1 / 0\n"),
        7,
        "broken/src/broken.py:1: LoadingError: division by zero; mend the inference code",
    ),
    "a module is missing": (
        code("\nimport absent\n"),
        7,
        "broken/src/broken.py:2: LoadingError: No module named 'absent'",
    ),
    "the syntax is wrong": (code("def apply(input)\n"), 7, "broken/src/broken.py:1: LoadingError: expected ':'"),
    "another file raises": (another_file, 7, "broken/src/other.py:3: LoadingError: name 'y' is not defined"),
    "there is no apply": (code("x = 1\n"), 7, "LoadingError: src/broken.py has no function `apply(input)`"),
    "the process ends": (code("import os\nos._exit(3)\n"), 7, "exit code 3 while it was starting"),
    "requirements cannot be had": (
        requirements("no-such-package-of-ours==99\n"),
        3,
        "broken/requirements.txt could not be installed",
    ),
    "the model is empty": (lambda repository: repository.write("model.pkl", ""), 3, "model.pkl is empty"),
    "there is no inference code": (no_code, 2, "write broken/src/broken.py"),
    "the test cases are no list": (
        lambda repository: repository.write("broken/TEST_CASES.json", "{}"),
        2,
        "TEST_CASES.json",
    ),
    "the change is not committed": (lambda repository: None, 2, "differ from the commit"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named_by_file_and_line(what: str, platform: Platform, tmp_path: Path) -> None:
    change, exit_code, said = BROKEN[what]
    repository = checked_in(tmp_path / "ml", "broken")
    change(repository)
    repository.commit()
    if what == "the change is not committed":
        repository.write("model.pkl", "another")
    ran = preview(repository, platform, **ALONE)
    assert ran.code == exit_code, ran.err
    assert said in ran.error
    assert "/tmp/pushpoint-" not in ran.error
    assert workers("preview/broken") == []


LOOKING = """
import os, urllib.request


def apply(input):
    if input == "call":
        return urllib.request.urlopen(os.environ["PUSHPOINT_URL"] + "/v1/algo/ann/other", b"1").read().decode()
    if input == "network":
        return urllib.request.urlopen("http://127.0.0.1:%s/" % PORT, timeout=2).status
    if input == "write":
        open("written", "w")
    if input == "see":
        return {"repository": os.path.exists(ROOT), "home": os.environ["HOME"] == os.environ["TMPDIR"]}
    if input == "variables":
        return [name for name in os.environ if "KEY" in name or "TOKEN" in name or "SECRET" in name]
"""


def test_the_worker_sees_no_more_than_on_a_platform(platform: Platform, tmp_path: Path) -> None:
    if find_sandbox().program is None:
        pytest.skip("nothing confines here")
    repository = checked_in(tmp_path / "ml", "confined")
    port = platform.url.rpartition(":")[2]
    repository.inference(f"PORT, ROOT = {port!r}, {str(repository.directory / '.git')!r}\n{LOOKING}")
    listed: list[dict[str, Any]] = [{"input": word, "type": "NO_EXCEPTION"} for word in ("call", "network", "write")]
    listed += [{"input": "see", "expected_output": {"repository": False, "home": True}}]
    listed += [{"input": "variables", "expected_output": []}]
    repository.write("confined/TEST_CASES.json", cases(*listed))
    repository.commit()
    ran = preview(repository, platform)
    said = [case["wrong"] and case["wrong"].rpartition(" (")[0] for case in ran.json["preview"]["cases"]]
    assert said == [
        "case 1: failed with AlgorithmError: HTTP Error 502: Bad Gateway",  # nobody to call back
        "case 2: failed with AlgorithmError: <urlopen error [Errno 111] Connection refused>",  # although it listens
        "case 3: failed with AlgorithmError: [Errno 30] Read-only file system: 'written'",
        None,
        None,
    ]
    assert platform.key not in ran.out + ran.err


def test_the_notebook_holds_no_key(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "keyless")
    repository.notebook(TRAINING, "import os\nassert not [name for name in os.environ if 'PUSHPOINT' in name]")
    repository.commit()
    ran = preview(repository, platform)
    assert ran.code == 0, ran.err
    assert os.environ.get("PUSHPOINT_API_KEY") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_preview_that_is_stopped_leaves_no_worker(number: signal.Signals, platform: Platform, tmp_path: Path) -> None:
    name = f"stopped{number.value}"
    repository = checked_in(tmp_path / "ml", name)
    repository.inference("import time\n\n\ndef load():\n    time.sleep(600)\n\n\ndef apply(input):\n    return 1\n")
    repository.commit()
    with subprocess.Popen(
        command("preview"),
        cwd=repository.directory,
        env=platform.environment() | ALONE | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    ) as running:
        eventually(lambda: workers(f"preview/{name}"), 60)
        running.send_signal(number)
        code = running.wait(30)
    assert code == (130 if number is signal.SIGINT else -number)
    eventually(lambda: not workers(f"preview/{name}"), 10)
    if number is signal.SIGINT:
        assert not list(tmp_path.glob("pushpoint-*"))


def eventually(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
