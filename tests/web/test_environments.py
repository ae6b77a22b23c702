"""Which Pythons there are, which one an algorithm gets, and what cannot be had for it."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from pushpoint.interpreters import OWN, Interpreter, find_interpreters
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, ask, compile_head, publish, push

INTERPRETERS = find_interpreters()
EDGE = "/v1/algorithm-environments/edge"
NUMBERS = itertools.count()
VERSION = "import sys\n\n\ndef apply(input):\n    return list(sys.version_info[:2])\n"
PINS = "flask==1.1.1\nnumpy==1.18.2\npandas==1.0.3\nscikit-learn==0.22.2.post1\ngunicorn==20.0.4\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    yield running
    stop_platform(running)


def create(platform: Platform, name: str, **settings: Any) -> dict[str, Any]:
    body = json.dumps({"name": name, "details": {"label": name}, "settings": settings}).encode()
    answer = ask(platform, "POST", "/v1/algorithms/ann", body, headers=JSON)
    assert answer.status == 201, answer.body
    return dict(answer.json["settings"])


def interpreter_of(version: str) -> Interpreter:
    found = next((one for one in INTERPRETERS if one.version == version), None)
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    return found


def test_the_platforms_own_python_comes_first_and_each_has_an_id_of_its_own() -> None:
    assert INTERPRETERS[0] == OWN
    assert len({one.id for one in INTERPRETERS}) == len({one.minor for one in INTERPRETERS}) == len(INTERPRETERS)
    assert all(one.minor >= 8 for one in INTERPRETERS)
    seven = Interpreter(minor=8, release="3.8.1", path=OWN.path)
    assert seven.id == "4bd23a4d-37da-5375-9dc5-fd1d6e5a8207", "ids stay what they were: scripts hold them"


def test_old_clients_find_languages_environments_and_the_template(platform: Platform) -> None:
    languages = ask(platform, "GET", f"{EDGE}/languages").json
    assert [language["name"] for language in languages] == ["anaconda3", "python3"]
    assert "requirements.txt" in json.loads(languages[0]["configuration"])["req_files"]
    listed = ask(platform, "GET", f"{EDGE}/languages/python3/environments").json["environments"]
    assert [one["display_name"] for one in listed] == [f"Python {one.version}" for one in INTERPRETERS]
    assert listed[0]["language"]["name"] == "python3"
    assert listed[0]["machine_type"] == "CPU"
    for path in (
        "/webapi/v1/algorithm-environments/languages/anaconda3/environments",
        f"{EDGE}/languages/anaconda3/environments",
    ):
        assert [one["id"] for one in ask(platform, "GET", path).json["environments"]] == [one["id"] for one in listed]
    assert ask(platform, "GET", "/webapi/v1/algorithm-environments/environments/current").json == listed
    assert ask(platform, "GET", "/webapi/v1/algorithm-environments/environments/available").json == []

    template = f"{EDGE}/environment-specifications/{listed[0]['environment_specification_id']}/template"
    answers = [ask(platform, "GET", template, key=None) for _ in range(2)]
    assert answers[0].status == 200
    assert answers[0].body == answers[1].body
    with tarfile.open(fileobj=io.BytesIO(answers[0].body), mode="r:gz") as files:
        assert "src/NAME.py" in files.getnames()
        assert "hello" in files.extractfile("src/NAME.py").read().decode()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("languages", None, 401),
        ("languages/python3/environments", None, 401),
        ("languages/python2/environments", "", 404),
        ("languages/rust/environments", "", 404),
        ("languages/%00/environments", "", 404),
        ("environment-specifications/4bd23a4d-37da-5375-9dc5-000000000000/template", None, 404),
        ("environment-specifications/x/template", None, 404),
    ],
)
def test_what_is_not_offered_is_refused(platform: Platform, path: str, key: str | None, status: int) -> None:
    answer = ask(platform, "GET", f"{EDGE}/{path}", key=key)
    assert answer.status == status
    assert answer.message


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_an_algorithm_runs_on_the_python_that_it_chose(platform: Platform, version: str) -> None:
    interpreter, name = interpreter_of(version), f"on{version.replace('.', '_')}"
    assert create(platform, name, algorithm_environment=interpreter.id)["algorithm_environment"] == interpreter.id
    push(platform, f"ann/{name}", {f"src/{name}.py": VERSION})
    log = compile_head(platform, f"ann/{name}")["compilation"]["output"]
    assert f"Python {interpreter.release}, environment {interpreter.id}" in log
    publish(platform, f"ann/{name}")
    assert ask(platform, "POST", f"/v1/algo/ann/{name}", b"1", headers=JSON).json["result"] == [3, interpreter.minor]


@pytest.mark.parametrize(
    ("settings", "version"),
    [
        ({"package_set": "python38"}, "3.8"),
        ({"package_set": "Python 3.8"}, "3.8"),
        ({"language": "python3.9"}, "3.9"),
        ({"language": "python310"}, "3.10"),
        ({"algorithm_environment": "abcd-123"}, OWN.version),
        ({"algorithm_environment": "abcd-123", "package_set": "python38"}, "3.8"),
        ({"language": "python3-1", "environment": "gpu"}, OWN.version),
        ({"language": "python2-langpack"}, OWN.version),
        ({"package_set": "python37"}, OWN.version),
        ({}, OWN.version),
    ],
)
def test_settings_choose_a_python_and_unknown_ones_mean_the_platforms_own(
    platform: Platform, settings: dict[str, Any], version: str
) -> None:
    interpreter = interpreter_of(version)
    assert create(platform, f"chosen{next(NUMBERS)}", **settings)["algorithm_environment"] == interpreter.id


def test_a_change_of_the_python_counts_from_the_next_build_on(platform: Platform) -> None:
    other = INTERPRETERS[-1]
    create(platform, "changed")

    def update(**settings: str) -> str:
        body = json.dumps({"settings": settings}).encode()
        answer = ask(platform, "PUT", "/v1/algorithms/ann/changed", body, headers=JSON)
        assert answer.status == 200
        return str(answer.json["settings"]["algorithm_environment"])

    assert update(algorithm_environment=other.id) == other.id
    assert update(algorithm_environment="abcd-123") == other.id
    assert update(license="apl") == other.id
    push(platform, "ann/changed", {"src/changed.py": VERSION})
    assert f"Python {other.release}" in compile_head(platform, "ann/changed")["compilation"]["output"]
    assert update(package_set=f"python{OWN.version}") == OWN.id
    push(platform, "ann/changed", {"note": "again"})
    assert f"Python {OWN.release}" in compile_head(platform, "ann/changed")["compilation"]["output"]


@pytest.mark.slow
def test_pins_of_2020_build_on_python_3_8_and_are_refused_at_once_on_the_platforms_own(platform: Platform) -> None:
    eight = interpreter_of("3.8")
    code = "import numpy, pandas, sklearn\n\n\ndef apply(input):\n    return numpy.__version__\n"
    for name, environment in (("old", eight.id), ("new", OWN.id)):
        create(platform, name, algorithm_environment=environment)
        push(platform, f"ann/{name}", {f"src/{name}.py": code, "requirements.txt": PINS})
    new, old = (compile_head(platform, f"ann/{name}")["compilation"] for name in ("new", "old"))
    assert not new["successful"]
    assert f"no wheel for Python {OWN.version} of numpy==1.18.2, pandas==1.0.3, scikit-learn" in new["output"]
    assert "Python 3.8 would do: choose it as the algorithm's environment" in new["output"]
    assert "building contained" not in new["output"]
    assert old["successful"], old["output"]
    publish(platform, "ann/old")
    assert ask(platform, "POST", "/v1/algo/ann/old", b"1", headers=JSON).json["result"] == "1.18.2"
