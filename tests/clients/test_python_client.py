"""The old platform's own client, `algorithmia` 2.0.5 as it is on PyPI, against a platform that really runs."""

from __future__ import annotations

import contextlib
import hashlib
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pushpoint import manifest as manifests
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import (
    commit_and_push,
    compile_head,
    create,
    issue_key,
    manifest_of,
    publish,
    push,
    run_git,
    serve,
)

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "invalid escape sequence", SyntaxWarning)
    warnings.filterwarnings("ignore", "invalid escape sequence", DeprecationWarning)
    Algorithmia: Any = import_module("Algorithmia")
acl: Any = import_module("Algorithmia.acl")
OutputType: Any = import_module("Algorithmia.algorithm").OutputType
AlgorithmException: type[Exception] = import_module("Algorithmia.errors").AlgorithmException
ApiError: type[Exception] = import_module("Algorithmia.errors").ApiError
DataApiError: type[Exception] = import_module("Algorithmia.errors").DataApiError

ECHO = """
def apply(input):
    print("seen", type(input).__name__)
    if input == "raise":
        return broken(input)
    return input

def broken(input):
    raise ValueError("na\\u00efve")
"""
DETAILS = {"label": "Hello", "summary": "Says hello", "tagline": "hello"}
SETTINGS = {"source_visibility": "closed", "license": "apl", "network_access": "full", "pipeline_enabled": True}


@contextlib.contextmanager
def opened(platform: Platform, key: str = "") -> Iterator[Any]:
    client = Algorithmia.client(key or platform.key, platform.url)
    try:
        yield client
    finally:
        client.requestSession.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/echo", ECHO, algorithm_callability="public")
    yield running
    stop_platform(running)


@pytest.fixture
def client(platform: Platform) -> Iterator[Any]:
    with opened(platform) as found:
        yield found


def test_the_client_is_the_one_we_promise() -> None:
    from importlib.metadata import version

    assert version("algorithmia") == "2.0.5"


