"""What was acknowledged is there after a kill; what was not has left nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.conftest import start_platform, stop_platform
from tests.web.support import ask, stored


def test_a_kill_during_uploads_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    platform = start_platform(tmp_path / "home")
    ask(platform, "POST", "/v1/data/ann", b"c")
    acknowledged: dict[str, str] = {}
    stop = threading.Event()

    def upload(worker: int) -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            name, content = f"w{worker}_{number}", os.urandom(200_000 + 1000 * worker)
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(platform, "PUT", f"/v1/data/ann/c/{name}", content, timeout=10).status == 200:
                    acknowledged[name] = hashlib.sha256(content).hexdigest()

    threads = [threading.Thread(target=upload, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 25 and time.monotonic() < deadline:
        time.sleep(0.005)
    platform.process.send_signal(signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    platform.process.wait()
    stop_platform(platform)
    assert len(acknowledged) >= 25
    (platform.home / "store" / "drafts" / "left").write_bytes(b"half")  # there may be one of ours, or not

    again = start_platform(tmp_path / "home")
    try:
        for name, sha256 in acknowledged.items():
            answer = ask(again, "GET", f"/v1/data/ann/c/{name}")
            assert answer.status == 200, name
            assert hashlib.sha256(answer.body).hexdigest() == sha256
        listed = ask(again, "GET", "/v1/data/ann/c").json["files"]
        assert {file["filename"] for file in listed} >= set(acknowledged)
        for file in listed:  # a name without bytes would be worse than neither
            assert len(ask(again, "GET", f"/v1/data/ann/c/{file['filename']}").body) == file["size"]
        drafts, blobs = stored(again)
        assert drafts == set()
        assert blobs >= set(acknowledged.values())
        assert again.key == platform.key
    finally:
        stop_platform(again)


def test_a_home_has_one_platform(tmp_path: Path) -> None:
    platform = start_platform(tmp_path / "home")
    try:
        second = subprocess.run(
            [sys.executable, "-m", "pushpoint", "serve", "--home", str(platform.home), "--port", "0", "--no-profile"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 8
        assert "another platform runs on" in second.stderr
        third = subprocess.run(
            [sys.executable, "-m", "pushpoint", "serve", "--home", str(tmp_path / ("deep" * 25)), "--no-profile"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert third.returncode == 2
        assert "too long a path" in third.stderr
        assert ask(platform, "GET", "/ready", key=None).json == {"status": "ready"}
    finally:
        stop_platform(platform)


def test_uploads_under_way_end_before_the_platform_does(tmp_path: Path) -> None:
    platform = start_platform(tmp_path / "home")
    ask(platform, "POST", "/v1/data/ann", b"c")
    content = os.urandom(1 << 20)
    began = threading.Event()

    def pieces() -> object:
        yield content
        began.set()
        time.sleep(1.0)
        yield content

    statuses: list[int] = []

    def upload() -> None:
        statuses.append(ask(platform, "PUT", "/v1/data/ann/c/slow", pieces()).status)  # type: ignore[arg-type]

    thread = threading.Thread(target=upload)
    thread.start()
    assert began.wait(20)
    platform.process.send_signal(signal.SIGTERM)
    thread.join(30)
    assert statuses == [200]
    stop_platform(platform)
    again = start_platform(tmp_path / "home")
    try:
        assert ask(again, "GET", "/v1/data/ann/c/slow").body == content * 2
    finally:
        stop_platform(again)
