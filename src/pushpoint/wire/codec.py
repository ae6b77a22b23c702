"""JSON to values and back; what is wrong with it is an error that names the place."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from pushpoint.errors import InvalidRequest

T = TypeVar("T")

JSON = Any


def decode(body: bytes, kind: type[T]) -> T:
    """Read JSON as a value of one of the shapes below.

    Returns:
        The value.

    Raises:
        InvalidRequest: The body is not such JSON; the message names the place.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not what this route takes: {error}; see the HTTP reference") from error


def convert(value: object, kind: type[T]) -> T:
    """Read what was JSON as a value of one of the shapes below.

    Returns:
        The value.

    Raises:
        InvalidRequest: It is no such value; the message names the place.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body is not what this route takes: {error}; see the HTTP reference") from error


def encode(value: object) -> bytes:
    """Write compact JSON.

    Returns:
        UTF-8 bytes.

    Source:
        The Node client's suite compares bodies as text.
    """
    return msgspec.json.encode(value)


def is_json(text: bytes) -> bool:
    """Say whether `text` is one JSON value, before it becomes part of another.

    Returns:
        False for anything else, and for half a surrogate pair, which Python writes and no other reader takes.
    """
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def lenient(body: bytes) -> dict[str, JSON]:
    """Read a management request's body as old clients send it: empty, form-encoded, or a JSON object.

    Returns:
        The object; empty where the body is not JSON.

    Raises:
        InvalidRequest: It is JSON, but no object.

    Source:
        The Python client 2.0.5 form-encodes the names of keys alone in `Algorithm.update`; nothing can be read off it.
    """
    if not body.lstrip().startswith((b"{", b"[", b'"')):
        return {}
    found = decode(body, object)
    if found == []:  # an empty list is the R client's empty object
        return {}
    if not isinstance(found, dict):
        raise InvalidRequest("the body is not a JSON object; see the HTTP reference")
    return found
