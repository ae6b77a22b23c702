"""Serve code that speaks the old platform's pipe protocol: requests on standard input, answers into /tmp/algoout.

Such code (the ADK, `Algorithmia.handler(apply, load).serve()`, any runner) prints PIPE_INIT_COMPLETE and does not come
back from its import. So it keeps the main thread, and a thread of the worker stands between it and the platform. Until
that line is printed nothing differs from any other import: standard input is empty.

The path cannot be chosen, so this needs a /tmp of the worker's own, which a sandbox gives.

Source: platform API, sections 5.3 to 5.5; algorithmia 2.0.5, handler.py; algorithmia-adk 1.2.4, ADK.py and io.py.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import os
import select
import sys
import traceback
import types
from typing import Any, Callable, List, Optional, Set, Tuple

from pushpoint.runtime import messages

ANSWERS = "/tmp/algoout"  # noqa: S108 (the protocol's)
READY = b"PIPE_INIT_COMPLETE"
ANSWER_LIMIT = 96 << 20
"""Bytes of one line of an answer: the largest data of a frame as base64, and some more."""
RUNNERS = {"adk.ADK", "Algorithmia.handler"}
"""Modules whose objects serve by this protocol."""


class Refused(Exception):
    """Said by the worker or by a runner: there is no stack of ours to show."""

    def __init__(self, error_type: str, message: str, stacktrace: str = "") -> None:
        super().__init__(message)
        self.error_type, self.stacktrace = error_type, stacktrace


class Pipe:
    """The platform's side of the protocol, from before the import on.

    Attributes:
        is_ready: Whether the code has said that it serves.
    """

    def __init__(self, scratch: str, on_ready: Callable[[], None]) -> None:
        """Lay the pipe for answers, and watch for the line.

        Args:
            scratch: The worker's own folder, which is /tmp as well where there is a sandbox.
            on_ready: Called once, in the thread that prints the line, before it goes on.
        """
        self._path = os.path.join(scratch, os.path.basename(ANSWERS))
        os.mkfifo(self._path, 0o600)
        # open for writing too, so that neither end waits for the other one to be opened
        self._answers = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_private = os.path.exists(ANSWERS) and os.path.samefile(ANSWERS, self._path)
        self._requests = -1
        self._on_ready = on_ready
        self.is_ready = False
        self._stdout = sys.stdout
        self._watched = io.TextIOWrapper(_Watched(self), encoding="utf-8", errors="replace", write_through=True)
        sys.stdout = self._watched

    def begin(self) -> None:
        """Turn standard input into the requests; the code is about to read it.

        Raises:
            BaseException: What its `load` raised. The ADK would say it again to every caller, and what cannot answer is
                not to take the place of what can.
        """
        error = _failed_load()
        if error is not None:
            raise error
        self.is_ready = True
        mend_packages()
        reading, self._requests = os.pipe()
        os.dup2(reading, 0)
        os.close(reading)
        self._on_ready()

    def check_private(self) -> None:
        """Insist on a /tmp of our own.

        Raises:
            Refused: Everybody on this machine has the same.
        """
        if not self._is_private:
            raise Refused(
                "LoadingError",
                "this algorithm answers through {}, which has to be its own, and this platform has no sandbox that "
                "gives it one; run the platform where bubblewrap works, or give the algorithm a plain `apply` and "
                "`load`".format(ANSWERS),
            )

    def leave(self, module: types.ModuleType) -> None:
        """End the watch, since the import came back: the code does not serve.

        Raises:
            Refused: It would have served, had it been able to.
        """
        line = self._line(wait=False)
        if line:  # `Algorithmia.handler` says so when its `load` fails
            _read_answer(line)
        if any(type(value).__module__ in RUNNERS for value in list(vars(module).values())):
            self.check_private()
        if sys.stdout is self._watched:
            sys.stdout = self._stdout
        os.close(self._answers)
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def ask(self, content_type: str, value: Any) -> "Tuple[str, Any]":
        """Pass on one request and wait for its answer.

        Args:
            content_type: `text`, `json` or `binary`.
            value: What belongs to it: a string, what JSON can hold, or bytes.

        Returns:
            The same two things of the answer.

        Raises:
            Refused: The code says that it failed, or what it says cannot be understood.
        """
        while select.select([self._answers], [], [], 0)[0]:
            os.read(self._answers, 1 << 16)  # written after the last answer: it answers nothing that was asked
        data = base64.b64encode(value).decode() if content_type == "binary" else value
        request = json.dumps({"content_type": content_type, "data": data}, separators=(",", ":")).encode() + b"\n"
        while request:
            request = request[os.write(self._requests, request) :]
        return _read_answer(self._line(wait=True))

    def end(self) -> None:
        """Say that no more requests come."""
        os.close(self._requests)

    def _line(self, *, wait: bool) -> bytes:
        pieces: List[bytes] = []
        size = 0
        while not (pieces and b"\n" in pieces[-1]):
            if not select.select([self._answers], [], [], None if wait else 0)[0]:
                break
            pieces.append(os.read(self._answers, 1 << 16))
            size += len(pieces[-1])
            if size > ANSWER_LIMIT:
                pieces = pieces[-1:]
        if size > ANSWER_LIMIT:
            raise Refused(
                "TooLargeError", "the result is larger than the {} bytes an answer may have".format(ANSWER_LIMIT)
            )
        return b"".join(pieces).partition(b"\n")[0]  # more than one line answers nothing that was asked


class _Watched(io.FileIO):
    """Standard output until the import is over."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(1, "w", closefd=False)
        self._pipe = pipe
        self._has_ended_line = False

    def write(self, data: Any) -> Any:
        data = bytes(data)
        if self._has_ended_line and data:
            self._has_ended_line = False
            if data.startswith(b"\n"):
                return 1 + super().write(data[1:])
        written = super().write(data)
        if not self._pipe.is_ready and READY in data:
            if data.endswith(READY):  # `print` writes the line's end later, when it would be the first call's output
                super().write(b"\n")
                self._has_ended_line = True
            self._pipe.begin()
        return written


