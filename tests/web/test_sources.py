"""Algorithms that are built from a git host: registered, fetched, built; with a host that is real and may misbehave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.githost import GitHost
from tests.web.support import JSON, Answer, ask, create

TOKEN, SECRET_TOKEN = "ghp_may-read", "p@ss/w:rd#&%20 ü"


def code(text: str) -> dict[str, str]:
    """Inference code that answers a text."""
    return {"src/NAME.py": f"def apply(input):\n    return {text!r}\n", "src/__init__.py": ""}


@dataclass(frozen=True)
class Hosted:
    """A platform and a git host."""

    platform: Platform
    host: GitHost

    def ask(self, method: str, path: str, body: object = None, *, key: str = "", timeout: float = 60.0) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        return ask(self.platform, method, f"/v1/algorithms/ann/{path}", sent, key=key, headers=JSON, timeout=timeout)

    def commit(self, name: str, text: str, **more: Any) -> str:
        files = {path.replace("NAME", name): content for path, content in code(text).items()}
        return self.host.commit(f"team/{name}", files, **more)

    def make(self, name: str, *, text: str = "", public: bool = False, **source: object) -> str:
        """Make an algorithm with a source, whose repository holds code that answers `text`.

        Returns:
            The webhook's secret.
        """
        self.host.create(f"team/{name}", public=public)
        if text:
            self.commit(name, text)
        create(self.platform, f"ann/{name}")
        asked: Mapping[str, object] = {"url": self.host.url(f"team/{name}")}
        if not public:
            asked = {**asked, "user": "ann", "token": TOKEN}
        answer = self.ask("PUT", f"{name}/source", {**asked, **source})
        assert answer.status == 200, answer.body
        return str(answer.json["webhook_secret"])

    def builds(self, name: str) -> list[str]:
        return [build["commit_sha"] for build in self.ask("GET", f"{name}/builds").json["results"]]

    def call(self, name: str, version: str) -> Any:
        answer = ask(self.platform, "POST", f"/v1/algo/ann/{name}/{version}", b'"x"', headers=JSON)
        return answer.json["result"]


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    with GitHost(tmp_path_factory.mktemp("host")) as host:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--git-host", host.address)
        yield Hosted(platform, host)
        stop_platform(platform)


def test_compile_fetches_and_builds_what_the_host_has(hosted: Hosted) -> None:
    secret = hosted.make("line", text="first")
    assert len(secret) == 64
    first = hosted.host.tip("team/line")
    compiled = hosted.ask("POST", "line/compile")
    assert compiled.status == 200, compiled.body
    assert compiled.json["compilation"]["successful"], compiled.json["compilation"]["output"]
    assert compiled.json["version_info"]["git_hash"] == first
    assert hosted.call("line", first) == "first"

    second = hosted.commit("line", "second")
    compiled = hosted.ask("POST", "line/compile", {"commitSha": second})
    assert compiled.json["version_info"]["git_hash"] == second
    assert hosted.call("line", second) == "second"
    assert hosted.builds("line") == [second, first]
