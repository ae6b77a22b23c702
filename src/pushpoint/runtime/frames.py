"""The frames on the Unix socket between the platform and a worker: bytes to values and back.

```
kind: 1 byte | call id: 4 bytes | size of the head: 4 bytes | size of the data: 4 bytes | head | data
```

The head is a JSON object, but for the kinds that come with every call: `Call` has its content type (1 byte, the place
in `TYPES`), what is asked for (1 byte: 1 for the output, 2 for a stream, 3 for both), the size of the token (2 bytes),
the token and the trace; `Answer` has its content type, whether there is output (1 byte), the size of its batch
(2 bytes), its duration (8 bytes, a float) and the output; `Item` has its content type.

Numbers are big-endian. Sizes are checked before anything is kept, so garbage is a `ProtocolError` and never memory.
Many calls may be under way; the id says which one a frame belongs to (0: none). Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from pushpoint.runtime import messages
from pushpoint.runtime.messages import Answer, Call, Failure, Hello, Item, Message, More, Ping, Pong, Ready, Stop

HEADER = struct.Struct("!BIII")
HEAD_LIMIT = 8 << 20
DATA_LIMIT = 64 << 20
"""Bytes of a body, either way."""
MOST_AT_ONCE = 1024
"""Calls that one worker may take at a time."""

TYPES = ("json", "text", "binary", "void")
"""The content types by the byte that stands for them."""

_CALL, _ANSWER = struct.Struct("!BBH"), struct.Struct("!BBHd")
_CODES = {name: code for code, name in enumerate(TYPES)}
_KINDS: Dict[type, int] = {
    Hello: 1,
    Ready: 2,
    Call: 3,
    Answer: 4,
    Failure: 5,
    Ping: 6,
    Pong: 7,
    Item: 8,
    More: 9,
    Stop: 10,
}
_CLASSES = {kind: cls for cls, kind in _KINDS.items()}


class ProtocolError(Exception):
    """The other end does not speak as agreed; end the conversation."""


def encode(call_id: int, message: Message) -> bytes:
    """Write one frame.

    Returns:
        The bytes to send.

    Raises:
        ProtocolError: The message is larger than a frame may be.
    """
    data, head = b"", b""
    if isinstance(message, Call):
        data, token = message.data, message.token.encode()
        asked = message.stdout | message.stream << 1
        head = _CALL.pack(_CODES[message.content_type], asked, len(token)) + token + message.trace.encode()
    elif isinstance(message, Answer):
        data, output = message.data, message.stdout
        head = _ANSWER.pack(_CODES[message.content_type], output is not None, message.batch, message.duration)
        if output is not None:
            head += output.encode()
    elif isinstance(message, Item):
        data, head = message.data, bytes((_CODES[message.content_type],))
    else:
        fields: Mapping[str, Any] = vars(message)
        if isinstance(message, Ready):
            fields = dict(fields, failure=message.failure and vars(message.failure))
        head = json.dumps(fields, separators=(",", ":")).encode()
    _check_sizes(len(head), len(data))
    return b"".join((HEADER.pack(_KINDS[type(message)], call_id, len(head), len(data)), head, data))


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._chunks: List[bytes] = []
        self._size = 0
        self._wanted = HEADER.size

    def feed(self, chunk: bytes) -> Iterator[Tuple[int, Message]]:
        """Take in what has arrived.

        Yields:
            Each call id and message that is whole now.

        Raises:
            ProtocolError: These are not our frames.
        """
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size < self._wanted:
            return
        buffer = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        start, self._wanted = 0, HEADER.size
        while len(buffer) - start >= self._wanted:
            kind, call_id, head_size, data_size = HEADER.unpack_from(buffer, start)
            if kind not in _CLASSES:
                raise ProtocolError("no frame has the kind {}".format(kind))
            _check_sizes(head_size, data_size)
            body = start + HEADER.size + head_size
            if len(buffer) < body + data_size:
                self._wanted = body + data_size - start
                break
            head, data = buffer[start + HEADER.size : body], buffer[body : body + data_size]
            start = body + data_size
            yield call_id, _message(_CLASSES[kind], head, data)
        self._chunks, self._size = [buffer[start:]], len(buffer) - start


def _check_sizes(head: int, data: int) -> None:
    if head > HEAD_LIMIT or data > DATA_LIMIT:
        raise ProtocolError(
            "a frame of {} + {} bytes is larger than {} + {}".format(head, data, HEAD_LIMIT, DATA_LIMIT)
        )


def _message(cls: type, head: bytes, data: bytes) -> Message:
    if cls is Call:
        return _call(head, data)
    if cls is Answer:
        return _answer(head, data)
    if cls is Item:
        if len(head) != 1 or head[0] >= len(TYPES):
            raise ProtocolError("the head of an item is not a content type")
        return Item(TYPES[head[0]], data)
    if data:
        raise ProtocolError("a {} carries no data".format(cls.__name__))
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the head of a frame is not JSON ({})".format(error))
    if not isinstance(fields, dict):
        raise ProtocolError("the head of a frame is not an object")
    read = _Fields(fields)
    if cls is Failure:
        return read.failure()
    if cls is Ready:
        failure = fields.get("failure")
        if failure is not None and not isinstance(failure, dict):
            raise ProtocolError("`failure` is not an object")
        return Ready(
            read.seconds("seconds"),
            None if failure is None else _Fields(failure).failure(),
            read.count("at_once"),
            read.truth("repeatable"),
        )
    if cls is Hello:
        return Hello(read.text("token"), read.texts("variables"))
    if cls is More:
        return More(read.count("size", HEAD_LIMIT + DATA_LIMIT))
    simple: Dict[type, Message] = {Ping: Ping(), Pong: Pong(), Stop: Stop()}
    return simple[cls]


def _call(head: bytes, data: bytes) -> Call:
    try:
        code, asked, size = _CALL.unpack_from(head)
        rest = head[_CALL.size :]
        stream = _truth(asked >> 1)
        return Call(TYPES[code], data, rest[:size].decode(), bool(asked & 1), rest[size:].decode(), stream)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError("the head of a call is not in order ({})".format(error))


def _answer(head: bytes, data: bytes) -> Answer:
    try:
        code, has_output, batch, duration = _ANSWER.unpack_from(head)
        output = head[_ANSWER.size :].decode() if _truth(has_output) else None
        if output is None and len(head) > _ANSWER.size:
            raise ProtocolError("an answer without output has some")
        return Answer(TYPES[code], data, _seconds(duration, "duration"), output, batch)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError("the head of an answer is not in order ({})".format(error))


def _truth(byte: int) -> bool:
    if byte > 1:
        raise ProtocolError("{} is neither 0 nor 1".format(byte))
    return byte == 1


def _seconds(value: object, name: str) -> float:
    if not isinstance(value, float) or not math.isfinite(value) or value < 0:
        raise ProtocolError("`{}` is not a number of seconds".format(name))
    return value


class _Fields:
    """The head of a frame, read with suspicion."""

    def __init__(self, fields: Dict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise ProtocolError("`{}` is not a string".format(name))
        # half a surrogate pair is nothing that could be written down or sent on
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")

    def text_or_none(self, name: str) -> "str | None":
        return None if self._fields.get(name) is None else self.text(name)

    def texts(self, name: str) -> Dict[str, str]:
        value = self._fields.get(name)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise ProtocolError("`{}` is not an object of strings".format(name))
        return value

    def truth(self, name: str) -> bool:
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise ProtocolError("`{}` is neither true nor false".format(name))
        return value

    def seconds(self, name: str) -> float:
        return _seconds(self._fields.get(name), name)

    def count(self, name: str, most: int = MOST_AT_ONCE) -> int:
        value = self._fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise ProtocolError("`{}` is not a number from 1 to {}".format(name, most))
        return value

    def failure(self) -> Failure:
        return Failure(
            error_type=messages.error_type(self.text("error_type")),
            message=self.text("message"),
            stacktrace=self.text("stacktrace"),
            duration=self.seconds("duration"),
            stdout=self.text_or_none("stdout"),
        )
