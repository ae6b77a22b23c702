from __future__ import annotations

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint.runtime import frames
from pushpoint.runtime.frames import HEADER, Decoder, ProtocolError, encode
from pushpoint.runtime.messages import (
    ERROR_TYPES,
    Answer,
    Call,
    Failure,
    Hello,
    Item,
    Message,
    More,
    Ping,
    Pong,
    Ready,
    Stop,
)

texts = st.text(max_size=20)
seconds = st.floats(0, 1e6)
stdout = st.none() | texts
content_types = st.sampled_from(frames.TYPES)
failures = st.builds(Failure, st.sampled_from(sorted(ERROR_TYPES)), texts, texts, seconds, stdout)
messages = st.one_of(
    st.builds(Hello, texts, st.dictionaries(texts, texts, max_size=3)),
    st.builds(Ready, seconds, st.none() | failures),
    st.builds(Call, content_types, st.binary(max_size=50), texts, st.booleans(), texts, st.booleans()),
    st.builds(Item, content_types, st.binary(max_size=50)),
    st.builds(More, st.integers(1, 1 << 26)),
    st.just(Stop()),
    st.builds(Answer, content_types, st.binary(max_size=50), seconds, stdout, st.integers(0, 1024)),
    failures,
    st.just(Ping()),
    st.just(Pong()),
)
frame_ids = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(frame_ids, messages), max_size=5), st.integers(1, 40))
def test_what_is_encoded_is_decoded_however_it_was_cut(sent: list[tuple[int, Message]], size: int) -> None:
    stream = b"".join(encode(call_id, message) for call_id, message in sent)
    decoder = Decoder()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [item for piece in pieces for item in decoder.feed(piece)] == sent


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_or_not_yet_a_frame(garbage: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        list(Decoder().feed(garbage))


@given(messages, st.data())
def test_a_frame_with_a_flipped_byte_never_raises_anything_else(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(1, message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        list(Decoder().feed(bytes(frame)))


@pytest.mark.parametrize("sizes", [(frames.HEAD_LIMIT + 1, 0), (2, frames.DATA_LIMIT + 1), (2**32 - 1, 2**32 - 1)])
def test_a_frame_that_is_too_large_is_refused_before_it_is_kept(sizes: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="larger"):
            list(Decoder().feed(HEADER.pack(4, 1, *sizes)))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="larger"):
        encode(1, Answer("text", bytes(frames.DATA_LIMIT + 1), 0.1))


ANSWER = {"content_type": "json", "duration": 0.1, "stdout": None}
FAILURE = {"error_type": "X", "message": "m", "stacktrace": "", "duration": 0.1, "stdout": None}


@pytest.mark.parametrize(
    ("kind", "head", "data"),
    [
        (0, b"{}", b""),
        (11, b"{}", b""),
        (8, b"{}", b""),
        (8, b"", b"data"),
        (8, b"\x04", b"data"),
        (9, {"size": 0}, b""),
        (9, {"size": True}, b""),
        (10, b"{}", b"data"),
        (3, b"\x00\x04\x00\x00", b""),
        (4, b"", b""),
        (4, b"[]", b""),
        (4, b"\xff", b""),
        (4, b"[" * 100_000, b""),
        (4, {**ANSWER, "content_type": "xml"}, b""),
        (4, {**ANSWER, "content_type": ["json"]}, b""),
        (4, {**ANSWER, "duration": "1"}, b""),
        (4, {**ANSWER, "duration": True}, b""),
        (4, {**ANSWER, "duration": -1.0}, b""),
        (4, b'{"content_type":"json","duration":NaN}', b""),
        (4, b'{"content_type":"json","duration":1e999}', b""),
        (4, {**ANSWER, "stdout": 7}, b""),
        (5, {**FAILURE, "message": None}, b""),
        (5, FAILURE, b"data"),
        (2, {"seconds": 1.0, "failure": "yes"}, b""),
        (2, {"seconds": 1.0, "failure": {}}, b""),
        (1, {"token": "t", "variables": {"a": 1}}, b""),
        (3, {"content_type": "json", "token": "t", "stdout": 1}, b""),
    ],
)
def test_a_frame_that_is_not_one_of_ours_is_refused(kind: int, head: object, data: bytes) -> None:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    with pytest.raises(ProtocolError):
        list(Decoder().feed(HEADER.pack(kind, 1, len(text), len(data)) + text + data))


def test_a_worker_cannot_invent_error_types() -> None:
    text = json.dumps(FAILURE).encode()
    ((_, message),) = Decoder().feed(HEADER.pack(5, 1, len(text), 0) + text)
    assert isinstance(message, Failure)
    assert message.error_type == "AlgorithmError"


def test_half_a_surrogate_pair_is_no_text() -> None:
    decoder = Decoder()
    ((_, found),) = decoder.feed(encode(1, Failure("AlgorithmError", "a\ud800b \u00e9", "", 1.0, "\udfff")))
    assert isinstance(found, Failure)
    assert (found.message, found.stdout) == ("a?b \u00e9", "?")