def _failed_load() -> Optional[BaseException]:
    # the ADK prints the line at the end of its own `load`, whatever happened in it
    frame: Optional[types.FrameType] = sys._getframe()
    while frame is not None:
        error = getattr(frame.f_locals.get("self"), "loading_exception", None)
        if isinstance(error, BaseException):
            return error
        frame = frame.f_back
    return None


def _read_answer(line: bytes) -> "Tuple[str, Any]":
    try:
        answer = json.loads(line)
        error = answer.get("error")
        if error is None and "result" not in answer:
            error = answer  # an older form, without the wrapping
        if error is not None:
            raise Refused(
                messages.error_type(error.get("error_type")), str(error["message"]), str(error.get("stacktrace") or "")
            )
        content_type, result = answer["metadata"]["content_type"], answer["result"]
        if content_type == "binary":
            return content_type, base64.b64decode(result, validate=True)
        if content_type == "json" or (content_type == "text" and isinstance(result, str)):
            return content_type, result
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Refused(
        "AlgorithmError",
        "the algorithm wrote something into {} that is no answer; it has to be one line, "
        '{{"result": ..., "metadata": {{"content_type": "text", "json" or "binary"}}}}'.format(ANSWERS),
    )


def run(name: str, code: str) -> types.ModuleType:
    """Import the module `name`; or run it as the program, where it serves only then.

    That is so where the file speaks of `ADK` or `handler` and a block `if __name__ == "__main__"` calls `.init(...)` or
    `.serve(...)`, and where there is such a block beside the ADK's marker, the file `.adk`. Other such blocks are for
    trying a file out at home.

    Args:
        name: The module.
        code: The algorithm's repository.

    Returns:
        The module, if it comes back.
    """
    found = importlib.util.find_spec(name)
    loader: Any = found and found.loader
    if found is None or not _is_program(loader, name, os.path.exists(os.path.join(code, ".adk"))):
        return importlib.import_module(name)
    module = importlib.util.module_from_spec(found)
    module.__name__ = "__main__"
    sys.modules["__main__"] = sys.modules[name] = module  # what was pickled under either name is found
    exec(loader.get_code(name), vars(module))  # noqa: S102 (that is what an import does)
    return module


def _is_program(loader: Any, name: str, has_marker: bool) -> bool:
    try:
        tree = ast.parse(loader.get_source(name))
    except Exception:  # the import says what is wrong with it
        return False
    speaks_of_runners = bool({"ADK", "handler"} & _names(tree))
    blocks = [block for block in tree.body if isinstance(block, ast.If) and "__name__" in _names(block.test)]
    return any(has_marker or (speaks_of_runners and bool({"init", "serve"} & _names(block))) for block in blocks)


def _names(tree: ast.AST) -> "Set[str]":
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(tree)}


def mend_python() -> None:
    """Bring back what Python has dropped and the old packages call: `inspect.getargspec`, gone since 3.11."""
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = lambda function: tuple(inspect.getfullargspec(function)[:4])  # type: ignore[attr-defined]


def mend_packages() -> None:
    """Mend the old packages, where the algorithm has them.

    The ADK's own words for an exception use an argument that Python 3.10 has dropped, so that any exception would end
    it. `Algorithmia.handler` takes binary input for text that is not base64.
    """
    adk = sys.modules.get("adk.io")
    if adk is not None:
        adk.traceback = types.SimpleNamespace(format_exception=_format_exception)  # type: ignore[attr-defined]
    handler = sys.modules.get("Algorithmia.handler")
    if handler is not None:
        handler.Handler.wrap_binary_data = lambda self, data: base64.b64decode(data)


def _format_exception(etype: type, value: BaseException, tb: "Optional[types.TracebackType]") -> List[str]:
    return traceback.format_exception(etype, value, tb)
