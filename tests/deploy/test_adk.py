"""The ADK finds the model of the newest deploy: the real `algorithmia-adk` reads what a real deploy has written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pushpoint.deploy.adk import freeze_again, name_model
from pushpoint.errors import ConfigError
from tests.clients import load
from tests.conftest import Platform
from tests.old_packages import PINS
from tests.repositories import Repository, checked_in
from tests.web.support import manifest_of

NEW = manifest_of("ann/x", "data://ann/x/model_new.pkl", b"new")
OLD = replace(NEW, uri="data://ann/x/model_old.pkl")
OURS = {"source_uri": NEW.uri, "md5_checksum": NEW.model.md5, "fail_on_tamper": True, "metadata": {}}
WORDS = {"name": "words", "source_uri": "data://ann/words/w.txt", "fail_on_tamper": False, "metadata": {"a": 1}}


@pytest.mark.parametrize(
    ("keys", "required", "optional"),
    [
        ({}, [{"name": "model", **OURS}], []),
        ({"required_files": [WORDS], "team": "x"}, [WORDS, {"name": "model", **OURS}], []),
        (
            {"required_files": [{"name": "xgb", "source_uri": "./out/model.pkl", "metadata": {"b": 2}}]},
            [{"name": "xgb", **OURS, "metadata": {"b": 2}}],
            [],
        ),
        ({"optional_files": [{"name": "xgb", "source_uri": OLD.uri}], "required_files": [WORDS]}, [WORDS], ["xgb"]),
        ({"required_files": [{"name": "xgb", "source_uri": "ann/x/model_old.pkl"}]}, [{"name": "xgb", **OURS}], []),
        (
            {"required_files": [{"name": "model", "source_uri": "data://u/c/f", "fail_on_tamper": False}]},
            [{"name": "model", **OURS, "fail_on_tamper": False}],
            [],
        ),
    ],
)
def test_one_entry_is_the_deploys_and_the_others_stay(keys: Any, required: list[Any], optional: list[str]) -> None:
    before = json.dumps(keys)
    named = name_model(keys, NEW, "out/model.pkl", OLD)
    assert named["required_files"] == required
    assert named["optional_files"] == [{"name": name, **OURS} for name in optional]
    assert {key: value for key, value in named.items() if not key.endswith("_files")} == {
        key: value for key, value in keys.items() if not key.endswith("_files")
    }
    assert json.dumps(keys) == before


@pytest.mark.parametrize(
    "keys", [{"required_files": {}}, {"optional_files": 5}, {"required_files": [1]}, {"required_files": [{"name": 1}]}]
)
def test_lists_that_are_none_are_refused(keys: Any) -> None:
    with pytest.raises(ConfigError, match="correct it"):
        name_model(keys, NEW, "model.pkl", None)


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"required_files": [], "lock_checksum": "x"}', "[" * 100_000])
def test_a_frozen_manifest_that_nobody_sealed_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model_manifest.json.freeze"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not as `algo freeze` left it"):
        freeze_again(file, NEW, "model.pkl", None)
    assert file.read_text() == text


def test_a_frozen_manifest_that_is_a_link_is_refused(tmp_path: Path) -> None:
    keys: dict[str, list[str]] = {"required_files": []}
    sealed = {**keys, "lock_checksum": hashlib.md5(str(keys).encode()).hexdigest()}
    (tmp_path / "elsewhere").write_text(json.dumps(sealed))
    (tmp_path / "frozen").symlink_to("elsewhere")
    with pytest.raises(ConfigError):
        freeze_again(tmp_path / "frozen", NEW, "model.pkl", None)
    freeze_again(tmp_path / "elsewhere", NEW, "model.pkl", None)
    assert "model_new" in (tmp_path / "elsewhere").read_text()


CODE = """
import hashlib
import Algorithmia
from Algorithmia import ADK
from pushpoint.runtime import model


def content(path):
    with open(path) as file:
        return file.read()


def load(models):
    return {"adk": content(models.get_model("model")), "ours": content(model.path), "models": models}


def apply(input, state):
    found = {"adk": state["adk"], "ours": state["ours"]}
    return {**found, "words": content(state["models"].get_model("words"))} if input == "words" else found


ADK(apply, load, Algorithmia.client()).init("x")
"""


@pytest.fixture
def repository(platform: Platform, tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    made = checked_in(tmp_path / "ml", request.function.__name__.removeprefix("test_")[:28], "the first model")
    made.inference(CODE)
    made.write(f"{made.name}/requirements.txt", "\n".join(["algorithmia==2.0.5", "algorithmia-adk==1.2.4", *PINS, ""]))
    made.write(f"{made.name}/.adk", "")
    made.commit()
    return made


@pytest.mark.slow
def test_an_adk_loads_the_newest_model(platform: Platform, repository: Repository) -> None:
    for model in ("the first model", "the second model"):
        repository.write("model.pkl", model)
        repository.commit()
        ran = repository.deploy(platform)
        assert ran.code == 0, ran.err
        assert repository.call(platform) == {"adk": model, "ours": model}


@pytest.mark.slow
def test_a_frozen_manifest_follows_too(platform: Platform, repository: Repository, tmp_path: Path) -> None:
    client = load("Algorithmia").client(platform.key, platform.url)
    with contextlib.closing(client.requestSession):
        client.dir("data://ann/words").create()
        client.file("data://ann/words/w.txt").put("some words")
        # `Client.freeze` reads every optional file under the index of a required one, so there is none
        manifest = {"required_files": [{**WORDS, "fail_on_tamper": True}], "optional_files": [], "team": "n\u00e4he"}
        (tmp_path / "plain.json").write_text(json.dumps(manifest))
        client.freeze(str(tmp_path / "plain.json"), str(tmp_path))
        repository.write(f"{repository.name}/model_manifest.json", json.dumps(manifest))
        repository.write(
            f"{repository.name}/model_manifest.json.freeze", (tmp_path / "model_manifest.json.freeze").read_bytes()
        )
        for model in ("the first model", "the second model"):
            repository.write("model.pkl", model)
            repository.commit()
            ran = repository.deploy(platform)
            assert ran.code == 0, ran.err
            assert "sealed anew" in ran.err
            assert repository.call(platform, "words") == {"adk": model, "ours": model, "words": "some words"}

        client.file("data://ann/words/w.txt").put("other words")
        cases = [{"case_name": "any", "input": 1, "type": "NO_EXCEPTION"}]
        repository.write(f"{repository.name}/TEST_CASES.json", json.dumps(cases))
        repository.commit()
        refused = repository.deploy(platform)
        assert refused.code == 6, "the ADK still compares what its user has frozen"
        assert "LoadingError" in refused.error
        assert "Mismatch" in refused.error

    repository.write(f"{repository.name}/model_manifest.json.freeze", '{"required_files": [], "lock_checksum": ""}')
    repository.commit()
    refused = repository.deploy(platform)
    assert refused.code == 2
    assert "not as `algo freeze` left it" in refused.error
