"""Generates what it is told to, and counts what was closed before its end."""

import contextlib
import os
import time

from pushpoint.runtime import frames
from pushpoint.runtime.messages import Item

CLOSED = []


def apply(input):
    if input == "closed":
        return CLOSED
    if input == "flood":
        frame = frames.encode(1, Item("binary", bytes(1 << 16)))
        for _ in range(100):
            for descriptor in range(3, 100):
                with contextlib.suppress(OSError):
                    os.write(descriptor, frame)
        time.sleep(60)
    if input == "not a generator":
        return {"one": 1}
    return generate(**{name: value for name, value in input.items() if name != "stream"})


def generate(count=3, size=0, pause=0.0, fail=None, item=None, stay=False):
    number = 0
    try:
        print("begun")
        while number < count:
            if number == fail:
                if item == "die":
                    os._exit(9)
                if item == "odd":
                    yield object()
                raise ValueError(f"no more than {number}")
            yield [b"\x00", "text", {"number": number}][number % 3] if item == "mixed" else "x" * size or number
            number += 1
            time.sleep(pause)
    except GeneratorExit:
        CLOSED.append(number)
        if stay:
            yield "I am still here"
        raise
