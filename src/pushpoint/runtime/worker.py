"""One worker: verify the model, import the algorithm, load it, say ready, answer until the end of the input.

Calls are answered one after the other in the main thread; frames are read in another, so that a ping is answered during
a call. Whatever the algorithm raises is an answer. Files 1 and 2 are the algorithm's own: its output goes to its log.
Code that serves by itself (`pipe.py`) keeps the main thread instead, and another one passes its calls on.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Tuple

from pushpoint.runtime import frames, messages, model, pipe, verify
from pushpoint.runtime.forward import Forwarder
from pushpoint.runtime.messages import Answer, Call, Failure, Hello, Message, Outcome, Ping, Pong, Ready
from pushpoint.runtime.pipe import Refused

TEXT_LIMIT = 1 << 16
GRACE = 3.0
"""Seconds between the end of the input and the end of a worker that does not end by itself."""

Answering = Callable[[Call], Tuple[str, bytes]]
"""Content type and body that a call is answered with."""


def main() -> None:
    """Be a worker, as the JSON in the first argument says.

    Its keys: `algorithm`, `module`, `code`, `model` (or null), `scratch`, `socket` (a file descriptor), `api_socket`.
    """
    settings = json.loads(sys.argv[1])
    sys.argv = [settings["algorithm"]]
    channel = Channel(settings["socket"])
    _, hello = channel.inbox.get() or _end()
    if not isinstance(hello, Hello):
        _end()
    os.environ.update(hello.variables)
    forwarder = Forwarder(settings["api_socket"], hello.token)
    os.environ["ALGORITHMIA_API"] = os.environ["PUSHPOINT_URL"] = forwarder.url
    started = time.perf_counter()

    def answer_all(answering: Answering) -> None:
        for call_id, call in iter(channel.inbox.get, None):
            if isinstance(call, Call):
                forwarder.token = call.token
                outcome = _answer(answering, call, os.path.join(settings["scratch"], messages.CAPTURE))
                forwarder.token = hello.token
                channel.send(call_id, outcome)

    def pass_on() -> None:
        try:
            served.check_private()
        except Refused as error:
            channel.send(0, Ready(time.perf_counter() - started, _failure(error, started)))
            _end()
        channel.send(0, Ready(time.perf_counter() - started))
        answer_all(lambda call: _output(*served.ask(call.content_type, _input(call))))
        served.end()

    served = pipe.Pipe(settings["scratch"], lambda: threading.Thread(target=pass_on, daemon=True).start())
    try:
        apply = _load(settings, served)
    except BaseException as error:
        if served.is_ready:
            _leave(error)
        channel.send(0, Ready(time.perf_counter() - started, _failure(error, started, kind="LoadingError")))
        return
    channel.send(0, Ready(time.perf_counter() - started))
    answer_all(lambda call: _output(None, apply(_input(call))))


class Channel:
    """The worker's end of the socket.

    Attributes:
        inbox: What has come in, but for pings; None is the end.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._sending = threading.Lock()
        self.inbox: "queue.SimpleQueue[Optional[Tuple[int, Message]]]" = queue.SimpleQueue()
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    def send(self, call_id: int, message: Message) -> None:
        """Send one message, whole."""
        try:
            frame = frames.encode(call_id, message)
        except frames.ProtocolError:
            text = "the result is larger than the {} bytes an answer may have".format(frames.DATA_LIMIT)
            frame = frames.encode(call_id, Failure("TooLargeError", text))
        with self._sending:
            self._socket.sendall(frame)

    def _read(self) -> None:
        decoder = frames.Decoder()
        with contextlib.suppress(OSError, frames.ProtocolError):
            for chunk in iter(lambda: self._socket.recv(1 << 18), b""):
                for call_id, message in decoder.feed(chunk):
                    if isinstance(message, Ping):
                        self.send(call_id, Pong())
                    else:
                        self.inbox.put((call_id, message))
        self.inbox.put(None)
        time.sleep(GRACE)
        _end()


def _end() -> NoReturn:
    os._exit(0)


def _leave(error: BaseException) -> NoReturn:
    # the end of code that served by itself; as Python would end, but without waiting for threads: a call may be open
    code = (error.code or 0) if isinstance(error, SystemExit) else _stack(error)
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    _flush()
    os._exit(code & 0xFF)


def _load(settings: Dict[str, Any], served: pipe.Pipe) -> Callable[[Any], Any]:
    code = settings["code"]
    model.give(*_model(settings))
    os.chdir(code)
    sys.path[:] = [code] + [entry for entry in sys.path if entry not in ("", code)]
    pipe.mend_python()
    module = pipe.run("src." + settings["module"], code)
    if served.is_ready:
        raise SystemExit(0)  # it has served, and now it is over
    served.leave(module)
    load = getattr(module, "load", None)
    if load is not None:
        load()
    apply: Optional[Callable[[Any], Any]] = getattr(module, "apply", None)
    if not callable(apply):
        raise AttributeError("src/{}.py has no function `apply(input)`".format(settings["module"]))
    return apply


