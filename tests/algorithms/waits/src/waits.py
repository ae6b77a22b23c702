"""Calls wait side by side: each answers with how many there were meanwhile at most."""

import asyncio

max_concurrency = 20
now = 0


async def apply(input):
    global now
    now += 1
    try:
        if input == "raise":
            raise ValueError("not this one")
        most = now
        for _ in range(10):
            await asyncio.sleep(0.01)
            most = max(most, now)
        return most
    finally:
        now -= 1
