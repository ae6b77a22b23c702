"""Takes more than it may, in one way for each name."""

import contextlib
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import time

KEPT = []


def many(count, size):
    """Children that hold memory, each less than it may."""
    for _ in range(count):
        if os.fork() == 0:
            KEPT.append(os.urandom(size))
            time.sleep(60)
    time.sleep(60)


def bomb(doubles):
    while not doubles:
        time.sleep(0.005)
        with contextlib.suppress(OSError):
            if os.fork() == 0:
                time.sleep(60)
    while True:
        try:
            if os.fork() == 0:
                continue
        except OSError:
            time.sleep(0.05)


def apply(input):
    name, *arguments = input if isinstance(input, list) else [input]
    if name == "live":
        return os.getpid()
    if name == "limits":
        return {one: resource.getrlimit(getattr(resource, one)) for one in dir(resource) if one.startswith("RLIMIT_")}
    if name == "allocate":
        KEPT.append(bytearray(arguments[0]))
    if name == "share":
        shared = mmap.mmap(-1, arguments[0])
        while shared.tell() < arguments[0]:
            shared.write(bytes(1 << 20))
        time.sleep(60)
    if name == "hide":
        for _ in range(arguments[0] // (50 << 20)):
            os.write(os.memfd_create("hidden"), bytes(50 << 20))
        time.sleep(60)
    if name == "many":
        many(*arguments)
    if name == "bomb":
        bomb(*arguments)
    if name == "open":
        opened = []
        try:
            for _ in range(5000):
                opened.append(os.open("/dev/null", os.O_RDONLY))
        finally:
            for descriptor in opened:
                os.close(descriptor)
    if name == "fill":
        for number in range(arguments[0]):
            with open("{}/{}".format(os.environ["TMPDIR"], number), "wb") as file:
                file.write(bytes(1 << 20))
        time.sleep(60)
    if name == "fill unseen":
        with open(os.environ["TMPDIR"] + "/unseen", "wb") as file:
            os.unlink(file.name)
            for _ in range(arguments[0]):
                file.write(bytes(1 << 20))
            file.flush()
            time.sleep(60)
    if name == "one file":
        with open(os.environ["TMPDIR"] + "/large", "wb") as file:
            file.truncate(arguments[0] << 20)
    if name == "write":
        for number in range(arguments[1]):
            with open(arguments[0] + str(number), "wb") as file:
                file.write(bytes(10 << 20))
    if name == "spin in C":
        re.match("(a+)+$", "a" * 60 + "b")
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "garbage":
        for descriptor in range(3, 100):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\xff" * 100)
        time.sleep(60)
    if name == "flood the socket":
        while True:
            for descriptor in range(3, 100):
                with contextlib.suppress(OSError):
                    os.write(descriptor, bytes(1 << 16))
    if name == "flood":
        subprocess.run(["cat", "/dev/zero"], stdout=sys.stdout.fileno())
    if name == "drop everything":
        os.closerange(0, 100)
        time.sleep(60)
    return name