def test_from_python_alone_an_algorithm_its_code_and_its_model_go_live(
    platform: Platform, client: Any, tmp_path: Path
) -> None:
    """Create, push code, upload a model, compile, call by hash, publish, call."""
    algorithm = client.algo("ann/greeter")
    assert algorithm.exists() is False
    created = algorithm.create(
        details=DETAILS, settings=SETTINGS | {"algorithm_environment": "abcd-123"}, version_info={"sample_input": "x"}
    )
    assert created["resource_type"] == "algorithm"
    assert created["name"] == "greeter"
    assert created["details"] == DETAILS
    assert created["settings"]["algorithm_callability"] == "private"
    assert algorithm.exists() is True
    with pytest.raises(Exception, match="409"):
        algorithm.create(details=DETAILS, settings=SETTINGS)

    first = algorithm.compile()
    template = first["version_info"]["git_hash"]
    assert client.algo(f"ann/greeter/{template}").pipe("John").result == "hello John"
    assert len(algorithm.get_builds()["results"]) == 1, "the Node client's suite wants exactly one"

    model = b"Guten Tag"
    client.dir("data://.my/greetings").create()
    client.file("data://.my/greetings/german.txt").put(model)

    host = platform.url.removeprefix("http://")
    url = f"http://ann:{quote(platform.key, safe='')}@{host}/git/ann/greeter.git"
    clone = tmp_path / "greeter"
    assert run_git("clone", "--quiet", url, str(clone)).returncode == 0
    code = """
from pathlib import Path
from pushpoint.runtime import model

def load():
    return None

def apply(input):
    return Path(model.path).read_text() + ", " + input
"""
    manifest = manifest_of("ann/greeter", "data://ann/greetings/german.txt", model)
    commit = commit_and_push(clone, {"src/greeter.py": code, "model_manifest.json": manifests.write(manifest)}, None)
    pushed = run_git("push", "--quiet", "origin", "master", cwd=clone)
    assert pushed.returncode == 0, pushed.stderr

    compiled = algorithm.compile()
    assert compiled["compilation"]["successful"] is True, compiled["compilation"]["output"]
    assert compiled["version_info"]["git_hash"] == commit
    assert "semantic_version" not in compiled["version_info"], "what is not known is left out"
    assert client.algo(f"ann/greeter/{commit}").pipe("John").result == "Guten Tag, John"

    published = algorithm.publish(version_info={"version_type": "minor", "release_notes": "first", "sample_input": "x"})
    assert published["version_info"]["semantic_version"] == "0.1.0"
    assert published["version_info"]["git_hash"] == commit
    assert published["version_info"]["release_notes"] == "first"
    assert client.algo("ann/greeter").pipe("Jos\u00e9").result == "Guten Tag, Jos\u00e9"
    assert client.algo("algo://ann/greeter/0.1.0").pipe("x").result == "Guten Tag, x"
    with pytest.raises(Exception, match="409"):
        algorithm.publish()

    builds = algorithm.get_builds()["results"]
    assert [build["commit_sha"] for build in builds] == [commit, template]
    for build in builds:
        assert set(build) >= {"build_id", "status", "commit_sha", "started_at", "finished_at", "resource_type"}
        assert build["status"] == "succeeded"
        assert build["resource_type"] == "algorithm_build"
        assert algorithm.get_build(build["build_id"]) == build
        assert "Beginning container customization" in algorithm.get_build_logs(build["build_id"])["logs"]
    page = algorithm.get_builds(limit=1)
    assert [build["commit_sha"] for build in page["results"]] == [commit]
    rest = algorithm.get_builds(limit=1, marker=page["marker"])
    assert [build["commit_sha"] for build in rest["results"]] == [template]
    assert rest["marker"] is None

    assert algorithm.info(commit)["version_info"]["semantic_version"] == "0.1.0"
    newest = algorithm.info()["results"][0]
    assert newest["resource_type"] == "algorithm"
    assert newest["version_info"]["git_hash"] == commit
    listed = algorithm.versions(limit=5)["results"]
    assert [one["version_info"].get("semantic_version") for one in listed] == ["0.1.0", None], "builds are versions too"
    published = algorithm.versions(limit=5, published="true")["results"]
    assert [one["version_info"]["semantic_version"] for one in published] == ["0.1.0"]
    assert algorithm.versions(limit=5, callable="true")["results"] == []
    assert len(algorithm.versions(limit=5, callable="false", published="true")["results"]) == 1


def test_update_sends_a_form_and_changes_nothing(client: Any) -> None:
    before = client.algo("ann/echo").info()
    answered = client.algo("ann/echo").update(details={"label": "x"}, settings={"license": "gpl3"})
    assert answered["id"]
    assert client.algo("ann/echo").info() == before


@pytest.mark.parametrize(
    "value",
    ["text", "\u00fc\u4e2d\U0001f600", "", {"a": [1, 2.0, None, True, "\u00e9"]}, [1, 2], 5, 1.5, None, True, {}],
)
def test_text_and_json_come_back_as_they_went(client: Any, value: object) -> None:
    answer = client.algo("ann/echo").pipe(value)
    assert answer.result == value
    assert type(answer.result) is type(value)
    assert answer.metadata.duration >= 0
    assert answer.metadata.content_type == ("text" if isinstance(value, str) else "json")
    assert answer.metadata.stdout is None


@pytest.mark.parametrize("value", [b"\x00\xff\xfe", bytearray(b"bytes"), b""])
def test_bytes_come_back_as_bytes(client: Any, value: bytes | bytearray) -> None:
    answer = client.algo("ann/echo").pipe(value)
    assert answer.result == bytes(value)
    assert answer.metadata.content_type == "binary"


@pytest.mark.parametrize("reference", ["ann/echo", "/ann/echo", "algo://ann/echo", "algo://ann/echo/0.1.0"])
def test_each_way_to_write_a_reference(client: Any, reference: str) -> None:
    assert client.algo(reference).pipe(1).result == 1


