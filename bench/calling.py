"""A load that does not wait for answers, beside whatever a bench does meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from urllib.parse import urlsplit

from bench.filling import OWNER
from bench.harness import Platform
from bench.openloop import Order, Seen


@contextmanager
def calling(server: Platform, algorithm: str, rate: float, seen: list[Seen]) -> Iterator[None]:
    """Call an algorithm of the first account meanwhile.

    Args:
        server: The platform.
        algorithm: Its name.
        rate: Calls a second.
        seen: Has what became of them afterwards, in the order in which they were to be sent.
    """
    port = urlsplit(server.url).port
    assert port
    lines = [f"POST /v1/algo/{OWNER}/{algorithm} HTTP/1.1", "host: localhost", "content-type: application/json"]
    order = Order(port=port, head="\r\n".join([*lines, f"authorization: Simple {server.key}"]), rate=rate)
    with tempfile.TemporaryFile("w+") as said:
        program = [sys.executable, "-m", "bench.openloop"]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=said, text=True)
        assert process.stdin
        try:
            process.stdin.write(json.dumps(asdict(order)) + "\n")
            process.stdin.flush()
            yield
        finally:
            process.stdin.close()
            process.wait()
        said.seek(0)
        seen += sorted((Seen(**one) for one in json.load(said)), key=lambda one: one.sent)
