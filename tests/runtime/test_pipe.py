"""Which files are run as the program; what is served then: tests/engines/test_serving_code.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pushpoint.runtime import lay_down

GUARD = 'if __name__ == "__main__":\n'
PROGRAM = "from pushpoint.runtime.pipe import run; print(run('src.x', '.').__name__)"


@pytest.mark.parametrize(
    ("source", "marker", "name"),
    [
        ("", False, "src.x"),
        ("", True, "src.x"),
        ("ADK = print\nclass a: init = print\na.init()\n", True, "src.x"),
        (f"ADK = print\nclass a: init = print\n{GUARD}    a.init()\n", False, "__main__"),
        (f"class a: handler = serve = print\na.handler()\n{GUARD}    a.serve()\n", False, "__main__"),
        (f"class a: init = print\n{GUARD}    a.init()\n", False, "src.x"),
        (f"ADK = print\n{GUARD}    print()\n", False, "src.x"),
        (f"{GUARD}    print()\n", True, "__main__"),
        ("def main(): pass\nif '__main__' == __name__:\n    main()\n", True, "__main__"),
        (
            "import pickle\nclass A: pass\nassert pickle.loads(pickle.dumps(A())).__class__ is A\n" + GUARD + " 1",
            True,
            "__main__",
        ),
    ],
)
def test_a_file_is_the_program_only_where_it_serves_as_one(
    tmp_path: Path, source: str, marker: bool, name: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.py").write_text(source)
    if marker:
        (tmp_path / ".adk").touch()
    path = f"{lay_down(tmp_path / 'runtime')}:{tmp_path}"
    ran = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM], cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ran.stdout.split()[-1:] == [name], ran.stderr


def test_the_line_that_says_ready_is_whole_before_anything_is_asked(tmp_path: Path) -> None:
    """`print` writes a line's end by itself; what comes after the line is the first call's output."""
    program = (
        "import os; from pushpoint.runtime.pipe import Pipe\n"
        "pipe = Pipe('.', lambda: os.write(1, b'[asked]'))\n"
        "print('loading'); print('PIPE_INIT_COMPLETE'); print('seen'); print(); print('more', end='')"
    )
    path = lay_down(tmp_path / "runtime")
    ran = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "loading\nPIPE_INIT_COMPLETE\n[asked]seen\n\nmore", ran.stderr
