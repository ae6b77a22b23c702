"""`/v1/algo` byte by byte (platform API, section 1)."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pushpoint import git
from pushpoint import manifest as manifests
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import (
    JSON,
    TEXT,
    Answer,
    address,
    ask,
    commit_and_push,
    compile_head,
    create,
    issue_key,
    manifest_of,
    publish,
    push,
    remote,
    serve,
)

ECHO = """
import os, sys, time

SEEN = []

def apply(input):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    SEEN.append(input)
    if input == "raise":
        raise ValueError("boom: \\u00e9\\r\\nX-Evil: 1")
    if input == "typed":
        error = RuntimeError("typed")
        error.error_type = "InputError"
        raise error
    if input == "nothing":
        return None
    if input == "seen":
        return len(SEEN)
    if input == "exit":
        os._exit(3)
    if isinstance(input, dict) and "sleep" in input:
        time.sleep(input["sleep"])
    if isinstance(input, dict) and "kind" in input:
        return type(input["value"]).__name__
    return input
"""


@dataclass(frozen=True)
class Calls:
    platform: Platform
    bob: str

    def __call__(
        self, body: bytes, kind: str = "application/json", *, to: str = "ann/echo", key: str = "", **options: object
    ) -> Answer:
        query = "?" + urlencode(options) if options else ""
        return ask(self.platform, "POST", f"/v1/algo/{to}{query}", body, key=key, headers={"content-type": kind})


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/echo", ECHO, algorithm_callability="public")
    yield Calls(platform, issue_key(platform, "bob"))
    stop_platform(platform)


@pytest.mark.parametrize(
    ("kind", "body", "result", "content_type"),
    [
        ("application/json", b'{"a": [1, "x", null, true]}', b'{"a":[1,"x",null,true]}', "json"),
        ("application/json", b"1.0", b"1.0", "json"),
        ("application/json", b"123456789012345678901234567890", b"123456789012345678901234567890", "json"),
        ("application/json", b'"text"', b'"text"', "text"),
        ("application/json", b"null", b"null", "json"),
        ("APPLICATION/JSON ; charset=utf-8", b"[]", b"[]", "json"),
        ("text/plain", "h\u00e9 \U0001f600".encode(), '"h\u00e9 \U0001f600"'.encode(), "text"),
        ("text/plain; charset=utf-8", b"", b'""', "text"),
        ("application/text", b"x", b'"x"', "text"),
        ("application/octet-stream", b"\x00\xff", b'"AP8="', "binary"),
        ("application/octet-stream", b"", b'""', "binary"),
    ],
)
def test_input_and_output_keep_their_kind(
    call: Calls, kind: str, body: bytes, result: bytes, content_type: str
) -> None:
    answer = call(body, kind)
    assert answer.status == 200
    assert answer.reason == "OK"
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.startswith(b'{"result":' + result + b',"metadata":{"content_type":"' + content_type.encode())
    assert set(answer.json["metadata"]) == {"content_type", "duration"}, "the R client's suite wants these alone"
    assert isinstance(answer.json["metadata"]["duration"], float)


@pytest.mark.parametrize(
    ("value", "name"), [("1.0", "float"), ("1", "int"), ("1" * 40, "int"), ('"1"', "str"), ("true", "bool")]
)
def test_the_body_reaches_the_algorithm_as_it_was_sent(call: Calls, value: str, name: str) -> None:
    assert call(b'{"kind": 1, "value": ' + value.encode() + b"}").json["result"] == name


@pytest.mark.parametrize("kind", ["image/png", "application/jsonx", "", "multipart/form-data", "text/html", ";"])
def test_another_content_type_is_415(call: Calls, kind: str) -> None:
    answer = call(b"1", kind)
    assert answer.status == 415
    assert "415 unsupported content type" in answer.message
    error = answer.json["error"]
    assert (error["error_type"], error["code"], error["id"]) == ("InvalidRequest", 6001, answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain; charset=latin-1"}, 415),
        ({"content-type": 'application/json; x=y; Charset="ISO-8859-1"'}, 415),
        ({"content-type": "text/plain", "content-encoding": "gzip"}, 415),
        ({"content-type": "application/octet-stream", "content-encoding": "br"}, 415),
        ({"content-type": 'application/json;charset="UTF-8"'}, 200),
        ({"content-type": "text/plain; charset=us-ascii"}, 200),
        ({"content-type": "application/octet-stream; charset=binary", "content-encoding": "identity"}, 200),
    ],
)
def test_only_plain_utf_8_is_taken(call: Calls, headers: dict[str, str], status: int) -> None:
    assert ask(call.platform, "POST", "/v1/algo/ann/echo", b"1", headers=headers).status == status


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("output=nonsense", "output is 'nonsense'; use default, raw, void"),
        ("timeout=0", "timeout is '0'; use seconds, more than 0 and at most 3000"),
    ],
)
def test_an_option_that_says_nothing_is_refused(call: Calls, query: str, said: str) -> None:
    answer = ask(call.platform, "POST", f"/v1/algo/ann/echo?{query}", b"1", headers=JSON)
    assert (answer.status, answer.message) == (400, said)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/algo/ann/echo"), ("PATCH", "/v1/uploads"), ("TRACE", "/v1/data/ann")]
)
def test_another_method_is_405_with_all_that_an_error_has(call: Calls, method: str, path: str) -> None:
    answer = ask(call.platform, method, path)
    error = answer.json["error"]
    assert (answer.status, error["error_type"], error["code"]) == (405, "InvalidRequest", 6001)
    assert error["id"] == answer.headers["x-request-id"]


def test_no_content_type_is_415(call: Calls) -> None:
    assert ask(call.platform, "POST", "/v1/algo/ann/echo", b"1").status == 415


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{bad"),
        ("application/json", b""),
        ("application/json", b"[" * 100_000 + b"]" * 100_000),
        ("application/json", b"\xff"),
        ("text/plain", b"\xff\xfe"),
    ],
)
def test_input_that_is_not_what_it_says_is_a_parsing_error(call: Calls, kind: str, body: bytes) -> None:
    answer = call(body, kind)
    assert answer.status == 200
    assert answer.json["error"]["error_type"] == "ParsingError"
    assert call(b'"still there"').json["result"] == "still there"


def test_ten_mebibytes_are_taken_and_a_byte_more_is_413(call: Calls) -> None:
    whole = call(b"x" * (10 << 20), "text/plain")
    assert whole.status == 200
    assert len(whole.json["result"]) == 10 << 20
    more = call(b"x" * ((10 << 20) + 1), "text/plain")
    assert more.status == 413
    assert "data://" in more.message

    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * (1 << 20)

    unannounced = ask(call.platform, "POST", "/v1/algo/ann/echo", chunks(), headers=TEXT)
    assert unannounced.status == 413


def test_a_failing_algorithm_answers_200(call: Calls) -> None:
    answer = call(b"raise", "text/plain")
    assert answer.status == 200
    error = answer.json["error"]
    assert error["message"] == "boom: \u00e9\r\nX-Evil: 1"
    assert error["error_type"] == "AlgorithmError"
    assert 'raise ValueError("boom' in error["stacktrace"]
    assert error["stack_trace"] == error["stacktrace"], "the Python client reads this spelling"
    assert set(answer.json["metadata"]) == {"duration"}
    assert "x-evil" not in answer.headers
    assert call(b"typed", "text/plain").json["error"]["error_type"] == "InputError"


def test_a_worker_that_exits_answers_too_and_is_replaced(call: Calls) -> None:
    answer = call(b"exit", "text/plain")
    assert answer.status == 200
    assert answer.json["error"]["error_type"] == "SystemExit"
    assert "3" in answer.message
    assert call(b'"again"').json["result"] == "again"


@pytest.mark.parametrize(
    ("kind", "body", "answered", "content_type"),
    [
        ("application/json", b'{"a": "b c"}', b'{"a":"b c"}', "application/json"),
        ("text/plain", "h\u00e9".encode(), "h\u00e9".encode(), "text/plain; charset=utf-8"),
        ("application/octet-stream", b"\x00\xff\r\n", b"\x00\xff\r\n", "application/octet-stream"),
        ("text/plain", b"nothing", b"null", "application/json"),
    ],
)
def test_raw_output_is_the_bare_result(call: Calls, kind: str, body: bytes, answered: bytes, content_type: str) -> None:
    answer = call(body, kind, output="raw")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, answered, content_type)
    assert answer.headers["x-request-id"].startswith("req-")


def test_a_refused_call_says_which_it_was_in_header_and_body(call: Calls) -> None:
    for refused in (call(b"1", to="ann/missing"), call(b"1", "image/png"), call(b"1", timeout="never")):
        assert refused.status >= 400
        assert refused.headers["x-request-id"] == refused.json["error"]["id"]


def test_a_failure_in_raw_mode_is_400(call: Calls) -> None:
    answer = call(b"raise", "text/plain", output="raw")
    assert answer.status == 400
    assert answer.message.startswith("boom")


def test_void_output_is_answered_at_once_and_the_algorithm_runs_all_the_same(call: Calls) -> None:
    serve(call.platform, "ann/counts", ECHO)
    one = b'{"settings": {"scaling": {"max_replicas": 1}}}'  # while the first call sleeps, another worker would start
    assert ask(call.platform, "PUT", "/v1/algorithms/ann/counts", one, headers=JSON).status == 200
    began = time.monotonic()
    answer = call(b'{"sleep": 1.5}', to="ann/counts", output="void")
    assert time.monotonic() - began < 1.4
    assert answer.json["async"] == "void"
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert answer.headers["x-pushpoint-algorithm"] == "ann/counts"
    assert re.fullmatch(r"req-[0-9a-f-]{36}", answer.json["request_id"])
    assert set(answer.json) == {"async", "request_id"}, "`async_protocol` would mislead the Python client"
    assert call(b'"seen"', to="ann/counts").json["result"] == 2
    assert call(b"1", to="ann/missing", output="void").status == 404
    assert call(b"1", to="ann/counts/9.9.9", output="void").status == 404


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "3000.1", "x", "", "1e999", "\u0661\u0661x", "0x10"])
def test_a_timeout_that_is_none_is_refused(call: Calls, timeout: str) -> None:
    answer = call(b"1", timeout=timeout)
    assert answer.status == 400
    assert "3000" in answer.message


def test_a_timeout_may_be_fractional_and_is_an_answer(call: Calls) -> None:
    began = time.monotonic()
    answer = call(b'{"sleep": 30}', timeout="0.5")
    assert time.monotonic() - began < 15
    assert answer.status == 200, "clients lose the message of anything else"
    assert answer.json["error"]["error_type"] == "TimeoutError"
    raw = call(b'{"sleep": 30}', timeout="0.2", output="raw")
    assert raw.status == 504
    assert raw.json["error"]["error_type"] == "TimeoutError"
    assert call(b'"alive"', timeout="3000").json["result"] == "alive"


def test_what_it_prints_is_for_the_owner_who_asks(call: Calls) -> None:
    for yes in ("true", "True", "TRUE"):
        assert call(b"1", stdout=yes).json["metadata"]["stdout"] == "to stdout\nto stderr\n"
    for no in ("False", "false", "0", ""):
        assert "stdout" not in call(b"1", stdout=no).json["metadata"]
    failed = call(b"raise", "text/plain", stdout="true").json
    assert failed["metadata"]["stdout"] == "to stdout\nto stderr\n"
    theirs = call(b"1", stdout="true", key=call.bob)
    assert theirs.status == 200
    assert "stdout" not in theirs.json["metadata"]
    failed = call(b"raise", "text/plain", stdout="true", key=call.bob).json
    assert "stdout" not in failed["metadata"]
    assert failed["error"]["stacktrace"] == failed["error"]["stack_trace"] == "", "the stack shows the source"


def test_options_we_do_not_know_are_ignored(call: Calls) -> None:
    assert call(b"1", whatever="x", é="\u00e9").json["result"] == 1


def test_every_answer_names_what_answered(call: Calls) -> None:
    headers = call(b"1").headers
    assert headers["x-pushpoint-algorithm"] == "ann/echo"
    assert headers["x-pushpoint-version"] == "0.1.0"
    assert re.fullmatch("[0-9a-f]{40}", headers["x-pushpoint-commit"])
    ids = {call(b"1").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch(r"req-[0-9a-f-]{36}", one) for one in ids)
    failed = call(b"raise", "text/plain").headers
    assert failed["x-pushpoint-commit"] == headers["x-pushpoint-commit"]


def test_a_request_id_from_outside_is_not_taken_over(call: Calls) -> None:
    answer = ask(call.platform, "POST", "/v1/algo/ann/echo", b"1", headers=JSON | {"x-request-id": "mine"})
    assert answer.headers["x-request-id"].startswith("req-")


@pytest.fixture(scope="module")
def versions(call: Calls) -> dict[str, str]:
    """An algorithm with 0.1.0 public, 0.1.1 private, 0.2.0 public and an unpublished head; version -> commit."""
    platform, name = call.platform, "ann/versions"
    create(platform, name)
    commits = {}
    for version, part, callability in (
        ("0.1.0", "minor", "public"),
        ("0.1.1", "revision", "private"),
        ("0.2.0", "minor", "public"),
        ("head", "", ""),
    ):
        code = f"def apply(input):\n    return {version!r}\n"
        commits[version] = push(platform, name, {"src/versions.py": code})
        assert compile_head(platform, name)["compilation"]["successful"]
        if part:
            body = {
                "version_info": {"version_type": part},
                "settings": {"algorithm_callability": callability},
            }
            answer = ask(platform, "POST", f"/v1/algorithms/{name}/versions", json.dumps(body).encode(), headers=JSON)
            assert answer.json["version_info"]["semantic_version"] == version
    return commits


@pytest.mark.parametrize(
    ("selector", "owner", "other"),
    [
        ("", "0.2.0", "0.2.0"),
        ("/", "0.2.0", "0.2.0"),
        ("/latest", "0.2.0", "0.2.0"),
        ("/latestPrivate", "0.1.1", None),
        ("/0.1.0", "0.1.0", "0.1.0"),
        ("/0.1.0/", "0.1.0", "0.1.0"),
        ("/0.1.1", "0.1.1", None),
        ("/0.1", "0.1.1", "0.1.0"),
        ("/0.1.*", "0.1.1", "0.1.0"),
        ("/0.1.x", "0.1.1", "0.1.0"),
        ("/0.1.%2A", "0.1.1", "0.1.0"),
        ("/0.*", "0.2.0", "0.2.0"),
        ("/0", "0.2.0", "0.2.0"),
        ("/1.*", None, None),
        ("/0.3.0", None, None),
        ("/00.1.0", 400, 400),
        ("/a.b.c", 400, 400),
        ("/%E0%A4%B4", None, None),
        ("/0.1.0%00", 400, 400),
        ("/0.1.0/more", 400, 400),
        ("/-1", None, None),
        ("/9999999999", None, None),
    ],
)
def test_a_selector_stands_for_what_its_asker_may_see(
    call: Calls, versions: dict[str, str], selector: str, owner: str | int | None, other: str | int | None
) -> None:
    for key, expected in (("", owner), (call.bob, other)):
        answer = ask(call.platform, "POST", f"/v1/algo/ann/versions{selector}", b"1", key=key, headers=JSON)
        if isinstance(expected, str):
            assert answer.json["result"] == expected
            assert answer.headers["x-pushpoint-version"] == expected
            assert answer.headers["x-pushpoint-commit"] == versions[expected]
        else:
            assert answer.status == (expected or 404)


def test_a_commit_is_its_owners_to_call_published_or_not(call: Calls, versions: dict[str, str]) -> None:
    answer = call(b"1", to=f"ann/versions/{versions['head']}")
    assert answer.json["result"] == "head"
    assert "x-pushpoint-version" not in answer.headers
    assert call(b"1", to=f"ann/versions/{versions['0.1.0']}").json["result"] == "0.1.0"
    for commit in versions.values():
        assert call(b"1", to=f"ann/versions/{commit}", key=call.bob).status == 404
    unknown = call(b"1", to=f"ann/versions/{'a' * 40}")
    assert unknown.status == 404
    assert "version hash" in unknown.message, "a CI client waits while it reads these words"
    assert call(b"1", to=f"ann/versions/{versions['head'].upper()}").status == 404
    assert call(b"1", to=f"ann/versions/{versions['head'][:12]}").status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/algo/ann/echo/?timeout=5", 200),
        ("/v1/algo//ann/echo", 200),
        ("/v1/algo/ann%2Fecho", 200),
        ("/v1/algo/%61nn/ech%6F", 200),
        ("/v1/algo/algo://ann/echo", 200),
        ("/v1/algo/ann//echo", 400),
        ("/v1/algo/ann", 400),
        ("/v1/algo/", 400),
        ("/v1/algo", 400),
        ("/v1/algo/ann/..", 400),
        ("/v1/algo/../algorithms/ann/echo", 400),
        ("/v1/algo/ann/ec-ho", 400),
        ("/v1/algo/ann/echo%00", 400),
        ("/v1/algo/ann/echo%0d%0aX-Evil:1", 400),
        ("/v1/algo/ann/%ff", 400),
        ("/v1/algo/ann/" + "x" * 31, 400),
        ("/v1/algo/ann/Echo", 404),
        ("/v1/algo/ann/' OR 1=1".replace(" ", "%20"), 400),
        ("/v1/%61lgo/ann/echo", 404),
    ],
)
def test_paths(call: Calls, path: str, status: int) -> None:
    answer = ask(call.platform, "POST", path, b"1", headers=JSON)
    assert answer.status == status
    if status == 200:
        assert answer.json["result"] == 1
    assert "x-evil" not in answer.headers


def test_twenty_callers_at_once_get_their_own_answers(call: Calls) -> None:
    def one(number: int) -> Any:
        return call(json.dumps({"sleep": 0.02, "number": number}).encode()).json

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(one, range(20)))
    assert [answer["result"]["number"] for answer in answers] == list(range(20))


def test_a_caller_that_goes_away_harms_nobody(call: Calls) -> None:
    head = "POST /v1/algo/ann/echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n"
    for _ in range(5):
        with socket.create_connection(address(call.platform)) as connection:
            connection.sendall(f"{head}Authorization: {call.platform.key}\r\n\r\nhalf".encode())
    assert call(b'"alive"').json["result"] == "alive"
    assert '"bug"' not in (call.platform.home / "platform.log").read_text()


def test_a_manifest_cannot_inject_a_header(call: Calls) -> None:
    platform, model = call.platform, b"model"
    assert ask(platform, "POST", "/v1/data/ann", b"models").status == 200
    assert ask(platform, "PUT", "/v1/data/ann/models/m.bin", model).status == 200
    create(platform, "ann/injects")
    manifest = manifest_of(
        "ann/injects",
        "data://ann/models/m.bin",
        model,
        trained_at="c" * 40 + "\r\nX-Evil: 1\r\n\r\n<script>",
    )
    push(platform, "ann/injects", {"model_manifest.json": manifests.write(manifest)})
    built = compile_head(platform, "ann/injects")
    assert built["compilation"]["successful"], built["compilation"]["output"]
    publish(platform, "ann/injects")
    answer = call(b'"x"', to="ann/injects")
    assert answer.json["result"] == "hello x"
    assert answer.headers["x-pushpoint-model-sha256"] == manifest.model.hex
    assert "x-evil" not in answer.headers
    assert answer.headers["x-pushpoint-source-commit"].startswith("c" * 40 + " ")


def test_a_failed_build_cannot_be_called_and_leaves_the_live_release(call: Calls, tmp_path: Path) -> None:
    platform = call.platform
    serve(platform, "ann/breaks", "def apply(input):\n    return 1\n")
    where = remote(platform, "ann/breaks")
    git.run(["clone", "--quiet", where.url, str(tmp_path / "clone")], remote=where)
    commit = commit_and_push(tmp_path / "clone", {"src/breaks.py": "raise ImportError('broken')\n"}, where)
    built = compile_head(platform, "ann/breaks")
    assert built["compilation"]["successful"] is False
    assert "broken" in built["compilation"]["output"]
    assert built["build"]["status"] == "failed"
    assert call(b"1", to="ann/breaks").json["result"] == 1
    answer = call(b"1", to=f"ann/breaks/{commit}")
    assert answer.status == 404
    assert "version hash" in answer.message
    refused = ask(
        platform,
        "POST",
        "/v1/algorithms/ann/breaks/versions",
        json.dumps({"version_info": {"git_hash": commit}}).encode(),
        headers=JSON,
    )
    assert refused.status == 400
