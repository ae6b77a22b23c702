"""The old platform's CLI `algo`, as the package `algorithmia` 2.0.5 installs it, as a program of its own.

`algo auth` insists on an address that begins with `https://api.`. It gets one: through a proxy that speaks TLS as that
host, with a certificate of a private CA, as a company's platform would have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.front import API, GIT, Front
from tests.clients.table import ALGORITHM, reaches
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import serve

ECHO = """
def apply(input):
    print("seen", type(input).__name__)
    return input
"""
PROGRAM = Path(sys.executable).parent / "algo"
Algo = Callable[..., str]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/echo", ECHO, algorithm_callability="public")
    yield running
    stop_platform(running)


@pytest.fixture(scope="module")
def home(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that `algo auth` has been used in."""
    found = tmp_path_factory.mktemp("user")
    answers = f"https://{API}\n{front.platform.key}\n{front.authority}\n"
    said = run(front, found, "auth", typed=answers)
    assert "Configuring authentication for profile: default" in said
    return found


def run(
    front: Front, home: Path, *arguments: str, typed: str = "", cwd: Path | None = None, fails: bool = False
) -> str:
    """Run `algo` with nothing of ours around it but a home, a proxy and a CA.

    Returns what it printed.
    """
    variables = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "HTTPS_PROXY": front.url,
        # `algo run` makes requests of its own, which know of no CA but this one
        "REQUESTS_CA_BUNDLE": str(front.authority),
        "GIT_SSL_CAINFO": str(front.authority),
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [PROGRAM, *arguments],
        input=typed,
        env=variables,
        cwd=cwd or home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + (done.stderr if fails else "")


@pytest.fixture
def algo(front: Front, home: Path) -> Algo:
    def found(*arguments: str, typed: str = "", cwd: Path | None = None, fails: bool = False) -> str:
        return run(front, home, *arguments, typed=typed, cwd=cwd, fails=fails)

    return found


def test_auth_keeps_the_key_and_tries_it_over_tls(front: Front, home: Path) -> None:
    kept = (home / ".algorithmia" / "config").read_text()
    assert front.platform.key in kept
    assert (True, 200) in {(one.secure, one.status) for one in front.seen if one.target == "/v1/data/"}


def test_auth_says_that_a_key_is_wrong(front: Front, tmp_path: Path) -> None:
    answers = f"https://{API}\nsim{'x' * 25}\n{front.authority}\n"
    assert "authorization required" in run(front, tmp_path, "auth", typed=answers, fails=True)


@reaches("GET /v1/data/{path}", "POST /v1/data/{path}", "DELETE /v1/data/{path}")
def test_ls_mkdir_rmdir(algo: Algo) -> None:
    assert "ann/" in algo("ls")
    algo("mkdir", "data://ann/made")
    algo("mkdir", "data://ann/made")  # it looks first
    assert "made/" in algo("ls", "data://ann/")
    algo("rmdir", "data://ann/made")
    assert "made/" not in algo("ls", "data://ann/")


