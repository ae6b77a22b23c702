"""Where CI's tokens come from: GitHub is asked over HTTP, GitLab's are in the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pushpoint import identity
from pushpoint.errors import Unauthenticated, Unavailable
from tests.issuer import CREDENTIAL, Issuer, issuing

HERE = "https://models.example"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


@pytest.mark.parametrize(
    ("environment", "is_offered"),
    [
        ({}, False),
        ({"PUSHPOINT_ID_TOKEN": ""}, False),
        ({"PUSHPOINT_ID_TOKEN": "  "}, False),
        ({"PUSHPOINT_ID_TOKEN": "a.b.c"}, True),
        ({"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"}, False),
        ({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}, False),
        ({"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}, True),
    ],
)
def test_an_identity_is_offered_where_a_token_can_be_had(environment: dict[str, str], is_offered: bool) -> None:
    assert identity.is_offered(environment) == is_offered


def test_github_is_asked_for_a_new_token_each_time_made_out_to_us(issuer: Issuer) -> None:
    ask = identity.source(issuer.job(), audience=HERE)
    first, second = ask(), ask()
    assert first != second
    assert first.count(".") == 2
    assert issuer.asked.count("/token") == 2


def test_given_tokens_come_first_and_once_each(issuer: Issuer) -> None:
    ask = identity.source(issuer.job() | {"PUSHPOINT_ID_TOKEN": "one\n  two"}, audience=HERE)
    assert [ask(), ask()] == ["one", "two"]
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="for its 2 tokens in PUSHPOINT_ID_TOKEN; give it one more"):
            ask()


def test_what_a_notebook_must_not_see_is_listed(issuer: Issuer) -> None:
    assert identity.secrets(issuer.job() | {"PUSHPOINT_ID_TOKEN": "one two"}) == ["one", "two", CREDENTIAL]
    assert identity.secrets({}) == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, b"{}", Unauthenticated, "id-token: write"),
        (403, b"", Unauthenticated, "id-token: write"),
        (302, b"", Unauthenticated, "id-token: write"),
        (200, b"<html>", Unauthenticated, "id-token: write"),
        (200, b"[]", Unauthenticated, "id-token: write"),
        (200, b'{"value": 1}', Unauthenticated, "id-token: write"),
        (500, b"", Unavailable, "it answers 500"),
    ],
)
def test_github_that_gives_no_token_is_an_error_that_says_what_to_do(
    issuer: Issuer, status: int, body: bytes, kind: type[Exception], said: str
) -> None:
    issuer.documents = {"/token": (status, {"location": issuer.url}, body)}
    with pytest.raises(kind, match=said) as caught:
        identity.source(issuer.job(), audience=HERE)()
    issuer.documents = {}
    assert CREDENTIAL not in str(caught.value)


@pytest.mark.parametrize("url", ["http://evil.example/token", "ftp://x", "", "//x"])
def test_the_credential_is_not_sent_in_the_clear(url: str) -> None:
    job = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": CREDENTIAL}
    with pytest.raises(Unauthenticated, match="no https address") as caught:
        identity.source(job, audience=HERE)()
    assert CREDENTIAL not in str(caught.value)
