"""Tries what a confined algorithm must not be able to do; says what came of it."""

import os
import socket


def tries(name, *arguments):
    try:
        if name == "read":
            with open(arguments[0], "rb") as file:
                return file.read(100).decode("latin-1")
        if name == "list":
            return sorted(os.listdir(arguments[0]))
        if name == "write":
            with open(arguments[0], "w") as file:
                return file.write("x")
        if name == "connect":
            with socket.create_connection(("127.0.0.1", arguments[0]), timeout=3):
                return "connected"
        if name == "environment":
            return dict(os.environ)
        if name == "directory":
            return os.getcwd()
        if name == "kill":
            return os.kill(arguments[0], 0)
        if name == "fork":
            return int(os.popen("sleep 300 >/dev/null & echo $!").read())
        if name == "descriptors":
            return sorted(os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd") if fd != "0")[:20]
        return eval(name)
    except BaseException as error:
        return type(error).__name__


def apply(input):
    return tries(*input)
