"""What workers reach over the network, as programs inside do: with the standard library, and the variables alone."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pushpoint.errors import Refused
from pushpoint.reach import Reach
from pushpoint.sandbox import find_sandbox
from pushpoint.serving import reaching
from tests.conftest import Platform, start_platform, stop_platform
from tests.serving.test_metrics import scrape
from tests.web.support import JSON, Answer, ask, serve

CODE = """
import os
import socket
import urllib.request


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()
    except OSError as error:
        return str(error)


def apply(input):
    if input == "environment":
        return {name: value for name, value in os.environ.items() if "proxy" in name.lower()}
    if input.startswith("http"):
        return fetch(input)
    host, port = input.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """Something of the operator's own, at an address for which programs do not leave out their proxy."""
    with http.server.ThreadingHTTPServer(("127.0.0.2", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.2:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, outside: str) -> Iterator[Platform]:
    if (sandbox := find_sandbox()).program is None:
        pytest.skip(sandbox.reason)
    running = start_platform(tmp_path_factory.mktemp("home"), "--egress", outside, "--egress", "*.example.com")
    serve(running, "ann/curious", CODE)
    yield running
    stop_platform(running)


def call(platform: Platform, input: str) -> Any:
    answer = ask(platform, "POST", "/v1/algo/ann/curious", json.dumps(input).encode(), headers=JSON)
    assert answer.status == 200, answer.body
    return answer.json["result"]


def allow(platform: Platform, **settings: Any) -> Answer:
    body = json.dumps({"settings": settings}).encode()
    return ask(platform, "PUT", "/v1/algorithms/ann/curious", body, headers=JSON)


def test_workers_reach_what_owner_and_operator_allow_and_nothing_else(platform: Platform, outside: str) -> None:
    url = f"http://{outside}/"
    assert call(platform, "environment") == {}
    assert "refused" in call(platform, url), "there is no network"

    answer = allow(platform, network={"allow": [outside, "api.example.com"]})
    assert answer.status == 200, answer.body
    assert answer.json["settings"]["network"] == {"allow": [outside, "api.example.com"]}
    variables = call(platform, "environment")
    assert set(variables) == {name for one in ("http_proxy", "https_proxy", "no_proxy") for name in (one, one.upper())}
    assert call(platform, url) == "from outside", "with the workers that run, and no other code"
    assert call(platform, outside) in {"OSError", "ConnectionRefusedError"}, "there is no way but the proxy"
    said = call(platform, "https://other.example/")
    assert "403 Forbidden: other.example:443 is not among the hosts that ann/curious may reach" in said
    assert "pushpoint workers ann/curious --allow" in said
    assert "api.example.com has no address on the public internet" in call(platform, "https://api.example.com/")
    log = [json.loads(line) for line in (platform.home / "platform.log").read_text().splitlines()]
    refused = [(one["to"], one["host"]) for one in log if one["event"] == "a host was refused"]
    assert ("ann/curious", "other.example") in refused
    assert b'pushpoint_egress_connections_total{outcome="refused"} 2.0' in scrape(platform).body

    assert allow(platform, network={"allow": []}).status == 200
    assert call(platform, "environment") == {}
    assert "refused" in call(platform, url)


def test_an_owner_asks_for_what_the_operator_does_not_allow(platform: Platform) -> None:
    for entry in ("public", "example.com", "api.example.com:80", "*.com", "127.0.0.1"):
        answer = allow(platform, network={"allow": ["api.example.com", entry]})
        assert answer.status == 403
        assert answer.message == (
            f"algorithms on this platform may not reach {entry}; leave that out, or ask its operator to allow it: "
            f"pushpoint serve --egress {entry}"
        )
    for allowed in (["https://x.example.com/"], ["*"], [7], "api.example.com", ["api.example.com"] * 51):
        answer = allow(platform, network={"allow": allowed})
        assert answer.status == 400, answer.body


def test_the_old_platforms_network_access_is_kept_and_means_what_the_operator_allows(platform: Platform) -> None:
    assert allow(platform, network_access="full").status == 200
    assert call(platform, "environment") == {}
    said = reaching.told({"network_access": "full"}, Reach())
    assert (
        said == "nothing; the settings ask for public, of which the operator allows no more (pushpoint serve --egress)"
    )
    assert reaching.told({"network_access": "full"}, Reach(public=True)) == "public"
    assert reaching.told({"network_access": "full", "network": {"allow": []}}, Reach(public=True)) == "nothing"
    reaching.check({"network_access": "full"}, Reach())
    with pytest.raises(Refused):
        reaching.check({"network": {"allow": ["public"]}}, Reach())
