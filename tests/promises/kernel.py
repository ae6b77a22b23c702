"""What a platform and all it starts really did, as the kernel saw it: strace over the whole tree of processes.

What runs in the sandbox is left out: the paths there are the sandbox's, and it has tests of its own.
"""

from __future__ import annotations

import codecs
import os.path
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHANGES = (
    *("creat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate", "chmod", "fchmodat", "chown", "lchown"),
    *("fchownat", "utimensat", "setxattr", "lsetxattr"),
)
OPENS = ("open", "openat", "openat2")
MOVES = ("chdir", "fchdir")
STARTS = ("clone", "clone3", "fork", "vfork")
_LINE = re.compile(
    r"([\d.]+) (\w+)\((.*)\)\s+= (-?\d+|\?)(?:<(.*?)>)?(?: .*?(?:(\d+) in strace's PID NS.*)?)?", re.DOTALL
)
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"(AT_FDCWD|\d+)<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """A system call.

    Attributes:
        program: What the process runs.
        paths: What it names, absolute; the opened file's is what the kernel made of it, links followed.
    """

    process: int
    program: str
    name: str
    arguments: str
    paths: tuple[str, ...]
    result: int

    @property
    def changes(self) -> bool:
        """Whether it would write."""
        return self.name in CHANGES or (
            self.name in OPENS and re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", self.arguments) is not None
        )


def needed() -> None:
    """Insist on strace where it can be had."""
    if sys.platform != "linux":
        pytest.skip("strace is Linux's")
    assert shutil.which("strace"), "this test needs strace; run `apt-get install strace`, or scripts/test as root"


@dataclass
class Trace:
    """The files of a trace, read as they grow."""

    folder: Path
    _offsets: dict[Path, int] = field(default_factory=dict)
    _inside: set[int] = field(default_factory=set)
    _here: dict[int, str] = field(default_factory=dict)
    _program: dict[int, str] = field(default_factory=dict)

    def command(self, *more: str) -> list[str]:
        """Say what to start the program under.

        Args:
            more: Further system calls to note.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        calls = ",".join(dict.fromkeys((*OPENS, *CHANGES, *MOVES, *STARTS, "execve", *more)))
        shown = ["-s", "5000", "-y", "-x", "-e", "signal=none", "--pidns-translation", "-e", f"trace={calls}"]
        # as a grandchild, so that the program is still the child of who starts it
        return ["strace", "-D", "-ff", "-ttt", "--seccomp-bpf", "-qq", *shown, "-o", str(self.folder / "t")]

    def read(self) -> list[Call]:
        """Return what was done since the last time, in its order, outside of sandboxes."""
        found = []
        for _, process, name, arguments, result, opened in sorted(self._lines(), key=lambda line: line[0]):
            paths = self._paths(process, name, arguments)
            if opened is not None and name in OPENS:
                paths = (_unescaped(opened),)
            if name == "execve" and result == 0:
                self._program[process] = paths[0]
                if paths[0].endswith("/bwrap"):
                    self._inside.add(process)
            if name in STARTS and result > 0:
                # another process may have had that number before
                self._here[result] = self._here.get(process, "?")
                self._program[result] = self._program.get(process, "")
                (self._inside.add if process in self._inside else self._inside.discard)(result)
            if process not in self._inside:
                found.append(Call(process, self._program.get(process, ""), name, arguments, paths, result))
        return found

    def _lines(self) -> Iterator[tuple[float, int, str, str, int, str | None]]:
        """Read what is new: when it began, process, call, arguments, result, and the true path of what was opened."""
        for file in self.folder.iterdir():
            process = int(file.suffix[1:])
            is_over = not Path(f"/proc/{process}").exists()
            with file.open("rb") as opened:
                opened.seek(self._offsets.get(file, 0))
                text = opened.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offsets[file] = self._offsets.get(file, 0) + len(whole)
            if is_over:  # its number will be another one's
                file.unlink()
                del self._offsets[file]
            for line in whole.decode("latin-1").splitlines():
                if found := _LINE.fullmatch(line):
                    began, name, arguments, result, path, outer = found.groups()
                    yield float(began), process, name, arguments, -1 if result == "?" else int(outer or result), path

    def _paths(self, process: int, name: str, arguments: str) -> tuple[str, ...]:
        folders = []
        for kind, folder in _FOLDER.findall(arguments):
            folders.append(_unescaped(folder))
            if kind == "AT_FDCWD":
                self._here[process] = folders[-1]
        if name == "execve":
            arguments = arguments.partition(", [")[0]
        found = []
        for number, text in enumerate(_TEXT.findall(arguments)):
            folder = folders[min(number, len(folders) - 1)] if folders else self._here.get(process, "?")
            found.append(os.path.normpath(os.path.join(folder, _unescaped(text))))
        if name in MOVES:
            self._here[process] = (found or folders)[0]
            return ()
        # what a symbolic link says is no place that is touched
        return tuple(found[-1:] if name.startswith("symlink") else found)


def _unescaped(text: str) -> str:
    return codecs.escape_decode(text.encode("latin-1"))[0].decode("utf-8", "surrogateescape")
