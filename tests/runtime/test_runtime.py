from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pushpoint import runtime

SOURCES = sorted(Path(runtime.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_file_is_python_of_the_floor_and_imports_the_standard_library_only(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=runtime.FLOOR)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.append(node.module or "")
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names or name.startswith("pushpoint.runtime"), name


def test_the_copy_is_importable_on_its_own_and_made_once(tmp_path: Path) -> None:
    folder = runtime.lay_down(tmp_path / "a" / "b")
    assert runtime.lay_down(tmp_path / "a" / "b") == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert {path.name for path in (folder / "pushpoint" / "runtime").iterdir()} == {path.name for path in SOURCES}
    assert folder.stat().st_mode & 0o055 == 0o055
    program = "import pushpoint.runtime.worker, pushpoint; print(pushpoint.__file__)"
    run = subprocess.run(
        [sys.executable, "-S", "-B", "-c", program], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert run.stdout.strip() == str(folder / "pushpoint" / "__init__.py"), run.stderr


def test_many_may_lay_it_down_at_once(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(runtime.lay_down(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert list(tmp_path.iterdir()) == [found[0]]
    assert len(list(found[0].glob("pushpoint/runtime/*.py"))) == len(SOURCES)


@pytest.mark.parametrize(
    ("version", "module"),
    [
        *((version, "streams") for version in ("3.8", "3.9", "3.10", "3.12", "3.13")),
        *((version, module) for version in ("3.8", "3.13") for module in ("streams_async", "threads")),
    ],
)
def test_it_runs_on_other_pythons(tmp_path: Path, version: str, module: str) -> None:
    python = find(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    folder = runtime.lay_down(tmp_path)
    program = (
        "import socket, sys, threading, json\n"
        "from pushpoint.runtime import frames, messages, worker\n"
        "ours, theirs = socket.socketpair()\n"
        "module, code, scratch = sys.argv[1:]\n"
        "settings = dict(algorithm='a/b', module=module, code=code, model=None, scratch=scratch, api_socket='none',\n"
        "                way_out=None, socket=theirs.detach())\n"
        "sys.argv = ['worker', json.dumps(settings)]\n"
        "ours.sendall(frames.encode(0, messages.Hello('t', {})))\n"
        "threading.Thread(target=worker.main, daemon=True).start()\n"
        "received, decoder = {1: [], 2: [], 3: []}, frames.Decoder()\n"
        "(ready,) = decoder.feed(ours.recv(65536))\n"
        "assert ready[1].failure is None, ready\n"
        "asked = json.dumps({'count': 2, 'stream': 2}).encode()\n"
        "ours.sendall(frames.encode(1, messages.Call('json', asked)))\n"
        "ours.sendall(frames.encode(2, messages.Ping()))\n"
        "ours.sendall(frames.encode(3, messages.Call('json', asked, stream=True)))\n"
        "while not (received[1] and received[2] and len(received[3]) > 2):\n"
        "    for call_id, message in decoder.feed(ours.recv(65536)):\n"
        "        received[call_id].append(message)\n"
        "assert len(json.loads(received[1][0].data)) == 2, received\n"
        "assert received[2] == [messages.Pong()], received\n"
        "assert [type(one) for one in received[3]] == [messages.Item, messages.Item, messages.Answer], received\n"
    )
    code = Path(__file__).parent.parent / "algorithms" / module
    run = subprocess.run(
        [python, "-B", "-X", "dev", "-W", "error::SyntaxWarning", "-c", program, module, str(code), str(tmp_path)],
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr


def find(version: str) -> str | None:
    on_path = shutil.which(f"python{version}")
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python{version}"))  # as pyenv keeps them
    for candidate in [*map(str, beside), *([on_path] if on_path else [])]:
        run = subprocess.run([candidate, "-c", "pass"], capture_output=True, env={"PATH": os.defpath})
        if run.returncode == 0:
            return candidate
    return None
