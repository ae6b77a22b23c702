"""Promise 50, keys: kept as hashes alone, over within a second wherever they are used, and tokens with their calls."""

from __future__ import annotations

import base64
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from pushpoint.databases import writing
from pushpoint.databases.tables import keys as keys_table
from tests.conftest import Platform, start_platform, stop_platform
from tests.issuer import issuing
from tests.web.support import JSON, TEXT, address, ask, database, run_git, serve
from tests.web.test_exchange import Deal

PASSWORD, SECRET = "correct horse battery", "a-secret-that-nobody-has"
BUSY = """
import gc, http.client, os, time
from urllib.parse import urlsplit

def ask(method, path, body=None):
    there = urlsplit(os.environ["ALGORITHMIA_API"])
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=10)
    connection.request(method, there.path + path, body=body)
    answer = connection.getresponse()
    answer.read()
    return answer.status

def apply(input):
    gc.unfreeze()  # or what was there before the first call would not be among them
    (token,) = [one.token for one in gc.get_objects() if type(one).__name__ == "Forwarder"]
    assert ask("PUT", "/v1/data/ann/told/" + input, token) == 200
    seen, began = [], time.monotonic()
    while time.monotonic() - began < 3:
        seen.append([time.time(), ask("GET", "/v1/data/ann/told")])
        time.sleep(0.02)
    return seen
"""