def test_raw_and_void_output(client: Any) -> None:
    algorithm = client.algo("ann/echo")
    assert algorithm.set_options(output=OutputType.raw).pipe("gr\u00fc\u00dfe") == "gr\u00fc\u00dfe"
    assert algorithm.set_options(output=OutputType.raw).pipe({"a": "b c"}) == '{"a":"b c"}'
    started = algorithm.set_options(output=OutputType.void).pipe("x")
    assert started.request_id.startswith("req-")
    with pytest.raises(Exception, match="400"):
        algorithm.set_options(output=OutputType.raw).pipe("raise")


def test_an_algorithms_own_exception_arrives_whole(client: Any) -> None:
    with pytest.raises(AlgorithmException) as caught:
        client.algo("ann/echo").pipe("raise")
    found: Any = caught.value
    assert found.message == "na\u00efve"
    assert found.error_type == "AlgorithmError"
    assert "in broken" in found.stack_trace
    assert isinstance(caught.value, ApiError)


def test_options(client: Any) -> None:
    algorithm = client.algo("ann/echo")
    assert algorithm.set_options(stdout=True, timeout=5).pipe("x").metadata.stdout == "seen str\n"
    assert algorithm.set_options(stdout=False, anything="else").pipe("x").metadata.stdout is None


def test_a_wrong_key_is_an_error_and_not_a_crash(platform: Platform) -> None:
    with opened(platform, "sim" + "x" * 25) as client:
        with pytest.raises(Exception, match="401"):
            client.algo("ann/echo").pipe("x")
        with pytest.raises(AlgorithmException, match="authorization required"):
            client.algo("ann/echo").info()
        assert client.file("data://ann/x/y").exists() is False
        with pytest.raises(DataApiError, match="authorization required"):
            list(client.dir("data://ann/x").list())


def test_what_does_not_exist(client: Any) -> None:
    assert client.algo("ann/nothing").exists() is False
    with pytest.raises(AlgorithmException, match="No such algorithm"):
        client.get_algorithm_errors("hello")
    with pytest.raises(AlgorithmException, match="No such algorithm"):
        client.algo("ann/nothing").get_builds()


def test_a_collection_and_its_files(client: Any, tmp_path: Path) -> None:
    directory = client.dir("data://.my/papers")
    assert directory.exists() is False
    directory.create()
    assert directory.exists() is True
    with pytest.raises(Exception, match="409"):
        directory.create()

    content = "na\u00efve caf\u00e9 \U0001f600\r\n"
    directory.file("text.txt").put(content)
    directory.file("data.json").putJson({"a": ["\u00e9", 1]})
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    client.file("data://.my/papers/with space+and plus").putFile(str(tmp_path / "binary"))
    client.file("data://.my/papers/number").put("123")
    client.file("data://.my/papers/empty").put(b"")
    (tmp_path / "nothing").touch()
    client.file("data://.my/papers/empty_file").putFile(str(tmp_path / "nothing"))

    assert client.file("data://.my/papers/text.txt").getString() == content
    assert client.file("data://ann/papers/text.txt").getBytes() == content.encode()
    assert client.file("data://.my/papers/data.json").getJson() == {"a": ["\u00e9", 1]}
    path = client.file("data://.my/papers/with space+and plus").getFile(as_path=True)
    assert Path(path).read_bytes() == (tmp_path / "binary").read_bytes()
    with client.file("data://.my/papers/text.txt").getFile() as file:
        assert file.name
    assert client.file("data://.my/papers/empty").getString() == ""
    assert client.file("data://.my/papers/empty_file").getBytes() == b""
    assert client.file("data://.my/papers/text.txt").exists() is True
    missing = client.file("data://.my/papers/missing")
    assert missing.exists() is False
    with pytest.raises(DataApiError, match="data://ann/papers/missing not found"):
        missing.getString()

    listed = {file.getName(): file for file in directory.files()}
    assert set(listed) == {"text.txt", "data.json", "with space+and plus", "number", "empty", "empty_file"}
    assert listed["number"].size == 3
    assert abs(listed["number"].last_modified.timestamp() - time.time()) < 86_400 * 2
    assert "papers" in [one.getName() for one in client.dir("data://ann").dirs()]

    assert client.file("data://.my/papers/number").delete() is True
    with pytest.raises(DataApiError, match="not found"):
        client.file("data://.my/papers/number").delete()
    with pytest.raises(DataApiError, match="force"):
        directory.delete()
    assert directory.delete(force=True) is True
    assert directory.exists() is False


