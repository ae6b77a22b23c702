"""Settings: four layers, one value each, and what is wrong is said at once. Secrets stay secret."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint.config import (
    FILE,
    PUBLISH,
    SETTINGS,
    Config,
    Secret,
    Setting,
    credentials,
    git_login,
    read_file,
    resolve,
)
from pushpoint.errors import ConfigError, MissingSetting, UnknownSetting

KEY = "simUltraSecret0123456789"
BY_NAME = {setting.name: setting for setting in SETTINGS}
SAMPLES: dict[str, tuple[Any, str, Any]] = {
    # kind: (in the file, in the environment and as flag, the value)
    "text": ("iris", "iris", "iris"),
    "seconds": (90, "90", 90.0),
    "list": (["a.csv", "b"], "a.csv, b", ("a.csv", "b")),
    "choice": ("major", "major", "major"),
    "repository": ("https://git.example/a/b/", "https://GIT.example/a/b", "https://git.example/a/b"),
    "json": ({"a": [1, 2.5, None][:2]}, '{"a": [1, 2.5]}', '{"a": [1, 2.5]}'),
}
settings = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def resolved(**layers: Any) -> Config:
    file = {"algorithm": "base"} | layers.get("file", {})
    return resolve(file=file, environment=layers.get("environment", {}), flags=layers.get("flags", {}))


# -- layers -------------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_the_config() -> None:
    fields = [field.name for field in dataclasses.fields(Config)]
    assert [setting.field for setting in SETTINGS] == [name for name in fields if name != "origins"]
    assert {setting.kind for setting in SETTINGS} == set(SAMPLES)
    for setting in SETTINGS:
        assert setting.name == setting.name.lower()
        assert setting.help[0].isupper()
        assert not setting.help.endswith(".")


def test_without_any_layer_every_setting_has_its_default() -> None:
    found = resolve(file={}, environment={}, flags={"algorithm": "iris"})
    for setting in SETTINGS[1:]:
        assert getattr(found, setting.field) == setting.default
        assert found.is_default(setting.name)
    assert not found.is_default("algorithm")


@settings
def test_a_later_layer_wins_and_says_that_it_did(setting: Setting) -> None:
    in_file, text, value = SAMPLES[setting.kind]
    layers: dict[str, Any] = {"file": {setting.name: in_file}}
    assert getattr(resolved(**layers), setting.field) == value
    assert resolved(**layers).origins[setting.name] == FILE
    layers["environment"] = {setting.variable: text}
    assert getattr(resolved(**layers), setting.field) == value
    assert resolved(**layers).origins[setting.name] == "environment"
    layers["flags"] = {setting.name: text}
    assert getattr(resolved(**layers), setting.field) == value
    assert resolved(**layers).origins[setting.name] == "flag"


@settings
def test_a_setting_has_one_name_in_three_spellings(setting: Setting) -> None:
    assert setting.field == setting.name.replace("-", "_")
    assert setting.variable == "PUSHPOINT_" + setting.name.replace("-", "_").upper()


@settings
def test_an_empty_variable_and_a_flag_that_was_not_given_change_nothing(setting: Setting) -> None:
    found = resolved(environment={setting.variable: ""}, flags={setting.name: None})
    assert found.origins[setting.name] == (FILE if setting.name == "algorithm" else "default")


def test_variables_of_others_are_not_ours() -> None:
    assert resolved(environment={"PATH": "/bin", "NOTEBOOK": "x", "PUSHPOINTS": "3", "PUSHPOINT_URL": "http://x"})


# -- what is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("notbook", "notebook"),
        ("model_path", "model-path"),
        ("modelpath", "model-path"),
        ("cell-timout", "cell-timeout"),
        ("algoritm", "algorithm"),
        ("qqq", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("layer", [FILE, "flag"])
def test_an_unknown_setting_is_an_error_with_the_nearest_name(wrong: str, nearest: str | None, layer: str) -> None:
    with pytest.raises(UnknownSetting) as caught:
        resolved(**{"file" if layer == FILE else "flags": {wrong: "x"}})
    assert (caught.value.name, caught.value.layer, caught.value.nearest) == (wrong, layer, nearest)
    assert (f"did you mean `{nearest}`?" if nearest else "`pushpoint config` lists them all") in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("PUSHPOINT_NOTEBOK", "PUSHPOINT_NOTEBOOK"),
        ("PUSHPOINT_MODEL-PATH", "PUSHPOINT_MODEL_PATH"),
        ("PUSHPOINT_APIKEY", "PUSHPOINT_API_KEY"),
    ],
)
def test_a_misspelt_variable_is_an_error_too(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownSetting, match=nearest):
        resolved(environment={wrong: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notebook", 3),
        ("notebook", True),
        ("notebook", ["a"]),
        ("algorithm", {"name": "x"}),
        ("publish", "patch"),
        ("publish", "Minor"),
        ("publish", ["minor"]),
        ("publish", ""),
        ("data", 3),
        ("data", [1]),
        ("data", {"a": 1}),
        ("cell-timeout", "soon"),
        ("cell-timeout", -1),
        ("cell-timeout", True),
        ("cell-timeout", []),
        ("cell-timeout", float("nan")),
        ("cell-timeout", float("inf")),
        ("cell-timeout", 10**400),
        ("cell-timeout", "1e9"),
        ("sample-input", tomllib.loads("x = 2026-01-01")["x"]),
        ("sample-input", [float("nan")]),
        ("sample-input", float("inf")),
    ],
)
def test_a_value_of_another_kind_is_refused_in_the_file(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` in {FILE} is .*; write ") as caught:
        resolved(file={name: value})
    assert type(caught.value) is ConfigError


@pytest.mark.parametrize("text", ["It works", "{'a': 1}", "{", "[1,]", "[" * 100_000])
def test_a_sample_input_that_is_not_json_is_refused_before_anything_is_spent(text: str) -> None:
    for layers in ({"flags": {"sample-input": text}}, {"environment": {"PUSHPOINT_SAMPLE_INPUT": text}}):
        with pytest.raises(ConfigError, match="write JSON, a text with its quotes"):
            resolved(**layers)


@given(
    st.recursive(
        st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_a_sample_input_of_the_file_becomes_the_same_value_in_json(value: Any) -> None:
    text = resolved(file={"sample-input": value}).sample_input
    assert text is not None
    assert json.loads(text) == value
    assert resolved(flags={"sample-input": text}).sample_input == text


@pytest.mark.parametrize("choice", PUBLISH)
def test_every_part_that_may_grow_is_a_choice(choice: str) -> None:
    assert resolved(file={"publish": choice}).publish == choice


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.csv", ("a.csv",)),
        ("a.csv,b.csv", ("a.csv", "b.csv")),
        ("a.csv\n  b.csv\n", ("a.csv", "b.csv")),
        (" , ,", ()),
        ([" a "], ("a",)),
        ([], ()),
    ],
)
def test_a_list_is_a_list_or_a_text_with_commas_or_lines(given: Any, expected: tuple[str, ...]) -> None:
    assert resolved(flags={"data": given}).data == expected


@pytest.mark.parametrize("file", [{}, {"algorithm": ""}])
def test_without_an_algorithm_there_is_nothing_to_do(file: dict[str, Any]) -> None:
    with pytest.raises(MissingSetting, match="pass --algorithm") as caught:
        resolve(file=file, environment={}, flags={})
    assert caught.value.name == "algorithm"


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_file(tmp_path / FILE) == {}
    (tmp_path / FILE).write_text('algorithm = "iris" # the endpoint\n')
    assert read_file(tmp_path / FILE) == {"algorithm": "iris"}


@pytest.mark.parametrize(
    "content", [b"algorithm = iris", b"a = 1\na = 2", b"\xff\xfe", b"[", b'a = "\x00"', b"\xef\xbb\xbfa = 1"]
)
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{FILE} cannot be read as TOML: .*; correct it"):
        read_file(tmp_path / FILE)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path)


# -- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_shows_stars_wherever_it_is_printed() -> None:
    secret = Secret(KEY)
    found = credentials({"PUSHPOINT_URL": "http://x", "PUSHPOINT_API_KEY": KEY}, Path("/nowhere"))
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s}", "%s %r" % (secret, secret), f"{[secret]}"]  # noqa: UP031
    shown += [repr(found), str(found), str(dataclasses.asdict(found)), str(vars(type(secret))), str(secret.__slots__)]
    for text in shown:
        assert KEY not in text
    assert "********" in repr(found)
    assert found.key
    assert secret.reveal() == KEY == found.key.reveal()


def test_a_secret_shows_stars_in_a_traceback_with_all_its_values() -> None:
    found = credentials({"PUSHPOINT_URL": "http://x", "PUSHPOINT_API_KEY": KEY}, Path("/nowhere"))

    def fails(who: object) -> None:
        config = resolved(flags={"notebook": "train.ipynb"})
        raise RuntimeError(f"{who} {config}")

    try:
        fails(found)
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "train.ipynb" in text
    assert "url='http://x'" in text
    assert KEY not in text


def test_the_settings_never_hold_the_key() -> None:
    found = resolved(environment={"PUSHPOINT_URL": "http://x", "PUSHPOINT_API_KEY": KEY, "ALGORITHMIA_API_KEY": KEY})
    assert KEY not in repr(found)
    assert KEY not in repr(dataclasses.asdict(found))


# -- credentials --------------------------------------------------------------------------------------------


def profile(folder: Path, url: str = "http://profile:1", *, key: str | None = "profile-key") -> Path:
    """What `pushpoint serve` writes."""
    text = f'url = "{url}"\n'
    if key is not None:
        (folder / "api-key").write_text(key + "\n")
        text += f'key-file = "{folder / "api-key"}"\n'
    (folder / "profile.toml").write_text(text)
    return folder / "profile.toml"


OURS = {"PUSHPOINT_URL": "http://ours:1", "PUSHPOINT_API_KEY": "our-key"}
OLD = {"ALGORITHMIA_API": "http://old:1", "ALGORITHMIA_API_KEY": "old-key"}


@pytest.mark.parametrize(
    ("environment", "url", "key", "origin"),
    [
        (OURS | OLD, "http://ours:1", "our-key", "PUSHPOINT_URL"),
        (OLD, "http://old:1", "old-key", "ALGORITHMIA_API"),
        ({}, "http://profile:1", "profile-key", "profile.toml"),
        ({"PUSHPOINT_API_KEY": "our-key"}, "http://profile:1", "our-key", "profile.toml"),
        (
            {"PUSHPOINT_URL": " http://ours:1/ ", "PUSHPOINT_API_KEY": "our-key\n"},
            "http://ours:1",
            "our-key",
            "PUSHPOINT_URL",
        ),
        ({"PUSHPOINT_URL": "", "PUSHPOINT_API_KEY": ""} | OLD, "http://old:1", "old-key", "ALGORITHMIA_API"),
        ({"PUSHPOINT_URL": "http://profile:1/"}, "http://profile:1", "profile-key", "PUSHPOINT_URL"),
    ],
)
def test_ours_come_before_the_old_platforms_and_those_before_the_profile(
    tmp_path: Path, environment: dict[str, str], url: str, key: str, origin: str
) -> None:
    found = credentials(environment, profile(tmp_path))
    assert found.key
    assert (found.url, found.key.reveal()) == (url, key)
    assert found.origin.endswith(origin)


@pytest.mark.parametrize("name", ["PUSHPOINT_URL", "ALGORITHMIA_API"])
@pytest.mark.parametrize(
    "url", ["http://evil:1", "http://profile:2", "https://profile:1", "http://profile:1/x", "http://profile:1@evil"]
)
def test_a_key_of_the_profile_is_never_sent_to_another_address(tmp_path: Path, name: str, url: str) -> None:
    with pytest.raises(MissingSetting) as caught:
        credentials({name: url}, profile(tmp_path))
    assert caught.value.name == "PUSHPOINT_API_KEY"


def test_a_profile_that_is_not_needed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text("this is not TOML")
    assert credentials(OURS, tmp_path / "profile.toml").url == "http://ours:1"


@pytest.mark.parametrize("environment", [{}, {"PUSHPOINT_URL": "http://x"}, {"PUSHPOINT_API_KEY": KEY}])
def test_a_broken_profile_that_is_needed_is_an_error(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "profile.toml").write_text("url = http://x")
    with pytest.raises(ConfigError, match=r"profile\.toml cannot be read as TOML") as caught:
        credentials(environment, tmp_path / "profile.toml")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key_file", ["/nowhere/api-key", "a\\u0000b"])
def test_a_key_file_that_cannot_be_read_is_an_error(tmp_path: Path, key_file: str) -> None:
    (tmp_path / "profile.toml").write_text(f'url = "http://x"\nkey-file = "{key_file}"\n')
    with pytest.raises(ConfigError, match="set PUSHPOINT_API_KEY"):
        credentials({}, tmp_path / "profile.toml")


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(MissingSetting, match="api-key of its home"):
        credentials({}, profile(tmp_path, key=""))
    with pytest.raises(MissingSetting, match="api-key of its home"):
        credentials({}, profile(tmp_path, key=None))


def test_without_an_address_there_is_nobody_to_ask(tmp_path: Path) -> None:
    with pytest.raises(MissingSetting, match="pushpoint serve") as caught:
        credentials({}, tmp_path / "none.toml")
    assert caught.value.name == "PUSHPOINT_URL"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "file:///etc/passwd", "HTTP//x", "//x"])
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        credentials({"PUSHPOINT_URL": url, "PUSHPOINT_API_KEY": KEY}, tmp_path / "none.toml")


# -- the git host -------------------------------------------------------------------------------------------


def test_who_we_are_on_the_git_host_comes_from_the_environment_alone() -> None:
    assert git_login({}) is None
    assert git_login({"PUSHPOINT_GIT_USER": "ann", "PUSHPOINT_GIT_TOKEN": " "}) is None
    found = git_login({"PUSHPOINT_GIT_USER": "ann", "PUSHPOINT_GIT_TOKEN": f"{KEY}\n"})
    assert found
    assert (found.user, found.token.reveal()) == ("ann", KEY)
    assert KEY not in repr(found)
    nameless = git_login({"PUSHPOINT_GIT_TOKEN": KEY})
    assert nameless
    assert nameless.user, "Basic authentication has a user, and hosts refuse an empty one"
    resolved(environment={"PUSHPOINT_GIT_USER": "ann", "PUSHPOINT_GIT_TOKEN": KEY})


@pytest.mark.parametrize("user", ["ann:x", "a\nb"])
def test_a_user_name_that_is_none_is_refused(user: str) -> None:
    with pytest.raises(ConfigError, match="PUSHPOINT_GIT_USER"):
        git_login({"PUSHPOINT_GIT_USER": user, "PUSHPOINT_GIT_TOKEN": KEY})


def test_a_token_in_the_repositorys_address_is_refused_and_not_shown() -> None:
    for layer in ("file", "environment", "flags"):
        name = "PUSHPOINT_REPOSITORY" if layer == "environment" else "repository"
        with pytest.raises(ConfigError, match="take it out") as caught:
            resolved(**{layer: {name: f"https://ann:{KEY}@git.example/a/b"}})
        assert KEY not in str(caught.value)
