"""Generates side by side: each item says how many were at it."""

import asyncio

max_concurrency = 20
now = 0
CLOSED = []


async def apply(input):
    global now
    if input == "closed":
        yield CLOSED
        return
    now += 1
    try:
        for number in range(input.get("count", 3)):
            if number == input.get("fail"):
                raise ValueError(f"no more than {number}")
            yield now
            await asyncio.sleep(input.get("pause", 0.01))
    except BaseException as error:
        CLOSED.append(type(error).__name__)
        raise
    finally:
        now -= 1