@reaches("HEAD /v1/data/{path}", "PUT /v1/data/{path}")
def test_cp_all_three_ways_then_cat_ls_and_rm(algo: Algo, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("na\u00efve\n")
    (tmp_path / "too.txt").write_text("second\n")
    algo("mkdir", "data://ann/copies")
    # of a path without a slash it cannot tell the name
    algo("cp", "./here.txt", "data://ann/copies/", cwd=tmp_path)
    algo("cp", "./too.txt", "data://ann/copies", cwd=tmp_path)
    algo("cp", "data://ann/copies/here.txt", "data://ann/copies/again.txt", cwd=tmp_path)
    algo("cp", "data://ann/copies/again.txt", str(tmp_path / "back.txt"), cwd=tmp_path)
    assert (tmp_path / "back.txt").read_text() == "na\u00efve\n"

    assert algo("cat", "data://ann/copies/here.txt", "data://ann/copies/too.txt") == "na\u00efve\nsecond\n\n"
    assert "second" in algo("cat", "data://ann/copies/*")
    assert "does not exist" in algo("cat", "data://ann/copies/missing")
    listed = algo("ls", "-l", "data://ann/copies/").split()
    assert [word for word in listed if "/" in word] == [f"ann/copies/{name}.txt" for name in ("again", "here", "too")]
    assert "7   ann/copies/too.txt" in algo("ls", "-l", "data://ann/copies/too.txt")

    algo("rm", "data://ann/copies/too.txt")
    assert "does not exist" in algo("cat", "data://ann/copies/too.txt")
    assert "force" in algo("rmdir", "data://ann/copies")
    algo("rmdir", "-f", "data://ann/copies")
    assert "copies" not in algo("ls", "data://ann/")


INPUTS = {
    "-d": ("text", "text"),
    "-t": ("na\u00efve", "na\u00efve"),
    "-j": ('{"a": [1, 2]}', "{'a': [1, 2]}"),
    "-D": ("in a file", "in a file"),
    "-T": ("na\u00efve in a file", "na\u00efve in a file"),
    "-J": ('{"a": 1}', '{"a": 1}'),  # it sends the file's text as one JSON string
    "-B": ("bytes", "b'bytes'"),
}


@pytest.mark.parametrize("option", INPUTS)
@reaches("POST /v1/algo/{algorithm}")
def test_run_with_each_kind_of_input(algo: Algo, tmp_path: Path, option: str) -> None:
    value, shown = INPUTS[option]
    if option.isupper():
        (tmp_path / "input").write_text(value)
        value = "input"
    assert algo("run", "ann/echo", option, value, "--timeout", "20", cwd=tmp_path) == f"{shown}\n"


def test_run_writes_its_output_to_a_file(algo: Algo, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(range(256)))
    algo("run", "ann/echo", "-B", "input", "-o", "output", "--debug", cwd=tmp_path)
    assert (tmp_path / "output").read_bytes() == bytes(range(256))
    algo("run", "ann/echo", "-t", "text", "-o", "text", cwd=tmp_path)
    assert (tmp_path / "text").read_text() == "text"


@reaches(f"GET {ALGORITHM}/builds")
def test_builds(algo: Algo) -> None:
    found = json.loads(algo("builds", "ann", "echo"))
    assert [build["status"] for build in found] == ["succeeded"]


@reaches("GET /git/{algorithm}")
def test_clone_asks_the_host_beside(front: Front, algo: Algo, home: Path, tmp_path: Path) -> None:
    """Git asks for a user and a key as it does for any host; here its store of credentials has them."""
    (home / ".git-credentials").write_text(f"https://ann:{quote(front.platform.key, safe='')}@{GIT}\n")
    (home / ".git-credentials").chmod(0o600)
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    algo("clone", "ann/echo", cwd=tmp_path)
    assert (tmp_path / "echo" / "src" / "echo.py").read_text() == ECHO
    assert front.platform.key not in (tmp_path / "echo" / ".git" / "config").read_text()


@reaches(
    "GET /v1/algorithm-environments/edge/languages",
    "GET /v1/algorithm-environments/edge/languages/{language}/environments",
    "GET /v1/algorithm-environments/edge/environment-specifications/{id}/template",
)
def test_languages_environments_and_a_template(algo: Algo, tmp_path: Path) -> None:
    head, *languages = algo("languages").splitlines()
    assert head.split() == ["Name", "Description"]
    assert [line.split()[0] for line in languages] == ["anaconda3", "python3"], "the client's suite reads the first row"
    found = json.loads(algo("environment", "python3"))
    assert {"id", "environment_specification_id", "display_name", "language"} <= set(found[0])
    algo("template", found[0]["environment_specification_id"], str(tmp_path / "template"))
    assert list((tmp_path / "template" / "src").glob("*.py"))


def test_freeze(algo: Algo, tmp_path: Path) -> None:
    algo("mkdir", "data://ann/frozen")
    (tmp_path / "model").write_text("weights")
    algo("cp", "./model", "data://ann/frozen/model", cwd=tmp_path)
    wanted = {"name": "m", "source_uri": "data://ann/frozen/model", "fail_on_tamper": True, "metadata": {}}
    (tmp_path / "model_manifest.json").write_text(json.dumps({"required_files": [wanted], "optional_files": []}))
    algo("freeze", cwd=tmp_path)
    frozen = json.loads((tmp_path / "model_manifest.json.freeze").read_text())
    assert len(frozen["required_files"][0]["md5_checksum"]) == 32
