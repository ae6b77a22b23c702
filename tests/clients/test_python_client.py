"""The old platform's own client, `algorithmia` 2.0.5 as it is on PyPI, against a platform that really runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pushpoint import manifest as manifests
from tests.clients import load
from tests.clients.front import Exchange, Front
from tests.clients.table import ALGORITHM, reaches
from tests.conftest import Platform, start_platform, stop_platform
from tests.engines.conftest import eventually
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

Algorithmia = load("Algorithmia")
acl = load("Algorithmia.acl")
OutputType = load("Algorithmia.algorithm").OutputType
AlgorithmException: type[Exception] = load("Algorithmia.errors").AlgorithmException
ApiError: type[Exception] = load("Algorithmia.errors").ApiError
DataApiError: type[Exception] = load("Algorithmia.errors").DataApiError

ECHO = """
def apply(input):
    print("seen", type(input).__name__)
    if input == "raise":
        return broken(input)
    return input

def broken(input):
    raise ValueError("na\\u00efve")
"""
DUPLICATE = "400|409"
DETAILS = {"label": "Hello", "summary": "Says hello", "tagline": "hello"}
SETTINGS = {"source_visibility": "closed", "license": "apl", "network_access": "full", "pipeline_enabled": True}


@contextlib.contextmanager
def opened(front: Front, key: str = "") -> Iterator[Any]:
    client = Algorithmia.client(key or front.platform.key, front.url)
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
def client(front: Front) -> Iterator[Any]:
    with opened(front) as found:
        yield found


def test_the_client_is_the_one_we_promise() -> None:
    from importlib.metadata import version

    assert version("algorithmia") == "2.0.5"


@reaches(
    "POST /v1/algorithms/{owner}",
    f"GET {ALGORITHM}",
    f"POST {ALGORITHM}/compile",
    f"GET {ALGORITHM}/builds",
    f"GET {ALGORITHM}/builds/{{build}}",
    f"GET {ALGORITHM}/builds/{{build}}/logs",
    f"GET {ALGORITHM}/versions",
    f"POST {ALGORITHM}/versions",
    f"GET {ALGORITHM}/versions/{{commit}}",
    "POST /v1/algo/{algorithm}",
    "POST /v1/algo/{algorithm}/{version}",
)
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
    with pytest.raises(Exception, match=DUPLICATE):
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


@reaches(
    f"PUT {ALGORITHM}",
)
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


def test_a_wrong_key_is_an_error_and_not_a_crash(front: Front) -> None:
    with opened(front, "sim" + "x" * 25) as client:
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


@reaches(
    "GET /v1/data/{path}",
    "HEAD /v1/data/{path}",
    "PUT /v1/data/{path}",
    "POST /v1/data/{path}",
    "DELETE /v1/data/{path}",
)
def test_a_collection_and_its_files(client: Any, tmp_path: Path) -> None:
    directory = client.dir("data://.my/papers")
    assert directory.exists() is False
    directory.create()
    assert directory.exists() is True
    with pytest.raises(Exception, match=DUPLICATE):
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


def test_environments_and_their_template(client: Any, tmp_path: Path) -> None:
    languages = client.get_supported_languages()
    assert [language["name"] for language in languages] == ["anaconda3", "python3"]
    for language in languages:
        found = client.get_environment(language["name"])["environments"]
        assert found[0]["display_name"] == "Python {}.{}".format(*sys.version_info[:2])
    assert "error" in client.get_environment("python2")
    for specification in (found[0]["environment_specification_id"], "36fd467e-fbfe-4ea6-aa66-df3f403b7132"):
        client.get_template(specification, str(tmp_path / specification))
        assert any(path.is_file() for path in (tmp_path / specification).rglob("*.py")), list(tmp_path.rglob("*"))


def test_access_lists(front: Front, client: Any) -> None:
    for kind in (acl.AclType.private, acl.AclType.my_algos, acl.AclType.public):
        directory = client.dir(f"data://.my/acl_{kind.pseudonym}")
        directory.create(acl.Acl(kind))
        assert directory.get_permissions().read_acl == kind
        directory.file("f").put("x")
        with opened(front, issue_key(front.platform, "bob")) as bob:
            assert bob.file(f"data://ann/acl_{kind.pseudonym}/f").exists() is (kind == acl.AclType.public)


def test_the_root_tells_the_callers_name(front: Front, client: Any) -> None:
    assert client.username() == "ann"
    with opened(front, issue_key(front.platform, "bob")) as bob:
        assert bob.username() == "bob"


def test_a_bearer_token_and_the_environment(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALGORITHMIA_API", front.url)
    monkeypatch.setenv("ALGORITHMIA_BEARER_TOKEN", front.platform.key)
    bearing = Algorithmia.Client()
    assert bearing.algo("ann/echo").pipe(1).result == 1
    bearing.requestSession.close()


REQUIREMENTS = "algorithmia==2.0.5\nsetuptools<80\n"  # the client imports packages that it does not name
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
def test_inside_an_algorithm_a_client_without_a_key_acts_for_the_caller(
    platform: Platform, front: Front, client: Any
) -> None:
    create(platform, "ann/inside")
    push(platform, "ann/inside", {"src/inside.py": INSIDE, "requirements.txt": REQUIREMENTS})
    built = compile_head(platform, "ann/inside")
    assert built["compilation"]["successful"], built["compilation"]["output"]
    publish(platform, "ann/inside", algorithm_callability="public")

    client.dir("data://.my/secrets").create(acl.Acl(acl.AclType.private))
    client.file("data://.my/secrets/f").put("ann's own")
    with opened(front, issue_key(front.platform, "bob")) as bob:
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


@reaches("PATCH /v1/data/{path}")
def test_an_access_list_changes(front: Front, client: Any) -> None:
    directory = client.dir("data://.my/changing")
    directory.create(acl.Acl(acl.AclType.private))
    directory.file("f").put("x")
    with opened(front, issue_key(front.platform, "bob")) as bob:
        assert bob.file("data://ann/changing/f").exists() is False
        assert directory.update_permissions(acl.Acl(acl.AclType.public)) is True
        assert directory.get_permissions().read_acl == acl.AclType.public
        assert bob.file("data://ann/changing/f").getString() == "x"
        with pytest.raises(DataApiError):
            bob.dir("data://ann/changing").update_permissions(acl.Acl(acl.AclType.private))


def test_a_folder_goes_there_and_back_as_zip(client: Any, tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    for name in ("a", "b"):
        (tmp_path / "sent" / name).write_text(name * 1000)
    client.dir("data://.my/zipped").create()
    client.file("data://.my/zipped/f.zip").putAsZip(str(tmp_path / "sent"))
    got = Path(client.file("data://.my/zipped/f.zip").getAsZip())
    assert {path.name: path.read_text() for path in got.iterdir()} == {"a": "a" * 1000, "b": "b" * 1000}
    assert sorted(path.name for path in Path(client.dir("data://.my/zipped").getDir()).iterdir()) == ["f.zip"]


def test_a_file_is_read_line_by_line(client: Any) -> None:
    client.dir("data://.my/lines").create()
    client.file("data://.my/lines/f").put("one\ntwo\nthree")
    assert client.dir("data://.my/lines").file("f").readlines() == ["one\n", "two\n", "three"]
    part = client.file("data://.my/lines/f")
    assert part.seek(4) == 4
    assert part.read() == "two\nthree"


@reaches("GET /v1/scms", f"GET {ALGORITHM}/scm/status")
def test_git_hosts(client: Any) -> None:
    found = client.scms()["results"]
    inside = [scm for scm in found if scm["id"] == "internal"]
    assert [(scm["provider"], scm["default"], scm["enabled"]) for scm in inside] == [("internal", True, True)]
    assert [scm["id"] for scm in found if scm["default"]] == ["internal"]
    assert client.algo("ann/echo").get_scm_status()["scm_connection_status"] == "active"


@reaches("GET /v1/organization/types", "POST /v1/users", "POST /v1/organizations")
@reaches(
    "GET /v1/organizations/{organization}",
    "PUT /v1/organizations/{organization}",
    "PUT /v1/organizations/{organization}/members/{user}",
)
def test_users_and_organizations(front: Front) -> None:
    with opened(front, (front.platform.home / "admin-key").read_text().strip()) as admin:
        manage(front, admin)


def manage(front: Front, client: Any) -> None:
    """With the admin key, which is good for accounts alone."""
    asked = {"username": "a_Mrtest2", "email": "a_Mrtest2@mail.example", "passwordHash": "", "shouldCreateHello": False}
    user = client.create_user(dict(asked))
    assert (user["username"], user["email"], user["resource_type"]) == ("a_Mrtest2", asked["email"], "user")
    with pytest.raises(Exception, match="Failure"):
        client.create_user(dict(asked))

    assert {kind["name"] for kind in client.get_org_types()} == {"basic", "legacy", "pro"}
    described = {
        "org_name": "a_myOrg84",
        "org_label": "some label",
        "org_contact_name": "Some owner",
        "org_email": "a_myOrg84@mail.example",
        "type_id": "basic",
    }
    made = client.create_org(dict(described))
    assert (made["org_name"], made["resource_type"]) == ("a_myOrg84", "organization")
    shown = client.get_org("a_myOrg84")
    assert (shown["org_label"], shown["org_email"]) == ("some label", "a_myOrg84@mail.example")

    edited = client.edit_org("a_myOrg84", shown | {"org_label": "another label", "type_id": "basic"})
    assert (edited.status_code, edited.content) == (204, b"")
    assert client.get_org("a_myOrg84")["org_label"] == "another label"

    for _ in range(2):  # adding, and adding one who is a member: the client's suite wants 200 without a body
        invited = client.invite_to_org("a_myOrg84", "a_Mrtest2")
        assert invited.content == b""
        assert invited.status_code in {200, 201}
    with opened(front, issue_key(front.platform, "bob")) as bob:
        hidden, missing = bob.get_org("a_myOrg84"), bob.get_org("a_myOrg85")
        assert hidden["error"]["message"].replace("84", "85") == missing["error"]["message"]


@reaches("GET /v1/secret-provider", f"GET {ALGORITHM}/secrets", f"POST {ALGORITHM}/secrets")
def test_a_secret_is_kept_and_reaches_the_algorithm(platform: Platform, client: Any) -> None:
    create(platform, "ann/keeper")
    algorithm = client.algo("ann/keeper")
    kept = algorithm.set_secret("short", "KEEPER_TOKEN", "s3cret-value", "what for")
    assert {kept[name] for name in ("short_name", "secret_key", "description", "owner_type")} == {
        "short",
        "KEEPER_TOKEN",
        "what for",
        "algorithm",
    }
    listed = algorithm.get_secrets()
    assert "s3cret-value" not in str(kept) + str(listed)
    assert [one["id"] for one in listed["secrets"]] == [kept["id"]]
    assert listed["results"] == listed["secrets"]
    push(platform, "ann/keeper", {"src/keeper.py": "import os\ndef apply(input): return os.environ['KEEPER_TOKEN']\n"})
    built = algorithm.compile()
    assert client.algo(f"ann/keeper/{built['version_info']['git_hash']}").pipe("x").result == "s3cret-value"


@reaches(f"GET {ALGORITHM}/errors", "GET /v1/users/{user}/errors")
def test_errors_are_reported(client: Any) -> None:
    with pytest.raises(AlgorithmException):
        client.algo("ann/echo").pipe("raise")
    about = client.algo("ann/echo").get_algorithm_id()
    eventually(lambda: client.get_algorithm_errors(about), 20)  # a call does not wait until its report is on disk
    for report in (client.get_algorithm_errors(about), client.get_user_errors("ann")):
        newest = report[0]
        assert (newest["username"], newest["algoname"], newest["error_type"]) == ("ann", "echo", "AlgorithmError")
        assert "na\u00efve" in newest["error"]
        assert abs(newest["created_at"] / 1000 - time.time()) < 600
        assert len(newest["input"]) <= 128
    assert client.get_user_errors("nobody_of_that_name") == []
    assert client.get_organization_errors("none_of_that_name") == []


@reaches(
    "GET /v1/algorithm-environments/edge/languages",
    "GET /v1/algorithm-environments/edge/languages/{language}/environments",
    "GET /v1/algorithm-environments/edge/environment-specifications/{id}/template",
)
def test_languages_their_environments_and_a_template(client: Any, tmp_path: Path) -> None:
    languages = client.get_supported_languages()
    assert all({"name", "display_name", "configuration"} <= set(language) for language in languages)
    assert "python3" in {language["name"] for language in languages}
    found = client.get_environment("python3")["environments"]
    for environment in found:
        assert {"id", "environment_specification_id", "display_name", "description", "language"} <= set(environment)
        assert environment["machine_type"] in {"CPU", "GPU"}
    answer = client.get_template(found[0]["environment_specification_id"], str(tmp_path / "template"))
    assert answer.ok
    assert any(path.is_file() for path in (tmp_path / "template" / "src").iterdir())


def test_freezing_a_manifest(client: Any, tmp_path: Path) -> None:
    client.dir("data://.my/frozen").create()
    client.file("data://.my/frozen/model").put(b"weights")
    wanted = {"name": "m", "source_uri": "data://.my/frozen/model", "fail_on_tamper": True, "metadata": {}}
    (tmp_path / "model_manifest.json").write_text(json.dumps({"required_files": [wanted], "optional_files": []}))
    client.freeze(str(tmp_path / "model_manifest.json"), str(tmp_path))
    frozen = json.loads((tmp_path / "model_manifest.json.freeze").read_text())
    assert frozen["required_files"][0]["md5_checksum"] == hashlib.md5(b"weights").hexdigest()
    assert len(frozen["lock_checksum"]) == 32


@reaches(f"DELETE {ALGORITHM}")
def test_the_helper_for_deleting_takes_no_content_for_what_it_is(platform: Platform, client: Any) -> None:
    create(platform, "ann/passing")
    answer = client.deleteHelper("/v1/algorithms/ann/passing")
    assert (answer.status_code, answer.reason, answer.content) == (204, "No Content", b"")
    assert client.algo("ann/passing").exists() is False


REPORTING = """
import Algorithmia
import requests

post, statuses = requests.post, []

def heard(*arguments, **options):
    answer = post(*arguments, **options)
    statuses.append(answer.status_code)
    return answer

def apply(input):
    requests.post = heard  # the client does not tell what it was answered
    Algorithmia.client().report_insights({"confidence": 0.5, "seen": input})
    return statuses
"""


@pytest.mark.slow
@reaches("POST /v1/insights")
def test_insights_are_taken_from_inside_an_algorithm(platform: Platform, front: Front, client: Any) -> None:
    create(platform, "ann/reporting")
    push(platform, "ann/reporting", {"src/reporting.py": REPORTING, "requirements.txt": REQUIREMENTS})
    built = client.algo("ann/reporting").compile()
    assert built["compilation"]["successful"], built["compilation"]["output"]
    statuses = client.algo(f"ann/reporting/{built['version_info']['git_hash']}").pipe("x").result
    # from inside an algorithm the client does not go through our front
    front.seen += [Exchange("POST", "/v1/insights", secure=False, status=status) for status in statuses]