def _model(settings: Dict[str, Any]) -> "Tuple[Optional[str], Optional[Dict[str, Any]]]":
    code = os.path.realpath(settings["code"])
    manifest = verify.read_manifest(os.path.join(code, verify.MANIFEST))
    name = verify.stored_model(manifest)
    if manifest is None or manifest.get("model_filepath") is None:
        return None, manifest
    if name is None:
        path = os.path.realpath(os.path.join(code, manifest["model_filepath"]))
        if not path.startswith(code + os.sep) or not os.path.isfile(path):
            raise verify.ModelRefused(
                "{} is not in the algorithm's repository; commit it or deploy again".format(manifest["model_filepath"])
            )
        return path, manifest
    if settings["model"] is None:
        raise verify.ModelRefused("{} is not stored on this platform; deploy again".format(name))
    target = os.path.join(settings["scratch"], "model" + os.path.splitext(name)[1])
    return verify.verify(settings["model"], target, manifest), manifest


def _answer(answering: Answering, call: Call, capture: str) -> Outcome:
    output: List[str] = []
    started = time.perf_counter()
    try:
        with _captured(output, capture) if call.stdout else contextlib.nullcontext():
            content_type, data = answering(call)
    except BaseException as error:
        return _failure(error, started, stdout=output[0] if output else None)
    return Answer(content_type, data, time.perf_counter() - started, output[0] if output else None)


def _input(call: Call) -> Any:
    if call.content_type == "binary":
        return call.data
    try:
        return json.loads(call.data) if call.content_type == "json" else call.data.decode()
    except (ValueError, RecursionError) as error:
        kind = "JSON" if call.content_type == "json" else "UTF-8 text"
        raise Refused("ParsingError", "the input is not {}: {}".format(kind, error))


def _output(content_type: Optional[str], result: Any) -> "Tuple[str, bytes]":
    if isinstance(result, str) and content_type != "json":
        try:
            return "text", result.encode()
        except UnicodeEncodeError as error:
            raise Refused("AlgorithmError", "apply returned a string that UTF-8 cannot hold: {}".format(error))
    if isinstance(result, (bytes, bytearray)):
        return "binary", bytes(result)
    # None is JSON's null: every client reads that as its own nothing, and it is what the old platform's runner sent.
    try:
        return "json", json.dumps(result, separators=(",", ":"), allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(
            "AlgorithmError",
            "apply returned something JSON cannot hold ({}); return text, bytes, or numbers, strings, lists and "
            "dicts".format(error),
        )


def _plain(value: Any) -> Any:
    for method in ("tolist", "item"):  # arrays and scalars of numpy, and what behaves like them
        convert = getattr(value, method, None)
        if callable(convert):
            return convert()
    raise TypeError("a value of the class {}".format(type(value).__name__))


def _failure(error: BaseException, started: float, *, kind: str = "", stdout: Optional[str] = None) -> Failure:
    duration = time.perf_counter() - started
    if isinstance(error, SystemExit):
        word, text = "SystemExit", "the algorithm called sys.exit({})".format(_text(error.code))
    elif isinstance(error, MemoryError):
        word, text = "OutOfMemoryError", _text(error) or "out of memory"
    else:
        word, text = messages.error_type(_quietly(lambda: getattr(error, "error_type", None))), _text(error)
    if isinstance(error, Refused):
        stack = error.stacktrace[-TEXT_LIMIT:]
    else:
        stack = "" if isinstance(error, verify.ModelRefused) else _stack(error)
    return Failure(kind or word, text or type(error).__name__, stack, duration, stdout)


def _text(value: object) -> str:
    text = _quietly(lambda: str(value))
    return str(text)[:TEXT_LIMIT] if text is not None else "(an error without words)"


def _quietly(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except BaseException:  # what an algorithm raises may itself raise when looked at
        return None


def _stack(error: BaseException) -> str:
    frame = error.__traceback__
    ours = (__file__, pipe.__file__, importlib.__file__)
    while frame is not None and (
        frame.tb_frame.f_code.co_filename in ours or frame.tb_frame.f_code.co_filename.startswith("<frozen importlib")
    ):
        frame = frame.tb_next
    lines = _quietly(lambda: traceback.format_exception(type(error), error, frame))
    return "".join(lines or ())[-TEXT_LIMIT:]


@contextlib.contextmanager
def _captured(output: List[str], path: str) -> Iterator[None]:
    """Send files 1 and 2 to the file `path` for a while; then into `output` (the first 1 MiB) and the log (all of it).

    Should the worker die meanwhile, the engine finds the file. The log itself will not do: replicas share it.
    """
    _flush()
    capture = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    kept = [os.dup(1), os.dup(2)]
    os.dup2(capture, 1)
    os.dup2(capture, 2)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        output.append(os.pread(capture, messages.STDOUT_LIMIT, 0).decode("utf-8", "replace"))
        os.lseek(capture, 0, os.SEEK_SET)
        for chunk in iter(lambda: os.read(capture, 1 << 16), b""):
            os.write(1, chunk)
        for descriptor in (capture, *kept):
            os.close(descriptor)
        _quietly(lambda: os.unlink(path))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        _quietly(stream.flush)
