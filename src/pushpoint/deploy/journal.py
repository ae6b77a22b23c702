"""What a deploy has done so far, so that a killed one goes on where it was.

One line of JSON a step, flushed to disk before the next step begins. Positional arguments are values, and with the
step's name they are the key; keyword arguments are adapters and stay out of it. A torn last line is cut off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from pushpoint.report import Report

T = TypeVar("T")


class Journal:
    """The steps of one plan.

    Attributes:
        replayed: Whether the last step was taken from the file instead of being done.
    """

    def __init__(self, path: Path, *, report: Report) -> None:
        self._path, self._report = path, report
        self.replayed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            file.truncate(len(whole))
        self._done: dict[str, bytes] = {}
        for line in whole.splitlines():
            key, _, result = line.partition(b" ")
            self._done[key.decode("utf-8", "replace")] = result

    def step(self, function: Callable[..., T], *values: object, **adapters: Any) -> T:
        """Do a step, or take its result from the file.

        Returns:
            What the step returned, now or then.
        """
        name = function.__name__
        key = f"{name}:{hashlib.sha256(msgspec.json.encode(values, order='sorted')).hexdigest()}"
        if key in self._done:
            # what another version of the program noted may not be readable: then the step is done again
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                noted: T = msgspec.json.decode(self._done[key], type=get_type_hints(function)["return"])
                self.replayed = True
                self._report.line(f"{name.replace('_', ' ')}: done by the run before", style="cyan")
                return noted
        self.replayed = False
        with self._report.step(name.replace("_", " ")):
            result = function(*values, **adapters)
        self._done[key] = msgspec.json.encode(result)
        with self._path.open("ab") as file:
            file.write(key.encode() + b" " + self._done[key] + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return result

    def forget(self) -> None:
        """Begin anew: the deploy is over, or what was noted no longer holds."""
        self._done.clear()
        self._path.unlink(missing_ok=True)
