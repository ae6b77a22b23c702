"""Releases as a person goes back and forth between them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pushpoint.names import algorithm_name
from tests.conftest import Platform
from tests.repositories import Repository, checked_in

NAME = algorithm_name("ann/going")


@pytest.fixture(scope="module")
def going(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Deploy three releases that are well, and a fourth whose smoke test fails."""
    repository = checked_in(tmp_path_factory.mktemp("ml"), "going", "model 1")
    for number in (1, 2, 3):
        repository.write("model.pkl", f"model {number}")
        repository.commit()
        assert repository.deploy(platform).version == f"0.{number}.0"
    wrong = [{"case_name": "impossible", "input": 1, "expected_output": 2, "type": "EXACT_MATCH"}]
    repository.write("going/TEST_CASES.json", json.dumps(wrong))
    repository.commit()
    assert repository.deploy(platform).code == 7
    return repository


def live(platform: Platform) -> str:
    with platform.client() as client:
        found = client.live(NAME)
    assert found
    return found.release.version


def called(platform: Platform, repository: Repository, selector: str) -> str:
    ran = repository.run(platform, "call", selector, "--json", "--text", "x")
    assert ran.code == 0, ran.err
    return str(ran.json["lineage"]["version"])


def test_a_release_that_failed_is_listed_as_such_and_is_not_the_latest(platform: Platform, going: Repository) -> None:
    listed = going.run(platform, "releases", "--json").json
    assert [(found["version"], found["state"]) for found in listed] == [
        ("0.4.0", "failed"),
        ("0.3.0", "live"),
        ("0.2.0", "retired"),
        ("0.1.0", "retired"),
    ]
    spoken = going.run(platform, "releases")
    assert [line.split()[:2] for line in spoken.out.splitlines() if "0.4.0" in line] == [["failed", "0.4.0"]]
    for selector in ("going/latest", "going/0"):
        assert called(platform, going, selector) == "0.3.0", selector
    assert called(platform, going, "going/0.4.0") == "0.4.0", "by its name it can be called"


def test_a_version_can_be_called_without_its_owner(platform: Platform, going: Repository) -> None:
    for selector in ("going/0.1.0", "algo://going/0.1.0"):
        assert called(platform, going, selector) == "0.1.0", selector


def test_an_input_can_be_read_from_a_file(platform: Platform, going: Repository) -> None:
    (going.directory / ".git" / "input.json").write_text('{"ä": [1, null]}', encoding="utf-8")
    ran = going.run(platform, "call", "going", "-d", "@.git/input.json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["input"] == {"ä": [1, None]}
    for bad in ("@.git/nowhere", "@.git/HEAD"):
        ran = going.run(platform, "call", "going", "-d", bad)
        assert ran.code == 2, bad
        assert "Traceback" not in ran.err


@contextmanager
def damaged(platform: Platform, content: str) -> Iterator[str]:
    digest = hashlib.sha256(content.encode()).hexdigest()
    blob = platform.home / "store" / "sha256" / digest[:2] / digest[2:]
    assert blob.read_text() == content
    blob.chmod(0o644)
    blob.write_text(content.upper())
    yield hashlib.sha256(content.upper().encode()).hexdigest()
    blob.write_text(content)


def test_damage_is_one_json_document_and_exit_code_4(platform: Platform, going: Repository) -> None:
    with damaged(platform, "model 2") as actual:
        ran = going.run(platform, "verify", "--json")
    assert ran.code == 4
    assert ran.json["ok"] is False, "all of the output is one document"
    found = {release["version"]: release for release in ran.json["releases"]}
    assert {version: release["ok"] for version, release in found.items()} == {
        "0.4.0": True,
        "0.3.0": True,
        "0.2.0": False,
        "0.1.0": True,
    }
    assert found["0.2.0"]["actual"] == f"sha256:{actual}"


def test_a_second_rollback_goes_further_back_until_there_is_nothing(platform: Platform, going: Repository) -> None:
    with platform.client() as client:
        before = len(list(client.deployments(NAME)))
        stays = going.run(platform, "rollback", "ann/going", "0.3.0", "--json")
        assert stays.code == 0, stays.err
        assert stays.json["release"]["version"] == "0.3.0"
        assert len(list(client.deployments(NAME))) == before, "nothing was done"

    for version in ("0.2.0", "0.1.0"):
        ran = going.run(platform, "rollback", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["release"]["version"] == version
        assert ran.json["is_rollback"] is True
        assert live(platform) == version
    none_left = going.run(platform, "rollback", "--json")
    assert none_left.code == 10
    assert "0.1.0" in none_left.error
    assert live(platform) == "0.1.0"
    assert called(platform, going, "going/latest") == "0.3.0", "latest is about versions, not about what is live"
