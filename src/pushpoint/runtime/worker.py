"""One worker: verify the model, import the algorithm, load it, say ready, answer until the end of the input.

Calls are answered in the main thread: one after the other, or those that are waiting together where the algorithm has
`apply_batch`, or side by side where `apply` is asynchronous; or in threads, where a plain `apply` asks for them.
Whatever the algorithm raises is an answer. Files 1 and 2 are the algorithm's own: its output goes to its log. Code that
serves by itself (`pipe.py`) keeps the main thread instead, and another one passes its calls on.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import importlib
import inspect
import json
import os
import queue
import select
import socket
import sys
import threading
import time
import traceback
import types
from typing import Any, Callable, Deque, Dict, Iterator, List, NoReturn, Optional, Tuple

from pushpoint.runtime import batching, frames, messages, model, pipe, relay, streaming, values, verify
from pushpoint.runtime.forward import Forwarder
from pushpoint.runtime.messages import (
    Answer,
    Call,
    Failure,
    Hello,
    Message,
    More,
    Outcome,
    Ping,
    Pong,
    Ready,
    Stop,
)
from pushpoint.runtime.pipe import Refused

TEXT_LIMIT = 1 << 16
AT_ONCE = 100
"""Calls side by side where `apply` is asynchronous and the module has no `max_concurrency`."""
GRACE = 3.0
"""Seconds between the end of the input and the end of a worker that does not end by itself."""

Answering = Callable[[int, Call], Tuple[str, bytes]]
"""Content type and body that a call is answered with, after the items of its stream."""


def main() -> None:
    """Be a worker, as the JSON in the first argument says.

    Its keys: `algorithm`, `module`, `code`, `model` (or null), `scratch`, `socket` (a file descriptor), `api_socket`,
    `way_out` (the socket of a proxy, or null).
    """
    settings = json.loads(sys.argv[1])
    sys.argv = [settings["algorithm"]]
    channel = Channel(settings["socket"])
    hello = channel.hello()
    os.environ.update(hello.variables)
    forwarder = Forwarder(settings["api_socket"], hello.token)
    os.environ["ALGORITHMIA_API"] = os.environ["PUSHPOINT_URL"] = forwarder.url
    if settings["way_out"]:
        os.environ.update(relay.variables(relay.Relay(settings["way_out"]).url))
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    capture = os.path.join(settings["scratch"], messages.CAPTURE)
    started = time.perf_counter()

    def one_by_one(answering: Answering) -> None:
        while channel.more():
            for call_id, call in channel.take():
                forwarder.token, forwarder.trace = call.token, call.trace
                if call.trace:
                    os.environ["TRACEPARENT"] = call.trace
                outcome = _answer(answering, call_id, call, capture)
                if call.trace:
                    os.environ.pop("TRACEPARENT", None)
                forwarder.token, forwarder.trace = hello.token, ""
                channel.answer((call_id, outcome))

    def asked(_: int, call: Call) -> "Tuple[str, bytes]":
        content_type, result = served.ask(call.content_type, values.read(call))
        return values.write(result, content_type)

    def pass_on() -> None:
        try:
            served.check_private()
        except Refused as error:
            channel.send((0, Ready(time.perf_counter() - started, _failure(error, started))))
            _end()
        channel.send((0, Ready(time.perf_counter() - started)))
        one_by_one(asked)
        served.end()

    served = pipe.Pipe(settings["scratch"], lambda: threading.Thread(target=pass_on, daemon=True).start())
    try:
        module = _load(settings, served)
        batches = batching.Batching.of(module)
        apply = _apply(module, settings["module"], batches)
    except BaseException as error:
        if served.is_ready:
            _leave(error)
        channel.send((0, Ready(time.perf_counter() - started, _failure(error, started, kind="LoadingError"))))
        return
    gc.collect()
    gc.freeze()  # what is loaded stays; to look for garbage in it took tens of milliseconds, in the middle of a call
    took = time.perf_counter() - started
    if batches:
        channel.send((0, Ready(took, None, batches.size, True)))
        _together(channel, batches, capture)
    elif inspect.iscoroutinefunction(apply) or inspect.isasyncgenfunction(apply):
        channel.send((0, Ready(took, None, batching.limit(module, "max_concurrency", AT_ONCE))))
        import asyncio

        asyncio.run(_side_by_side(channel, apply))
    else:
        at_once = batching.limit(module, "max_concurrency", 1)
        channel.send((0, Ready(took, None, at_once)))
        if at_once > 1:
            _in_threads(channel, _plainly(channel, apply, channel.windows.wait), at_once)
        else:
            one_by_one(_plainly(channel, apply, channel.heed))


class Channel:
    """The worker's end of the socket. It is read by the thread that answers, so that no call is handed over.

    Attributes:
        windows: How much the platform takes of each stream.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._decoder, self._ended = frames.Decoder(), False
        self._sending = threading.Lock()
        self.windows = streaming.Windows()
        self._hello: Optional[Hello] = None
        self._calls: "Deque[Tuple[int, Call]]" = collections.deque()
        self._arrived = select.poll()
        self._arrived.register(descriptor, select.POLLIN)
        threading.Thread(target=self._watch, name="end", daemon=True).start()

    def fileno(self) -> int:
        """The descriptor, for those who wait for it among others.

        Returns:
            A number.
        """
        return self._socket.fileno()

    def hello(self) -> Hello:
        """Wait for the first message.

        Returns:
            It; should there be none, the process ends.
        """
        while self._hello is None:
            if not self.read():
                _end()
        return self._hello

    def more(self) -> bool:
        """Wait until there are calls to take.

        Returns:
            False if there will be none.
        """
        while not self._calls:
            self.read()
            if self._ended:
                return False
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read.

        Returns:
            Whether there is, in time.
        """
        return bool(self._arrived.poll(seconds * 1000))

    def read(self) -> bool:
        """Read what has arrived; where that is nothing, wait for something.

        Returns:
            False at the end of the input.
        """
        for call_id, message in self._receive():
            if isinstance(message, Ping):
                self.send((call_id, Pong()))
            elif isinstance(message, Call):
                self._calls.append((call_id, message))
                if message.stream:
                    self.windows.open(call_id)
            elif isinstance(message, More):
                self.windows.widen(call_id, message.size)
            elif isinstance(message, Stop):
                self.windows.close(call_id)
            elif isinstance(message, Hello):
                self._hello = message
        if self._ended:
            self.windows.close()
        return not self._ended

    def heed(self, call_id: int) -> None:
        """Read what has arrived, in the middle of a stream; wait for it where the stream has to."""
        if self.wait(0) or self.windows.is_full(call_id):
            self.read()

    def take(self, most: int = frames.MOST_AT_ONCE) -> "List[Tuple[int, Call]]":
        """Take calls that were read.

        Returns:
            So many of them at most, with their ids.
        """
        return [self._calls.popleft() for _ in range(min(most, len(self._calls)))]

    def send(self, *numbered: "Tuple[int, Message]") -> None:
        """Send messages, each whole, under the ids of their calls."""
        data = b"".join(_frame(call_id, message) for call_id, message in numbered)
        with self._sending:
            self._socket.sendall(data)

    def answer(self, *numbered: "Tuple[int, Outcome]") -> None:
        """Send outcomes, the last messages of their calls."""
        self.send(*numbered)
        for call_id, _ in numbered:
            self.windows.forget(call_id)

    def _receive(self) -> "List[Tuple[int, Message]]":
        try:
            chunk = self._socket.recv(1 << 18)
            self._ended = not chunk
            return list(self._decoder.feed(chunk))
        except (OSError, frames.ProtocolError):
            self._ended = True
            return []

    def _watch(self) -> None:
        # the end of the platform, which a call under way does not see
        gone = select.poll()
        gone.register(self._socket.fileno(), 0)
        gone.poll()
        time.sleep(GRACE)
        _end()


def _frame(call_id: int, message: Message) -> bytes:
    try:
        return frames.encode(call_id, message)
    except frames.ProtocolError:
        text = "the result is larger than the {} bytes an answer may have".format(frames.DATA_LIMIT)
        return frames.encode(call_id, Failure("TooLargeError", text))


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


def _load(settings: Dict[str, Any], served: pipe.Pipe) -> types.ModuleType:
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
    return module


def _apply(module: types.ModuleType, name: str, batches: Optional[batching.Batching]) -> Callable[[Any], Any]:
    apply: Callable[[Any], Any] = getattr(module, "apply", None)  # type: ignore[assignment]
    if not callable(apply) and not batches:
        raise AttributeError("src/{}.py has no function `apply(input)`".format(name))
    if not batches:
        batching.check(apply, "apply", "the input")
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


def _together(channel: Channel, batches: batching.Batching, capture: str) -> None:
    expected = 1
    while True:
        idle = time.monotonic()
        if not channel.more():
            return
        now = time.monotonic()
        if now - idle > batches.delay:
            expected = 1  # those of the last batch do not call again at once
        until, calls = now + batches.delay, channel.take(batches.size)
        while len(calls) < expected and channel.wait(max(until - time.monotonic(), 0)) and channel.read():
            calls += channel.take(batches.size - len(calls))
        expected = len(calls)
        channel.answer(*_answer_batch(batches, [one for one in calls if not one[1].stdout]))
        for call_id, call in calls:
            if call.stdout:  # it would hold what the others print
                alone: Answering = lambda _, call: values.write(_alone(batches, call))  # noqa: E731
                channel.answer((call_id, _answer(alone, call_id, call, capture)))


def _answer_batch(batches: batching.Batching, calls: "List[Tuple[int, Call]]") -> "List[Tuple[int, Outcome]]":
    started = time.perf_counter()
    found: "List[Tuple[int, Outcome]]" = []
    ids, inputs = [], []
    for call_id, call in calls:
        try:
            inputs.append(values.read(call))
            ids.append(call_id)
        except Refused as error:
            found.append((call_id, _failure(error, started)))
    size = len(inputs)
    for number, output in enumerate(batches.run(inputs) if inputs else ()):
        outcome = _outcome(output, started, size)
        size = 0 if isinstance(outcome, Answer) else size
        found.append((ids[number], outcome))
    return found


def _alone(batches: batching.Batching, call: Call) -> Any:
    (output,) = batches.run([values.read(call)])
    if isinstance(output, BaseException):
        raise output
    return output


def _outcome(output: Any, started: float, batch: int = 0) -> Outcome:
    try:
        if isinstance(output, BaseException):
            raise output
        return Answer(*values.write(output), time.perf_counter() - started, None, batch)
    except BaseException as error:
        return _failure(error, started)


def _plainly(channel: Channel, apply: "Callable[[Any], Any]", heed: "Callable[[int], None]") -> Answering:
    def answer(call_id: int, call: Call) -> "Tuple[str, bytes]":
        if call.stream and not channel.windows.is_open(call_id):
            return streaming.VOID  # its caller has gone before its turn
        result = apply(values.read(call))
        if not streaming.is_stream(result):
            return values.write(result)
        if not call.stream:
            return streaming.collect(result)
        streaming.pump(result, call_id, channel.windows, heed, lambda item: channel.send((call_id, item)))
        return streaming.VOID

    return answer


def _in_threads(channel: Channel, answering: Answering, count: int) -> None:
    waiting: "queue.SimpleQueue[Tuple[int, Call]]" = queue.SimpleQueue()

    def work() -> None:
        while True:
            call_id, call = waiting.get()
            started = time.perf_counter()
            try:
                content_type, data = answering(call_id, call)
            except BaseException as error:
                outcome: Outcome = _failure(error, started)
            else:
                outcome = Answer(content_type, data, time.perf_counter() - started)
            channel.answer((call_id, outcome))

    for number in range(count):
        threading.Thread(target=work, name="apply-{}".format(number), daemon=True).start()
    while channel.more():
        for one in channel.take():
            waiting.put(one)
    _flush()
    _end()


async def _side_by_side(channel: Channel, apply: "Callable[[Any], Any]") -> None:
    import asyncio  # some megabytes, for those who use it

    loop, ended, changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    running: "Dict[int, asyncio.Task[None]]" = {}

    async def written(call_id: int, call: Call) -> "Tuple[str, bytes]":
        result = apply(values.read(call))
        if not streaming.is_async_stream(result):
            result = await result
        if not (streaming.is_async_stream(result) or streaming.is_stream(result)):
            return values.write(result)
        if not call.stream:
            return await streaming.collect_async(result)
        send: streaming.Send = lambda item: channel.send((call_id, item))  # noqa: E731
        await streaming.pump_async(result, call_id, channel.windows, changed.wait, send)
        return streaming.VOID

    async def answer(call_id: int, call: Call) -> None:
        started = time.perf_counter()
        try:
            content_type, data = await written(call_id, call)
        except BaseException as error:
            outcome: Outcome = _failure(error, started)
        else:
            outcome = Answer(content_type, data, time.perf_counter() - started)
        channel.answer((call_id, outcome))
        del running[call_id]

    def stop(call_id: int) -> None:
        if call_id in running:
            running[call_id].cancel()

    def read() -> None:
        if not channel.read():
            loop.remove_reader(channel)
            ended.set()
        changed.set()  # wakes those that wait now
        changed.clear()
        for call_id, call in channel.take():
            running[call_id] = loop.create_task(answer(call_id, call))

    channel.windows.on_close = stop
    loop.add_reader(channel, read)
    await ended.wait()


def _answer(answering: Answering, call_id: int, call: Call, capture: str) -> Outcome:
    output: List[str] = []
    started = time.perf_counter()
    try:
        with _captured(output, capture) if call.stdout else contextlib.nullcontext():
            content_type, data = answering(call_id, call)
    except BaseException as error:
        return _failure(error, started, stdout=output[0] if output else None)
    return Answer(content_type, data, time.perf_counter() - started, output[0] if output else None)


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
    ours = (__file__, pipe.__file__, streaming.__file__, importlib.__file__)
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
