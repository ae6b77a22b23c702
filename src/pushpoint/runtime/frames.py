"""The frames on the Unix socket between the platform and a worker: bytes to values and back.

```
kind: 1 byte | call id: 4 bytes | size of the head: 4 bytes | size of the data: 4 bytes | head: JSON object | data
```

Numbers are big-endian. Sizes are checked before anything is kept, so garbage is a `ProtocolError` and never memory.
Many calls may be under way; the id says which one a frame belongs to (0: none). Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Dict, Iterator, Mapping, Tuple

from pushpoint.runtime import messages
from pushpoint.runtime.messages import Answer, Call, Failure, Hello, Message, Ping, Pong, Ready

HEADER = struct.Struct("!BIII")
HEAD_LIMIT = 8 << 20
DATA_LIMIT = 64 << 20
"""Bytes of a body, either way."""

_KINDS: Dict[type, int] = {Hello: 1, Ready: 2, Call: 3, Answer: 4, Failure: 5, Ping: 6, Pong: 7}
_CLASSES = {kind: cls for cls, kind in _KINDS.items()}
_HAVE_DATA = (Call, Answer)


class ProtocolError(Exception):
    """The other end does not speak as agreed; end the conversation."""


def encode(call_id: int, message: Message) -> bytes:
    """Write one frame.

    Returns:
        The bytes to send.

    Raises:
        ProtocolError: The message is larger than a frame may be.
    """
    data = b""
    fields: Mapping[str, Any] = vars(message)
    if isinstance(message, _HAVE_DATA):
        data = message.data
        fields = {name: value for name, value in fields.items() if name != "data"}
    elif isinstance(message, Ready):
        fields = {"seconds": message.seconds, "failure": message.failure and vars(message.failure)}
    head = json.dumps(fields, separators=(",", ":")).encode()
    _check_sizes(len(head), len(data))
    return b"".join((HEADER.pack(_KINDS[type(message)], call_id, len(head), len(data)), head, data))


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = HEADER.size

    def feed(self, chunk: bytes) -> Iterator[Tuple[int, Message]]:
        """Take in what has arrived.

        Yields:
            Each call id and message that is whole now.

        Raises:
            ProtocolError: These are not our frames.
        """
        buffer = self._buffer
        buffer += chunk
        while len(buffer) >= self._wanted:
            kind, call_id, head_size, data_size = HEADER.unpack_from(buffer)
            if kind not in _CLASSES:
                raise ProtocolError("no frame has the kind {}".format(kind))
            _check_sizes(head_size, data_size)
            end = HEADER.size + head_size + data_size
            if len(buffer) < end:
                self._wanted = end
                return
            head = bytes(buffer[HEADER.size : HEADER.size + head_size])
            data = bytes(buffer[HEADER.size + head_size : end])
            del buffer[:end]
            self._wanted = HEADER.size
            yield call_id, _message(_CLASSES[kind], head, data)


def _check_sizes(head: int, data: int) -> None:
    if head > HEAD_LIMIT or data > DATA_LIMIT:
        raise ProtocolError(
            "a frame of {} + {} bytes is larger than {} + {}".format(head, data, HEAD_LIMIT, DATA_LIMIT)
        )


def _message(cls: type, head: bytes, data: bytes) -> Message:
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the head of a frame is not JSON ({})".format(error))
    if not isinstance(fields, dict):
        raise ProtocolError("the head of a frame is not an object")
    if data and cls not in _HAVE_DATA:
        raise ProtocolError("a {} carries no data".format(cls.__name__))
    read = _Fields(fields)
    if cls is Call:
        return Call(read.content_type(), data, read.text("token"), read.truth("stdout"))
    if cls is Answer:
        return Answer(read.content_type(), data, read.seconds("duration"), read.text_or_none("stdout"))
    if cls is Failure:
        return read.failure()
    if cls is Ready:
        failure = fields.get("failure")
        if failure is not None and not isinstance(failure, dict):
            raise ProtocolError("`failure` is not an object")
        return Ready(read.seconds("seconds"), None if failure is None else _Fields(failure).failure())
    if cls is Hello:
        return Hello(read.text("token"), read.texts("variables"))
    return Ping() if cls is Ping else Pong()


class _Fields:
    """The head of a frame, read with suspicion."""

    def __init__(self, fields: Dict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise ProtocolError("`{}` is not a string".format(name))
        return value

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
        value = self._fields.get(name)
        if not isinstance(value, float) or not math.isfinite(value) or value < 0:
            raise ProtocolError("`{}` is not a number of seconds".format(name))
        return value

    def content_type(self) -> str:
        value = self.text("content_type")
        if value not in messages.CONTENT_TYPES:
            raise ProtocolError("`content_type` is not one of ours")
        return value

    def failure(self) -> Failure:
        return Failure(
            error_type=messages.error_type(self.text("error_type")),
            message=self.text("message"),
            stacktrace=self.text("stacktrace"),
            duration=self.seconds("duration"),
            stdout=self.text_or_none("stdout"),
        )
