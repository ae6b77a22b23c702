"""Calls the platform with whatever key it thinks it has."""

import os
import threading
import urllib.error
import urllib.request

LOADED = None


def ask(path, data=None, method=None):
    request = urllib.request.Request(os.environ["ALGORITHMIA_API"] + path, data=data, method=method)
    request.add_header("Authorization", "Simple stolen")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return [response.status, response.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]


def load():
    global LOADED
    LOADED = ask("/v1/whoami")


def apply(input):
    if input == "later":  # when the call is long over
        threading.Timer(0.5, ask, ["/v1/later"]).start()
        return None
    return {"loaded": LOADED, "called": ask("/v1/whoami?" + input)}
