"""A way out of a network name space: a listener on its loopback, whose connections go on to a Unix socket outside.

What is behind that socket is the platform's proxy, which decides what may be reached; here bytes are copied. The text
of this module is a program of its own too (`python -c TEXT SOCKET PORT COMMAND...`): it listens while the command runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import sys
import threading
from typing import Any, Dict, Iterator

CHUNK = 1 << 16
LONGEST_PATH = 100
"""Characters; the kernel takes no more than 107 for a Unix socket."""


class Relay(socketserver.ThreadingTCPServer):
    """The listener.

    Attributes:
        url: What programs are told to be their proxy.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, path: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.path = path
        self.url = "http://127.0.0.1:{}".format(self.server_address[1])
        threading.Thread(target=self.serve_forever, name="relay", daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news, and the algorithm's output is not ours to write to."""


class _Handler(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as outside:
            with short(self.server.path) as path:
                outside.connect(path)
            back = threading.Thread(target=_copy, args=(outside, self.request), daemon=True)
            back.start()
            _copy(self.request, outside)
            back.join()


@contextlib.contextmanager
def short(path: str) -> Iterator[str]:
    """Find a name of a Unix socket that is short enough for the kernel, however deep its folder lies.

    Yields:
        The name.
    """
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        yield "/proc/self/fd/{}/{}".format(folder, os.path.basename(path))
    finally:
        os.close(folder)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while True:
            data = source.recv(CHUNK)
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
    except OSError:
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # the other direction waits for them


def variables(url: str) -> Dict[str, str]:
    """Say what the environment of a program tells of its proxy.

    Returns:
        Variables, in both spellings that are usual.
    """
    return dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), url)


if __name__ == "__main__":
    import subprocess  # which is memory that a worker does not need

    Relay(sys.argv[1], int(sys.argv[2]))
    _code = subprocess.call(sys.argv[3:])
    sys.exit(_code if _code >= 0 else 128 - _code)
