"""Promise 55: no address that a user writes, no redirection and no resolver leads the platform into a private network.

The world is `elsewhere.py`: name spaces in which a server answers at every address there is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises.elsewhere import PRIVATE, PUBLIC, detours, hosts


@pytest.mark.slow
def test_the_platform_connects_to_public_addresses_alone(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("name spaces are Linux's")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    program = ["unshare", "--net", "--mount", *as_root, sys.executable, "-m", "tests.promises.elsewhere", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["listening"] > 20, "the canaries were there"
    places = {connection.split(" ")[0] for connection in found["connections"]}
    assert places <= PUBLIC, found["connections"]
    assert found["bugs"] == 0
    # that it was asked, and that the traps on the public side were walked into
    tried = found["tried"]
    assert len(set(hosts())) >= 180
    assert sum(number for what, number in tried.items() if what.startswith("spellings")) >= 500
    assert tried["names that change"] >= 120
    assert tried["ways out"] >= 1500
    assert tried["ways out: refused"] >= 500
    assert tried["ways out: connected"] >= 40
    assert "ways out: busy" not in tried
    assert len(detours()) > len(PRIVATE)
    for trap in ("redirections of git hosts", "redirections of issuers", "keys of issuers", "alternates of git hosts"):
        assert tried[trap] >= len(detours()), trap
    for page in "dkabi":
        assert found["served"].get(page, 0) > 20, found["served"]