@dataclass(frozen=True)
class Holders:
    platform: Platform
    admin: str
    limited: str

    def issue(self) -> tuple[str, str]:
        made = ask(self.platform, "POST", "/v1/users/ann/keys", b'{"key_label": "x"}', headers=JSON).json
        return made["api_key"], made["id"]

    def told(self, name: str) -> str:
        """Wait for what a running algorithm tells."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = ask(self.platform, "GET", f"/v1/data/ann/told/{name}")
            if answer.status == 200:
                return answer.body.decode()
            time.sleep(0.05)
        raise AssertionError("it told nothing")


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holders]:
    with issuing() as issuer:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--private-issuer", issuer.url)
        admin = (platform.home / "admin-key").read_text().strip()
        serve(platform, "ann/busy", BUSY)
        assert ask(platform, "POST", "/v1/data/ann", b'{"name": "told"}').status == 200
        secret = json.dumps({"secret_key": "TOKEN", "secret_value": SECRET}).encode()
        assert ask(platform, "POST", "/v1/algorithms/ann/busy/secrets", secret, headers=JSON).status == 200
        password = json.dumps({"password": PASSWORD}).encode()
        assert ask(platform, "PUT", "/v1/users/ann/password", password, headers=JSON).status == 204
        deal = Deal(platform, issuer)
        assert deal.trust("ann/busy").status == 201
        yield Holders(platform, admin, deal.exchange(deal.github(), "ann/busy").json["key"])
        stop_platform(platform)


def revoke_here(holders: Holders, key_id: str) -> None:
    assert ask(holders.platform, "DELETE", f"/v1/users/ann/keys/{key_id}").status == 204


def revoke_elsewhere(holders: Holders, key_id: str) -> None:
    """As another process does it, of which the platform hears nothing."""
    with database(holders.platform) as found, writing(found) as connection:
        connection.execute(update(keys_table).where(keys_table.c.id == key_id).values(revoked=datetime.now(UTC)))


def copies(holders: Holders, folder: Path) -> list[Path]:
    """Get hold of the database in every way there is: its files as they are, and backups of two kinds."""
    home = holders.platform.home
    connection = sqlite3.connect(home / "platform.db")
    with sqlite3.connect(folder / "online.db") as online:
        connection.backup(online)
    online.close()
    connection.execute("vacuum into ?", (str(folder / "vacuumed.db"),))
    connection.close()
    return [home / "platform.db", home / "platform.db-wal", folder / "online.db", folder / "vacuumed.db"]


def test_what_the_database_and_its_backups_hold_opens_nothing(holders: Holders, tmp_path: Path) -> None:
    key, _ = holders.issue()
    clear = [holders.platform.key, holders.admin, holders.limited, key, PASSWORD, SECRET]
    files = copies(holders, tmp_path)
    written = [path for path in holders.platform.home.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in [*files, *written]:
        content = path.read_bytes()
        for secret in clear:
            if (path.name, secret) in {("api-key", holders.platform.key), ("admin-key", holders.admin)}:
                continue
            for spelling in (secret.encode(), base64.b64encode(secret.encode())[:-4], secret.encode().hex().encode()):
                assert spelling not in content, path.name
    connection = sqlite3.connect(tmp_path / "online.db")
    tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
    values = {
        str(value)
        for table in tables
        for row in connection.execute(f'select * from "{table}"')
        for value in row
        if isinstance(value, str | int) and 4 < len(str(value)) < 400 and str(value).isprintable()
    }
    (password,) = connection.execute("select password from accounts where name = 'ann'").fetchone()
    connection.close()
    assert len(values) > 60
    assert password in values
    for value in sorted(values):
        for header in (value, f"Simple {value}"):
            answer = ask(holders.platform, "GET", "/v1/account", key=header.encode("latin-1", "replace"))  # type: ignore[arg-type]
            assert answer.status == 401, value
    basic = "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()
    assert ask(holders.platform, "GET", "/git/ann/busy.git/info/refs?service=git-upload-pack", key=basic).status == 401


@pytest.mark.parametrize("revoke", [revoke_here, revoke_elsewhere])
def test_a_revoked_key_is_over_within_a_second_on_connections_that_are_open(holders: Holders, revoke: Any) -> None:
    key, key_id = holders.issue()
    asked = [
        ("GET", "/v1/account"),
        ("GET", "/v1/data/ann"),
        ("GET", "/v1/algorithms/ann/busy"),
        ("GET", "/git/ann/busy.git/info/refs?service=git-upload-pack"),
        ("OPTIONS", "/v1/uploads"),
    ]
    connections = [http.client.HTTPConnection(*address(holders.platform), timeout=20) for _ in asked]

    def statuses() -> list[int]:
        found = []
        for connection, (method, path) in zip(connections, asked, strict=True):
            connection.request(method, path, headers={"authorization": key})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
        return found

    assert set(statuses()) <= {200, 204}
    sockets = [connection.sock for connection in connections]
    revoke(holders, key_id)
    began = time.monotonic()
    if revoke is revoke_elsewhere:
        while time.monotonic() - began < 0.9 and 401 not in statuses():
            time.sleep(0.02)
        time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    assert statuses() == [401] * len(asked)
    assert [connection.sock for connection in connections] == sockets, "they were open all the time"
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("revoke", [revoke_here, revoke_elsewhere])
def test_a_running_call_acts_no_more_for_a_key_that_is_revoked(holders: Holders, revoke: Any) -> None:
    key, key_id = holders.issue()
    name, found = f"{revoke.__name__}.txt", []

    def call() -> None:
        found.append(ask(holders.platform, "POST", "/v1/algo/ann/busy", name.encode(), key=key, headers=TEXT))

    calling = threading.Thread(target=call)
    calling.start()
    token = holders.told(name)
    time.sleep(0.5)
    revoke(holders, key_id)
    revoked = time.time()
    calling.join()
    (answer,) = found
    assert answer.status == 200, "what runs may end"
    seen: list[tuple[float, int]] = answer.json["result"]
    before = {status for when, status in seen if when < revoked - 0.1}
    after = {status for when, status in seen if when > revoked + 1}
    assert (before, after) == ({200}, {401})
    assert ask(holders.platform, "GET", "/v1/data", key=token).status == 401


@pytest.mark.parametrize("output", ["", "?output=raw", "?output=void"])
def test_the_token_of_a_call_ends_with_the_call(holders: Holders, output: str) -> None:
    name, found = f"token{output[-4:].strip('?=')}.txt", []

    def call() -> None:
        found.append(ask(holders.platform, "POST", f"/v1/algo/ann/busy{output}", name.encode(), headers=TEXT))

    calling = threading.Thread(target=call)
    calling.start()
    token = holders.told(name)
    assert token.startswith("call-")
    assert ask(holders.platform, "GET", "/v1/data/ann/told", key=token).status == 200, "as long as it runs"
    if output == "?output=void":
        calling.join()
        assert found[0].json["async"] == "void"
        assert ask(holders.platform, "GET", "/v1/data/ann/told", key=token).status == 200, "it runs all the same"
        deadline = time.monotonic() + 15
        while ask(holders.platform, "GET", "/v1/data/ann/told", key=token).status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    calling.join()
    assert found[0].status == 200
    for path in ("/v1/data/ann/told", "/v1/account", "/v1/algorithms/ann/busy"):
        assert ask(holders.platform, "GET", path, key=token).status == 401


def test_a_stolen_key_shows_that_it_was_used(holders: Holders) -> None:
    key, key_id = holders.issue()

    def used() -> str | None:
        listed = ask(holders.platform, "GET", "/v1/users/ann/keys").json["results"]
        return next(one.get("last_used_at") for one in listed if one["id"] == key_id)  # type: ignore[no-any-return]

    assert not used()
    began = datetime.now(UTC)
    remote = f"http://ann:{key}@{holders.platform.url.removeprefix('http://')}/git/ann/busy.git"
    assert run_git("ls-remote", remote, GIT_TERMINAL_PROMPT="0").returncode == 0
    first = used()
    assert first
    assert datetime.fromisoformat(first) >= began.replace(microsecond=0)
