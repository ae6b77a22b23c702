"""Inputs and results as an algorithm sees them: text, bytes, and what JSON can hold."""

from __future__ import annotations

import json
from typing import Any, Optional, Tuple

from pushpoint.runtime.messages import Call
from pushpoint.runtime.pipe import Refused


def read(call: Call) -> Any:
    """Read the input of a call.

    Returns:
        Bytes, a string, or what the JSON says.

    Raises:
        Refused: It is not what its content type says.
    """
    if call.content_type == "binary":
        return call.data
    try:
        return json.loads(call.data) if call.content_type == "json" else call.data.decode()
    except (ValueError, RecursionError) as error:
        kind = "JSON" if call.content_type == "json" else "UTF-8 text"
        raise Refused("ParsingError", "the input is not {}: {}".format(kind, error))


def write(result: Any, content_type: Optional[str] = None) -> "Tuple[str, bytes]":
    """Write what an algorithm returned.

    Args:
        result: That.
        content_type: `json` where a string is to be JSON too; else it follows from the result.

    Returns:
        Its content type and its body.

    Raises:
        Refused: It is nothing that a body can hold.
    """
    if isinstance(result, str) and content_type != "json":
        try:
            return "text", result.encode()
        except UnicodeEncodeError as error:
            raise Refused("AlgorithmError", "apply returned a string that UTF-8 cannot hold: {}".format(error))
    if isinstance(result, (bytes, bytearray)):
        return "binary", bytes(result)
    # None is JSON's null: every client reads that as its own nothing, and it is what the old platform's runner sent.
    try:
        return "json", _encode(result).encode()
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


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
