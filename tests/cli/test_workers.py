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
    running = start_platform(tmp_path_factory.mktemp("home"))
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

    assert workers().splitlines()[0].split(maxsplit=1) == ["memory", "as the platform has it"]
    assert "512 MiB" in workers("--memory-limit", "512", "--min-replicas", "1")
    assert json.loads(workers("--cpu-limit", "0.5", "--json")) == {
        "limits": {"memory": 512 << 20, "cpus": 0.5},
        "scaling": {"min_replicas": 1},
    }
    assert ask(platform, "POST", f"/v1/algo/{name}", b"1", headers=JSON).json["result"] == 1
    workers("--memory-limit", "1", code=2)
    assert json.loads(workers("--reset", "--scratch-limit", "8", "--json")) == {
        "limits": {"scratch": 8 << 20},
        "scaling": {},
    }
    assert json.loads(workers("--json"))["limits"] == {"scratch": 8 << 20}
