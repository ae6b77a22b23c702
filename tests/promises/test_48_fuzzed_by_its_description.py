"""Promise 48: whatever is asked, the platform has no bug, and answers what its description says.

Schemathesis reads the description from the live platform and makes requests of it, right and wrong, one by one and in
chains. What it is told, and which checks are off and why, stands in `schemathesis.toml`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, ask, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
CASES, CHAINED = 5000, 200
SECONDS = 45
"""How long chains are made."""
# what is there, so that requests get past the first 404; it stays, for all that is made of it
THERE = """
[[operations]]
include-operation-id = "algorithms.remove"
parameters = { "path.name" = "absent" }
[[operations]]
include-operation-id = "organizations.remove"
parameters = { "path.organization" = "absent" }
[[operations]]
include-operation-id = "data.remove_collection"
parameters = { "path.collection" = "absent" }
[parameters]
"path.owner" = "ann"
"path.name" = "echo"
"path.username" = "ann"
"path.account" = "ann"
"path.organization" = "team"
"path.selector" = "0.1.0"
"path.collection" = "things"
"path.file" = "thing"
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/echo", "def apply(input):\n    return input\n")
    admin = (running.home / "admin-key").read_text().strip()
    made = [
        ask(running, "POST", "/v1/organizations", b'{"org_name": "team"}', key=admin, headers=JSON),
        ask(running, "POST", "/v1/data/ann", b'{"name": "things"}', headers=JSON),
        ask(running, "PUT", "/v1/data/ann/things/thing", b"x"),
    ]
    assert [one.status for one in made] == [200, 200, 200]
    yield running
    stop_platform(running)


def fuzz(platform: Platform, folder: Path, told: str, *options: str) -> dict[str, Any]:
    """Run schemathesis; its keys come by the environment, and its report is what it says of itself."""
    settings, report = folder / "settings.toml", folder / "report.json"
    settings.write_text((HERE / "schemathesis.toml").read_text() + told)
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "--config-file", settings),
            *("run", f"{platform.url}/openapi.json", "--no-color", "--report", "json", "--report-json-path", report),
            *options,
        ],
        cwd=HERE.parent.parent,
        env=os.environ
        | {"FUZZ_KEY": platform.key, "FUZZ_ADMIN_KEY": (platform.home / "admin-key").read_text().strip()},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(report.read_text())
    bugs = [line for line in (platform.home / "platform.log").read_text().splitlines() if '"event": "bug"' in line]
    assert bugs == [], bugs[0]
    assert (done.returncode, found["failures"], found["errors"]) == (0, [], []), done.stdout.partition("= FAILURES")[2]
    return found


def test_no_request_is_a_bug_or_gets_an_answer_that_is_not_described(platform: Platform, tmp_path: Path) -> None:
    found = fuzz(platform, tmp_path, THERE, "--phases", "coverage,fuzzing", "--max-examples", "15")
    assert found["test_cases"]["generated"] >= CASES
    assert found["operations"]["tested"] == found["operations"]["total"]


def test_what_one_request_makes_the_next_one_finds_until_it_is_deleted(platform: Platform, tmp_path: Path) -> None:
    found = fuzz(platform, tmp_path, "", "--phases", "stateful", "--max-time", str(SECONDS))
    assert found["test_cases"]["generated"] >= CHAINED