def test_access_lists(platform: Platform, client: Any) -> None:
    for kind in (acl.AclType.private, acl.AclType.my_algos, acl.AclType.public):
        directory = client.dir(f"data://.my/acl_{kind.pseudonym}")
        directory.create(acl.Acl(kind))
        assert directory.get_permissions().read_acl == kind
        directory.file("f").put("x")
        with opened(platform, issue_key(platform, "bob")) as bob:
            assert bob.file(f"data://ann/acl_{kind.pseudonym}/f").exists() is (kind == acl.AclType.public)


def test_the_root_tells_the_callers_name(platform: Platform, client: Any) -> None:
    assert client.username() == "ann"
    with opened(platform, issue_key(platform, "bob")) as bob:
        assert bob.username() == "bob"


def test_a_bearer_token_and_the_environment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALGORITHMIA_API", platform.url)
    monkeypatch.setenv("ALGORITHMIA_BEARER_TOKEN", platform.key)
    bearing = Algorithmia.Client()
    assert bearing.algo("ann/echo").pipe(1).result == 1
    bearing.requestSession.close()


INSIDE = """
import Algorithmia

def apply(input):
    client = Algorithmia.client()
    return {
        "username": client.username(),
        "read": client.file(input["file"]).getString(),
        "called": client.algo("ann/echo").pipe(input["text"]).result,
        "nested": client.algo("ann/echo").pipe({"x": [1, 2.0]}).result,
        "foreign": client.file("data://ann/secrets/f").exists(),
    }
"""


@pytest.mark.slow
def test_inside_an_algorithm_a_client_without_a_key_acts_for_the_caller(platform: Platform, client: Any) -> None:
    create(platform, "ann/inside")
    # the client imports packages that it does not name
    push(platform, "ann/inside", {"src/inside.py": INSIDE, "requirements.txt": "algorithmia==2.0.5\nsetuptools<80\n"})
    built = compile_head(platform, "ann/inside")
    assert built["compilation"]["successful"], built["compilation"]["output"]
    publish(platform, "ann/inside", algorithm_callability="public")

    client.dir("data://.my/secrets").create(acl.Acl(acl.AclType.private))
    client.file("data://.my/secrets/f").put("ann's own")
    with opened(platform, issue_key(platform, "bob")) as bob:
        bob.dir("data://.my/papers").create(acl.Acl(acl.AclType.private))
        bob.file("data://.my/papers/f").put("bob's own \u00e9")
        answer = bob.algo("ann/inside").pipe({"file": "data://.my/papers/f", "text": "\u4e2d"}).result
    assert answer == {
        "username": "bob",
        "read": "bob's own \u00e9",
        "called": "\u4e2d",
        "nested": {"x": [1, 2.0]},
        "foreign": False,
    }
    answer = client.algo("ann/inside").pipe({"file": "data://.my/secrets/f", "text": "x"}).result
    assert (answer["username"], answer["read"], answer["foreign"]) == ("ann", "ann's own", True)


def test_a_large_file_survives_the_journey(client: Any, tmp_path: Path) -> None:
    content = hashlib.sha256(b"seed").digest() * (1 << 18)  # 8 MiB
    (tmp_path / "large").write_bytes(content)
    client.dir("data://.my/large").create()
    client.file("data://.my/large/f").putFile(str(tmp_path / "large"))
    path = client.file("data://.my/large/f").getFile(as_path=True)
    assert hashlib.sha256(Path(path).read_bytes()).digest() == hashlib.sha256(content).digest()
