"""The commands for accounts, keys and secrets, against a real platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pushpoint.cli import run
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, ask, serve

VARIABLE = "import os\n\ndef apply(input):\n    return os.environ.get(input)\n"


@dataclass
class Commands:
    """Runs commands as whoever has the keys."""

    platform: Platform
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *argv: str, key: str = "", typed: str = "", code: int = 0) -> str:
        self.monkeypatch.setenv("PUSHPOINT_URL", self.platform.url)
        self.monkeypatch.setenv("PUSHPOINT_API_KEY", key or self.platform.key)
        admin = (self.platform.home / "admin-key").read_text().strip()
        self.monkeypatch.setenv("PUSHPOINT_ADMIN_KEY", admin)
        import io

        self.monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        self.capsys.readouterr()
        assert run(list(argv)) == code, self.capsys.readouterr()
        return self.capsys.readouterr().out


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    yield running
    stop_platform(running)


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(platform, monkeypatch, capsys)


def test_a_colleague_joins_a_team_and_leaves(command: Commands) -> None:
    key = command("users", "add", "bob", "--email", "bob@x").strip()
    assert len(key) == 28
    assert "bob@x" in command("users", "list")
    command("organizations", "add", "reviews", "--label", "The reviews")
    command("organizations", "add-member", "reviews", "bob")
    assert "The reviews" in command("organizations", "list", key=key)
    assert json.loads(command("organizations", "members", "reviews", "--json")) == [
        {
            "username": name,
            "role": role,
            "is_owner": role == "owner",
            "user_link": f"/v1/users/{name}",
            "resource_type": "organization_member",
        }
        for name, role in (("ann", "owner"), ("bob", "member"))
    ]
    command("organizations", "add-member", "reviews", "ann", key=key, code=5)
    made = json.loads(command("keys", "add", "--organization", "reviews", "--label", "CI", "--json"))
    assert made["owner_name"] == "reviews"
    assert "CI" in command("keys", "list", "--organization", "reviews")
    command("keys", "revoke", made["id"], "--organization", "reviews")
    assert json.loads(command("keys", "list", "--organization", "reviews", "--json")) == []
    command("organizations", "remove-member", "reviews", "bob")
    command("organizations", "members", "reviews", key=key, code=10)
    command("users", "password", "bob", typed="correct horse battery\n")
    command("users", "password", "bob", code=2)
    command("organizations", "remove", "reviews")
    command("users", "remove", "bob")
    command("keys", "list", key=key, code=5)


def test_keys_are_made_narrow_listed_and_ended(command: Commands) -> None:
    narrow = ("--scope", "call", "--algorithm", "algo://ann/one")
    made = json.loads(command("keys", "add", "--label", "a shop", *narrow, "--json"))
    answer = ask(command.platform, "GET", "/v1/account", key=made["api_key"])
    assert answer.json["scopes"] == ["call"]
    listed = command("keys", "list")
    assert "algo://ann/one" in listed
    assert made["api_key"] not in listed
    command("keys", "add", "--label", "x", "--scope", "fly", code=2)
    command("keys", "add", "--label", "x", "--user", "a", "--organization", "b", code=2)
    command("keys", "revoke", made["id"])
    assert ask(command.platform, "GET", "/v1/account", key=made["api_key"]).status == 401
    command("keys", "revoke", made["id"], code=10)


def test_a_secret_comes_from_standard_input_and_reaches_the_worker(command: Commands) -> None:
    serve(command.platform, "ann/reader", VARIABLE)
    for value in ("first", "second line\nand third"):
        command("secrets", "set", "TOKEN", "ann/reader", "--description", "a token", typed=f"{value}\n")
        answer = ask(command.platform, "POST", "/v1/algo/ann/reader", b'"TOKEN"', headers=JSON)
        assert answer.json["result"] == value
    listed = command("secrets", "list", "ann/reader")
    assert "a token" in listed
    assert "second" not in listed
    command("secrets", "set", "TOKEN", "ann/reader", code=2)
    command("secrets", "remove", "TOKEN", "ann/reader")
    command("secrets", "remove", "TOKEN", "ann/reader", code=10)
    assert json.loads(command("secrets", "list", "ann/reader", "--json")) == []


def test_without_an_admin_key_the_error_says_where_one_is(
    command: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PUSHPOINT_ADMIN_KEY", raising=False)
    monkeypatch.setenv("PUSHPOINT_URL", command.platform.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(command.platform.home / "nowhere"))
    assert run(["users", "list"]) == 2
    assert "admin-key" in capsys.readouterr().err
