"""Answers in threads: each call waits until as many others are at it as it says."""

import threading
import time

max_concurrency = 4
now = 0
LOCK = threading.Lock()


def apply(input):
    global now
    if "stream" in input:
        return (time.sleep(0.001) or number for number in range(input["stream"]))
    if "raise" in input:
        raise ValueError(input["raise"])
    with LOCK:
        now += 1
        most = now
    try:
        until = time.monotonic() + 5
        while most < input["others"] and time.monotonic() < until:
            time.sleep(0.005)
            most = max(most, now)
        time.sleep(0.05)
        return [most, threading.current_thread().name]
    finally:
        with LOCK:
            now -= 1
