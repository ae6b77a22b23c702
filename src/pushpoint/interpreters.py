"""The Pythons of this machine, from which algorithms may choose.

Known are those on PATH, those that uv keeps, and pyenv's. One stands for each minor version: the platform's own, else
the newest. They are found once, at the platform's start.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from uv import find_uv_bin

from pushpoint.runtime import FLOOR

_NAMESPACE = UUID("7b0f9ae4-5d0c-5a0e-9a3f-0f0c9d8f3c11")
_NAMED = re.compile(r"python[\s_-]?3\.?(\d{1,2})(?!\d)", re.IGNORECASE)
"""`python38`, `Python 3.8`, `python3.8`; not the old platform's `python3-1`, which says nothing of a minor version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """One Python.

    Attributes:
        minor: 8 for Python 3.8.
        release: `3.8.18`.
        path: Its program, which is in no virtual environment.
    """

    minor: int
    release: str
    path: Path

    @property
    def version(self) -> str:
        """The version as people say it: `3.8`."""
        return f"3.{self.minor}"

    @property
    def id(self) -> str:
        """The UUID that this version has as an environment, on every platform the same (RFC 9562, UUIDv5)."""
        return str(uuid5(_NAMESPACE, f"Python {self.version}"))


OWN = Interpreter(
    minor=sys.version_info.minor,
    release=".".join(map(str, sys.version_info[:3])),
    path=Path(getattr(sys, "_base_executable", sys.executable)),
)
"""The platform's own, which algorithms have that do not choose."""


def find_interpreters() -> tuple[Interpreter, ...]:
    """Find the Pythons that workers can run on.

    Returns:
        One for each minor version from the runtime's floor on, `OWN` first, then the newest first.
    """
    folders = [*_of_pyenv(), *(folder for folder in os.get_exec_path() if Path(folder).name != "shims")]
    asked = subprocess.run(
        [find_uv_bin(), "python", "list", "--only-installed", "--no-config", "--output-format", "json"],
        env={**os.environ, "PATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    best: dict[int, Interpreter] = {}
    for found in sorted(json.loads(asked.stdout or "[]"), key=lambda one: _order(one["version_parts"])):
        parts, path = found["version_parts"], Path(found["path"])
        suits = (found["implementation"], found["variant"], parts["major"]) == ("cpython", "default", 3)
        if suits and parts["minor"] >= FLOOR[1] and not (path.parent.parent / "pyvenv.cfg").exists():
            best[parts["minor"]] = Interpreter(minor=parts["minor"], release=found["version"], path=path)
    best.pop(OWN.minor, None)
    return (OWN, *sorted(best.values(), key=lambda one: -one.minor))


def named(settings: Mapping[str, object], interpreters: Sequence[Interpreter]) -> Interpreter | None:
    """Look up the interpreter that an algorithm's settings ask for (platform API, section 2.3).

    Args:
        settings: As the wire gave them: `algorithm_environment` has an id; `package_set`, `language` and `environment`
            may have a version in their name.
        interpreters: Those there are.

    Returns:
        The interpreter; none where the settings leave it open, or ask for one that is not here.

    Example:
        >>> named({"language": "python3-1", "package_set": "Python 3.11"}, [OWN]) is (OWN if OWN.minor == 11 else None)
        True
    """
    by_id = {one.id: one for one in interpreters}
    if found := by_id.get(str(settings.get("algorithm_environment")).lower()):
        return found
    by_minor = {one.minor: one for one in interpreters}
    for key in ("package_set", "language", "environment"):
        if match := _NAMED.search(str(settings.get(key))):
            return by_minor.get(int(match[1]))
    return None


def _of_pyenv() -> list[str]:
    # its shims start only what its user has chosen for the folder, so the versions themselves are asked
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    try:
        return [str(folder) for folder in sorted(root.glob("versions/*/bin"))]
    except OSError:  # somebody else's
        return []


def _order(parts: Mapping[str, int]) -> tuple[int, int, int]:
    return parts["major"], parts["minor"], parts["patch"]
