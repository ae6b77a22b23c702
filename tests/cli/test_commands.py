"""Every command, as a person or a program uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pushpoint.cli import EXIT, app, exit_code
from pushpoint.config import SETTINGS
from pushpoint.errors import ConfigError, Error, UnknownSetting
from tests.conftest import Platform
from tests.repositories import Repository, checked_in, pushpoint


@pytest.fixture(scope="module")
def deployed(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = checked_in(tmp_path_factory.mktemp("ml"), "shown")
    assert repository.deploy(platform).version == "0.1.0"
    repository.write("model.pkl", "second")
    repository.commit("Second\n\nwith a body")
    assert repository.deploy(platform).version == "0.2.0"
    assert repository.run(platform, "rollback", "ann/shown", "0.1.0").code == 0
    return repository


def test_every_error_has_an_exit_code() -> None:
    def below(kind: type[Error]) -> list[type[Error]]:
        return [kind, *(found for each in kind.__subclasses__() for found in below(each))]

    for kind in below(Error):
        assert any(base in EXIT for base in kind.__mro__)
    assert exit_code(UnknownSetting("x", layer="flag", nearest=None)) == EXIT[ConfigError]
    assert set(EXIT.values()) == set(range(1, 12))


def test_help_tells_of_every_command_and_setting(platform: Platform, tmp_path: Path) -> None:
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    helped = pushpoint("--help", directory=tmp_path, platform=platform, COLUMNS="200")
    assert helped.code == 0
    assert all(f" {name} " in helped.out for name in commands)
    assert "Exit codes" in helped.out
    shown = pushpoint("deploy", "--help", directory=tmp_path, platform=platform, COLUMNS="200").out
    assert all(f"--{setting.name}" in shown for setting in SETTINGS)
    assert "[default: model.pkl]" in shown


def test_bad_usage_is_2(platform: Platform, tmp_path: Path) -> None:
    for arguments in (["deploy", "--nothing"], ["nothing"], ["call"], ["call", "a/b"], ["rollback", "a", "b", "c"]):
        ran = pushpoint(*arguments, directory=tmp_path, platform=platform)
        assert ran.code == 2, arguments
        assert "Traceback" not in ran.err
    assert pushpoint("--version", directory=tmp_path, platform=platform).code == 0


def test_config_says_where_values_come_from(platform: Platform, deployed: Repository) -> None:
    variables = {"PUSHPOINT_CELL_TIMEOUT": "7"}
    ran = deployed.run(platform, "config", "--json", "--publish", "major", **variables)
    assert ran.code == 0
    found = ran.json
    assert found["algorithm"] == {"value": "shown", "origin": "pushpoint.toml"}
    assert found["cell-timeout"] == {"value": 7.0, "origin": "environment"}
    assert found["publish"] == {"value": "major", "origin": "flag"}
    assert found["model-path"] == {"value": "model.pkl", "origin": "default"}
    assert found["url"]["value"] == platform.url
    assert set(found) == {setting.name for setting in SETTINGS} | {"url", "api-key"}
    assert platform.key not in ran.out + deployed.run(platform, "config").out


def test_plan_shows_and_does_nothing(platform: Platform, deployed: Repository) -> None:
    before = deployed.tip(platform)
    ran = deployed.run(platform, "plan", "--json")
    assert ran.code == 0
    assert ran.json["plan"]["algorithm"] == "ann/shown"
    assert ran.json["up_to_date"] is False, "an older release is live"
    assert ran.json["live"]["release"]["version"] == "0.1.0"
    spoken = deployed.run(platform, "plan", COLUMNS="200")
    assert "would deploy" in spoken.out
    assert "Second" in spoken.out
    assert "body" not in spoken.out
    assert deployed.tip(platform) == before


def test_new_lays_down_a_repository_that_can_be_planned(platform: Platform, tmp_path: Path) -> None:
    ran = pushpoint("new", "iris", directory=tmp_path, platform=platform)
    assert ran.code == 0
    repository = Repository(tmp_path / "iris", "iris")
    repository.commit()
    planned = repository.run(platform, "plan", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["plan"]["notebook"] == "model_training.ipynb"
    assert planned.json["plan"]["inference"] == "iris"
    assert not [path for path in repository.directory.rglob("*") if "ALGORITHM" in path.name]
    again = pushpoint("new", "iris", directory=tmp_path, platform=platform)
    assert again.code == 8
    for name in ("../x", "a b", "a-b", ""):
        assert pushpoint("new", name, directory=tmp_path, platform=platform).code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iris"]


def test_call_takes_text_json_and_files(platform: Platform, deployed: Repository) -> None:
    def call(*arguments: str) -> object:
        ran = deployed.run(platform, "call", "shown", *arguments)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)["input"]

    assert call("--text", "plain") == "plain"
    assert call("--json-input", '{"a": [1]}') == {"a": [1]}
    assert call("--json-input", "1", "--stream") == 1, "what is no generator is a stream of one"
    ran = deployed.run(platform, "call", "--stream", "--json", "--json-input", '{"result": 1}')
    item, end = map(json.loads, ran.out.splitlines())
    assert (item["item"]["input"], item["content_type"]) == ({"result": 1}, "json")
    assert (set(end), end["error"]) == ({"error", "metadata", "lineage"}, None), "an item is not taken for the end"
    assert end["lineage"]["algorithm"] == "ann/shown", "inside its repository it need not be named"
    ran = deployed.run(platform, "call", "ann/shown/0.2.0", "--json", "--json-input", "1")
    assert ran.json["lineage"]["version"] == "0.2.0"
    assert ran.json["lineage"]["source-commit"] == deployed.git("rev-parse", "HEAD")
    assert ran.json["metadata"]["content_type"] == "json"
    ran = deployed.run(platform, "call", "ann/shown/latest", "--json", "--json-input", "1")
    assert ran.json["lineage"]["version"] == "0.2.0", "what was rolled back from is the latest still"
    for more in ([], ["--stream"]):
        failed = deployed.run(platform, "call", "shown", "--text", "fail", *more)
        assert failed.code == 1
        assert "ValueError" in failed.err or "asked to fail" in failed.err
        assert failed.out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["shown"], 2),
        (["shown", "--text", "a", "--json-input", "1"], 2),
        (["shown", "--json-input", "{"], 2),
        (["shown", "--file", "nowhere"], 2),
        (["nothing", "--text", "a"], 10),
        (["ann/shown/9.9.9", "--text", "a"], 10),
        (["a-b", "--text", "a"], 2),
        (["a/b/c/d", "--text", "a"], 2),
    ],
)
def test_a_call_that_cannot_be_made(platform: Platform, deployed: Repository, arguments: list[str], code: int) -> None:
    ran = deployed.run(platform, "call", *arguments)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err


def test_releases_and_their_history(platform: Platform, deployed: Repository, tmp_path: Path) -> None:
    listed = pushpoint("releases", "ann/shown", "--json", directory=tmp_path, platform=platform)
    assert [(found["version"], found["is_live"]) for found in listed.json] == [("0.2.0", False), ("0.1.0", True)]
    assert listed.json[0]["source"]["commit"] == deployed.git("rev-parse", "HEAD")
    history = pushpoint("releases", "ann/shown", "--history", "--json", directory=tmp_path, platform=platform).json
    assert [(found["release"]["version"], found["is_rollback"]) for found in history] == [
        ("0.1.0", True),
        ("0.2.0", False),
        ("0.1.0", False),
    ]
    assert [found["generation"] for found in history] == [3, 2, 1]
    for flags in ([], ["--history"]):
        spoken = deployed.run(platform, "releases", *flags, COLUMNS="200")
        assert spoken.code == 0
        assert "live" in spoken.out
        assert "0.2.0" in spoken.out
    assert pushpoint("releases", "ann/nothing", directory=tmp_path, platform=platform).code == 10
    assert pushpoint("releases", directory=tmp_path, platform=platform).code == 2


def test_rollback_needs_something_to_return_to(platform: Platform, deployed: Repository, tmp_path: Path) -> None:
    assert deployed.run(platform, "rollback", "ann/shown", "9.9.9").code == 10
    assert deployed.run(platform, "rollback", "ann/nothing").code == 10
    single = checked_in(tmp_path / "single", "single")
    assert single.deploy(platform).version == "0.1.0"
    ran = single.run(platform, "rollback", "--json")
    assert ran.code == 10
    assert "no other release live before" in ran.error


def test_verify_reads_every_model(platform: Platform, deployed: Repository) -> None:
    ran = deployed.run(platform, "verify", "--json")
    assert ran.code == 0
    assert [(found["version"], found["ok"]) for found in ran.json["releases"]] == [("0.2.0", True), ("0.1.0", True)]
    assert len(deployed.run(platform, "verify", "ann/shown", "0.1.0", "--json").json["releases"]) == 1
    assert deployed.run(platform, "verify", "ann/shown", "9.9.9").code == 10


def test_errors_are_json_where_it_is_asked_for(platform: Platform, deployed: Repository) -> None:
    ran = deployed.run(platform, "plan", "--json", PUSHPOINT_URL="http://127.0.0.1:9")
    assert ran.code == 11
    assert ran.json["error"]["type"] == "Unavailable"
    assert ran.json["error"]["exit_code"] == 11


def test_the_old_variables_are_read(platform: Platform, deployed: Repository) -> None:
    old = {
        "PUSHPOINT_URL": "",
        "PUSHPOINT_API_KEY": "",
        "ALGORITHMIA_API": platform.url,
        "ALGORITHMIA_API_KEY": platform.key,
    }
    assert deployed.run(platform, "releases", "--json", **old).code == 0
