"""What all tests share: a platform that really runs, and machines that stay as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from pushpoint.client import Client

settings.register_profile("pushpoint", deadline=None)  # two cores with a platform on them are not a stopwatch
settings.load_profile("pushpoint")
# a shell lets what it starts in the background ignore interrupts, and all that is started by it would as well
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the promises: one of them takes a minute, and at the end all others would wait for it."""
    items.sort(key=lambda item: "promises" not in item.path.parts)


@dataclass(frozen=True)
class Platform:
    """A platform in a process of its own."""

    url: str
    key: str
    home: Path
    process: subprocess.Popen[str]

    def client(self) -> Client:
        return Client(self.url, self.key)

    def environment(self) -> dict[str, str]:
        """The environment of a command that speaks to this platform, and of none besides."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PUSHPOINT_", "ALGORITHMIA_"))
        }
        return clean | {"PUSHPOINT_URL": self.url, "PUSHPOINT_API_KEY": self.key}


def start_platform(
    home: Path,
    *options: str,
    port: int = 0,
    account: str = "ann",
    under: Sequence[str] = (),
    program: Sequence[str] = ("-m", "pushpoint"),
) -> Platform:
    """Start `pushpoint serve`, under another program or as one of Python's, and wait until it is ready."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stderr.log").open("a") as errors:
        process = subprocess.Popen(
            [
                *(*under, sys.executable, *program, "serve", "--home", str(home), "--port", str(port)),
                *("--account", account, "--no-profile", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("ready at "), (home / "stderr.log").read_text()
    return Platform(line.removeprefix("ready at ").strip(), (home / "api-key").read_text().strip(), home, process)


def stop_platform(platform: Platform) -> None:
    """Stop it as an operator would, and insist that it ends."""
    if platform.process.poll() is None:
        platform.process.send_signal(signal.SIGTERM)
        try:
            platform.process.wait(30)
        except subprocess.TimeoutExpired:
            platform.process.kill()
            platform.process.wait()
            raise
    if platform.process.stdout:
        platform.process.stdout.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for the tests of one module."""
    running = start_platform(tmp_path_factory.mktemp("home"))
    yield running
    stop_platform(running)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's profile, whatever they call; caches may be shared."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in list(os.environ):
        if name.startswith(("PUSHPOINT_", "ALGORITHMIA_", "GITHUB_", "GITLAB_", "JENKINS_", "CI_", "ACTIONS_")):
            monkeypatch.delenv(name)
