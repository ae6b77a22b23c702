"""The tus project's own client, unmodified, against a live platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.web.support import ask

CLIENT = "tus-js-client@4.3.1"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def modules() -> Path:
    """The client and what it needs, fetched once for all runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushpoint-tests" / CLIENT
    if not (cache / "complete").exists():
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--prefix", str(cache), "--ignore-scripts", "--no-audit", "--no-fund"]
        install = [str(PROGRAMS / "npm"), "install", *options, CLIENT]
        subprocess.run(install, check=True, capture_output=True)
        (cache / "complete").touch()
    return cache / "node_modules"


@pytest.mark.parametrize("parts", [1, 3])
def test_the_tus_projects_client_uploads_and_goes_on_after_a_kill(
    platform: Platform, modules: Path, tmp_path: Path, parts: int
) -> None:
    content = os.urandom(9_000_001)
    file, path = tmp_path / "model.bin", f"data://ann/tus/by_{parts}.bin"
    file.write_bytes(content)
    ask(platform, "POST", "/v1/data/ann", b'{"name": "tus"}')

    def upload(*more: str) -> subprocess.CompletedProcess[str]:
        script = Path(__file__).with_name("tus_upload.cjs")
        command = [
            str(PROGRAMS / "node"),
            str(script),
            f"{platform.url}/v1/uploads",
            platform.key,
            str(file),
            path,
            str(parts),
        ]
        return subprocess.run(
            [*command, str(tmp_path / "urls.json"), *more],
            env=os.environ | {"NODE_PATH": str(modules)},
            capture_output=True,
            text=True,
            check=False,
        )

    killed = upload("4000000")
    assert killed.returncode in {-9, 256 - 9}, killed.stderr  # the wheel starts node through a program
    assert ask(platform, "HEAD", f"/v1/data/ann/tus/by_{parts}.bin").status == 404
    done = upload()
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0] == {"previous": 1}
    assert "/v1/uploads/" in said[1]["url"]
    assert ask(platform, "GET", f"/v1/data/ann/tus/by_{parts}.bin").body == content
    assert list((platform.home / "store" / "uploads").iterdir()) == []
