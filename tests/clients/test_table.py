"""The table of endpoints and clients: that it tells addresses apart, and claims nothing that was not asked."""

from __future__ import annotations

import re

import pytest

from tests.clients.front import Exchange
from tests.clients.table import ALGORITHM, CLIENTS, ENDPOINTS, cells, endpoint_of, unanswered

ID = "0b0dd1a5-8b4c-4c5e-9a2a-5a4f6c1d2e3f"


@pytest.mark.parametrize(
    ("asked", "endpoint"),
    [
        ("GET /v1/algorithms/ann/echo", f"GET {ALGORITHM}"),
        ("GET /v1/algorithms/ann/echo/?x=1", f"GET {ALGORITHM}"),
        (f"GET /v1/algorithms/{ID}", f"GET {ALGORITHM}"),
        (f"GET /v1/algorithms/{ID}/errors", f"GET {ALGORITHM}/errors"),
        ("GET /v1/algorithms/hello/errors", f"GET {ALGORITHM}"),
        ("POST /v1/algo/ann/echo/0.1.0", "POST /v1/algo/{algorithm}/{version}"),
        ("POST /v1/algo/ann/echo/?output=raw", "POST /v1/algo/{algorithm}"),
        ("GET /v1/data/.my%2Fjava%2Ff", "GET /v1/data/{path}"),
        ("GET /v1/data/", "GET /v1/data/{path}"),
        ("GET /v1/config/frontend/x", "GET /v1/config/frontend/{key}"),
        ("GET /v1/nothing", None),
    ],
)
def test_an_address_has_one_endpoint(asked: str, endpoint: str | None) -> None:
    assert endpoint_of(*asked.split(" ", 1)) == endpoint


def test_each_endpoint_is_found_by_its_own_address() -> None:
    for endpoint in ENDPOINTS:
        address = endpoint.replace("{algorithm}", "ann/echo")
        address = re.sub(r"\{\w+\}", "x", address) + (".git/info/refs" if address.startswith("GET /git/") else "")
        assert endpoint_of(*address.split(" ", 1)) == endpoint


@pytest.mark.parametrize(
    ("refused", "statuses", "answered"),
    [
        (0, [200], True),
        (0, [404, 204], True),
        (0, [404], False),
        (0, [0], False),
        (0, [], False),
        (501, [501], True),
        (501, [404], False),
        (501, [200], False),
    ],
)
def test_a_mark_is_kept_or_not(refused: int, statuses: list[int], answered: bool) -> None:
    seen = [Exchange("GET", "/v1/scms", secure=False, status=status) for status in statuses]
    missing = unanswered(["GET /v1/scms"], refused, [*seen, Exchange("GET", "/v1/users", secure=False, status=200)])
    assert missing == ({} if answered else {"GET /v1/scms": set(statuses)})


def test_every_client_asks_for_something() -> None:
    asked = {client for states in cells().values() for client in states}
    assert asked == set(CLIENTS)
