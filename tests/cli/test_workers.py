"""`pushpoint workers`, against a real platform."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pushpoint.cli import run
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, ask, serve

ECHO = "def apply(input):\n    return input\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"), "--egress", "*.example.com", "--max-replicas", "2")
    yield running
    stop_platform(running)


def test_the_limits_of_workers_are_shown_and_changed_one_by_one(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(platform, "ann/echo", ECHO)
    monkeypatch.setenv("PUSHPOINT_URL", platform.url)
    monkeypatch.setenv("PUSHPOINT_API_KEY", platform.key)
    name = "ann/echo"

    def workers(*options: str, code: int = 0) -> str:
        assert run(["workers", name, *options]) == code
        return capsys.readouterr().out

    def rows(*options: str) -> dict[str, str]:
        return {line[:18].strip(): line[18:] for line in workers(*options).splitlines()}

    assert rows()["memory"].endswith("GiB, the platform's")
    assert rows()["cpus"] == "no limit, the platform's"
    assert rows("--memory-limit", "512", "--min-replicas", "1")["memory"] == "512 MiB"
    asked = json.loads(workers("--cpu-limit", "0.5", "--json"))["asked"]
    assert asked == {
        "limits": {"memory": 512 << 20, "cpus": 0.5},
        "scaling": {"min_replicas": 1},
        "network": {},
    }
    assert ask(platform, "POST", f"/v1/algo/{name}", b"1", headers=JSON).json["result"] == 1
    assert rows()["workers now"] == "1, with 0 calls, 0 waiting"
    assert rows("--max-replicas", "100")["max_replicas"] == "2, the platform's; 100 asked for"
    workers("--memory-limit", "1", code=2)
    assert rows()["allow"] == "no host"
    two = ("a.example.com", "b.example.com:8080")
    workers("--allow", two[0], "--allow", two[1], code=5)
    assert rows("--allow", two[0], "--allow", "*.b.example.com")["allow"] == "a.example.com, *.b.example.com"
    reset = {"limits": {"scratch": 8 << 20}, "scaling": {}, "network": {}}
    assert json.loads(workers("--reset", "--scratch-limit", "8", "--json"))["asked"] == reset
    found = json.loads(workers("--json"))
    assert found["asked"]["network"] == {"allow": []}
    assert found["asked"]["limits"] == {"scratch": found["held"]["limits"]["scratch"]} == {"scratch": 8 << 20}
