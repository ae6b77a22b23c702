"""Deployments on GitHub, against a stand-in that refuses what GitHub's description does not allow."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushpoint import errors
from pushpoint.config import Secret
from pushpoint.github import Deployments, announced
from tests.github.standin import GitHub, Trouble, github

COMMIT = "5b0a1dd" + "0" * 33
TOKEN = "ghs_" + "t0k3n" * 7
READER = "ghs_" + "reader" * 6
REPOSITORY = "acme/reviews"


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with github(repository=REPOSITORY, commits={COMMIT}, writers={TOKEN}, readers={READER}) as running:
        yield running


def reach(hub: GitHub, token: str = TOKEN, repository: str = REPOSITORY, **more: Any) -> Deployments:
    return Deployments(Secret(token), repository, url=hub.url, **more)


def runner(hub: GitHub) -> dict[str, str]:
    return {
        "GITHUB_API_URL": hub.url,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_RUN_ID": "42",
        "GITHUB_RUN_ATTEMPT": "2",
    }


# -- what is sent -------------------------------------------------------------------------------------------


def test_a_deployment_of_exactly_this_commit_is_created_and_told_how_it_goes(hub: GitHub) -> None:
    with reach(hub) as deployments:
        number = deployments.create(COMMIT, "ann/sentiment", description="sentiment")
        deployments.report(number, "in_progress", log_url="https://github.com/acme/reviews/actions/runs/42")
        deployments.report(number, "success", environment_url="https://models.example/v1/algo/ann/sentiment")
    asked, statuses = hub.deployments[number]
    assert asked == {
        "ref": COMMIT,
        "environment": "ann/sentiment",
        "auto_merge": False,
        "required_contexts": [],
        "description": "sentiment",
    }
    assert [status["state"] for status in statuses] == ["in_progress", "success"]
    assert statuses[0]["log_url"].endswith("/runs/42")
    assert statuses[1]["environment_url"] == "https://models.example/v1/algo/ann/sentiment"


def test_a_long_description_is_cut_to_what_github_takes(hub: GitHub) -> None:
    with reach(hub) as deployments:
        number = deployments.create(COMMIT, "production", description="x " * 200)
        deployments.report(number, "success", description="y" * 140)
    asked, (status,) = hub.deployments[number]
    assert len(asked["description"]) == 140
    assert asked["description"].endswith("…")
    assert status["description"] == "y" * 140


def test_the_token_is_in_one_header_and_nowhere_else(hub: GitHub) -> None:
    with reach(hub) as deployments:
        deployments.report(deployments.create(COMMIT, "production"), "success")
    assert len(hub.seen) == 2
    for request in hub.seen:
        holding = [name for name, value in request.headers.items() if TOKEN in value]
        assert holding == ["authorization"]
        assert TOKEN not in request.path
        assert TOKEN.encode() not in request.body


# -- announcing a deploy ------------------------------------------------------------------------------------


def announce(hub: GitHub, warnings: list[str], variables: Mapping[str, str] | None = None, token: str = TOKEN) -> Any:
    return announced(variables or runner(hub), Secret(token), commit=COMMIT, name="ann/sentiment", warn=warnings.append)


def test_a_deploy_that_ends_well_shows_where_it_answers(hub: GitHub) -> None:
    warnings: list[str] = []
    with announce(hub, warnings) as announcement:
        assert hub.states(1) == ["in_progress"]
        announcement.environment_url = "https://models.example/v1/algo/ann/sentiment/1.0.3"
        announcement.description = "1.0.3"
    assert warnings == []
    last = hub.deployments[1][1][-1]
    assert last == {
        "state": "success",
        "description": "1.0.3",
        "log_url": "https://github.com/acme/reviews/actions/runs/42/attempts/2",
        "environment_url": "https://models.example/v1/algo/ann/sentiment/1.0.3",
    }


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (errors.CellFailed(3, "ValueError", "the password is swordfish", notebook="train.ipynb"), "failure"),
        (errors.Superseded("newer"), "failure"),
        (ZeroDivisionError("swordfish"), "error"),
        (KeyboardInterrupt(), "error"),
        (SystemExit(3), "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_leaves_the_block_is_the_state_and_its_text_stays_here(
    hub: GitHub, raised: BaseException, state: str
) -> None:
    with pytest.raises(type(raised)) as caught, announce(hub, []):
        raise raised
    assert caught.value is raised
    assert hub.states(1) == ["in_progress", state]
    assert hub.deployments[1][1][-1]["description"] == f"{type(raised).__name__}: see the log"
    assert all(b"swordfish" not in request.body for request in hub.seen)


@pytest.mark.parametrize(
    ("trouble", "variables", "token"),
    [
        ([Trouble(403, "Resource not accessible by integration")], {}, TOKEN),
        ([Trouble(502)] * 3, {}, TOKEN),
        ([], {"GITHUB_API_URL": "http://127.0.0.1:9"}, TOKEN),
        ([], {"GITHUB_API_URL": "http://github.example"}, TOKEN),
        ([], {"GITHUB_REPOSITORY": ""}, TOKEN),
        ([], {}, "two words"),
        ([], {}, "unknown"),
    ],
    ids=["not permitted", "broken", "absent", "in the open", "no repository", "no token", "unknown token"],
)
def test_without_github_the_deploy_goes_on_and_one_warning_says_why(
    hub: GitHub, trouble: list[Trouble], variables: dict[str, str], token: str
) -> None:
    hub.trouble += trouble
    warnings: list[str] = []
    done = False
    with announce(hub, warnings, runner(hub) | variables, token):
        done = True
    assert done
    assert len(warnings) == 1
    assert warnings[0].startswith("the deployment is not shown on GitHub: ")
    assert token not in warnings[0]
    assert hub.deployments == {}


def test_a_deploy_that_fails_while_github_is_away_keeps_its_own_error(hub: GitHub) -> None:
    warnings: list[str] = []

    def deploy() -> None:
        with announce(hub, warnings):
            hub.trouble += [Trouble(500)] * 3
            raise errors.Superseded("something newer is live; use it")

    with pytest.raises(errors.Superseded, match="newer"):
        deploy()
    assert len(warnings) == 1
    assert hub.states(1) == ["in_progress"]


# -- what github says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "advice"),
    [
        (Trouble(401, "Bad credentials"), errors.Unauthenticated, "Bad credentials; pass one that is valid"),
        (Trouble(403, "Resource not accessible"), errors.Refused, "deployments: write"),
        (Trouble(404, "Not Found"), errors.NotFound, "acme/reviews.*deployments: write"),
        (Trouble(409, "Conflict"), errors.Conflict, "mend what it names"),
        (Trouble(422, "No ref found"), errors.InvalidRequest, "No ref found; push the commit first"),
        (Trouble(307, headers={"location": "http://elsewhere.example/"}), errors.Unavailable, "check GITHUB_API_URL"),
        (Trouble(202, "Auto-merged"), errors.Unavailable, "Auto-merged"),
        (Trouble(201, "no number"), errors.Unavailable, "not answer as GitHub does"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Trouble) else "",
)
def test_an_answer_that_is_no_deployment_becomes_an_error_that_says_what_to_do(
    hub: GitHub, trouble: Trouble, kind: type[errors.Error], advice: str
) -> None:
    hub.trouble.append(trouble)
    with reach(hub) as deployments, pytest.raises(kind, match=advice) as caught:
        deployments.create(COMMIT, "production")
    assert type(caught.value) is kind
    assert len(hub.seen) == 1, "not repeated"


@pytest.mark.parametrize(
    ("trouble", "error", "requests"),
    [
        ([Trouble(500)], None, 2),
        ([Trouble(503), Trouble(502)], None, 3),
        ([Trouble(500)] * 3, errors.Unavailable, 3),
        ([Trouble(429, headers={"retry-after": "0"})], None, 2),
        ([Trouble(403, "You have exceeded a secondary rate limit", {"retry-after": "1"})], None, 2),
        ([Trouble(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"})], None, 2),
        ([Trouble(403, "You have exceeded a secondary rate limit")], errors.Unavailable, 1),
        ([Trouble(429, headers={"retry-after": "3600"})], errors.Unavailable, 1),
        ([Trouble(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 10})], errors.Unavailable, 1),
        ([Trouble(403, headers={"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1"})], errors.Refused, 1),
    ],
)
def test_what_may_pass_is_repeated_and_what_takes_long_is_given_up(
    hub: GitHub, trouble: list[Trouble], error: type[errors.Error] | None, requests: int
) -> None:
    hub.trouble += trouble
    with reach(hub) as deployments:
        if error:
            with pytest.raises(error):
                deployments.create(COMMIT, "production")
        else:
            assert deployments.create(COMMIT, "production") == 1
    assert len(hub.seen) == requests


def test_a_limit_says_how_long_it_lasts(hub: GitHub) -> None:
    hub.trouble.append(Trouble(429, "slow down", {"retry-after": "90"}))
    with (
        reach(hub) as deployments,
        pytest.raises(errors.Unavailable, match="slow down; run the job again in 90 s") as caught,
    ):
        deployments.create(COMMIT, "production")
    assert caught.value.retry_after == 90


def test_a_github_that_hangs_is_given_up_after_its_time(hub: GitHub) -> None:
    hub.trouble += [Trouble(0)] * 3
    with reach(hub, timeout=0.2) as deployments, pytest.raises(errors.Unavailable, match="no answer from"):
        deployments.create(COMMIT, "production")
    assert len(hub.seen) == 3


def test_a_hostile_answer_prints_neither_the_token_nor_a_command_to_the_runner(hub: GitHub) -> None:
    hub.trouble.append(Trouble(403, f"::set-output name=x::{TOKEN}\n::stop-commands::\x1b[2J" + "x" * 9000))
    with reach(hub) as deployments, pytest.raises(errors.Refused) as caught:
        deployments.create(COMMIT, "production")
    said = str(caught.value)
    assert TOKEN not in said
    assert "::" not in said
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    ("token", "repository", "url", "kind"),
    [
        ("", REPOSITORY, "https://api.github.com", errors.Unauthenticated),
        ("a\r\nx: y", REPOSITORY, "https://api.github.com", errors.Unauthenticated),
        ("töken", REPOSITORY, "https://api.github.com", errors.Unauthenticated),
        (TOKEN, "reviews", "https://api.github.com", errors.ConfigError),
        (TOKEN, "acme/", "https://api.github.com", errors.ConfigError),
        (TOKEN, "acme/../x", "https://api.github.com", errors.ConfigError),
        (TOKEN, "acme/..", "https://api.github.com", errors.ConfigError),
        (TOKEN, REPOSITORY, "http://api.github.com", errors.ConfigError),
        (TOKEN, REPOSITORY, "http://127.0.0.1.example", errors.ConfigError),
        (TOKEN, REPOSITORY, "file:///etc/passwd", errors.ConfigError),
        (TOKEN, REPOSITORY, "https://a b:c", errors.ConfigError),
        (TOKEN, REPOSITORY, "", errors.ConfigError),
    ],
)
def test_what_cannot_be_reached_safely_is_refused_before_anything_is_sent(
    token: str, repository: str, url: str, kind: type[errors.Error]
) -> None:
    with pytest.raises(kind) as caught:
        Deployments(Secret(token), repository, url=url)
    assert not token or token not in str(caught.value)


# -- the stand-in bites -------------------------------------------------------------------------------------

GOOD = {"ref": COMMIT, "environment": "production", "auto_merge": False, "required_contexts": []}
HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
    "User-Agent": "test",
    "Content-Type": "application/json",
}
HERE = f"/repos/{REPOSITORY}/deployments"


def send(hub: GitHub, method: str, path: str, body: Any, headers: Mapping[str, str | None]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=20)
    connection.putrequest(method, path, skip_accept_encoding=True)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for name, value in {**headers, "Content-Length": str(len(content))}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_the_stand_in_takes_what_is_good(hub: GitHub) -> None:
    assert send(hub, "POST", HERE, GOOD, HEADERS)[0] == 201
    assert send(hub, "POST", f"{HERE}/1/statuses", {"state": "success"}, HEADERS)[0] == 201


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (404, "GET", HERE, GOOD, {}),
        (404, "PUT", HERE, GOOD, {}),
        (404, "POST", "/repos/acme/deployments", GOOD, {}),
        (404, "POST", "/api/v3" + HERE, GOOD, {}),
        (404, "POST", HERE + "/", GOOD, {}),
        (404, "POST", "/repos/acme/other/deployments", GOOD, {}),
        (401, "POST", HERE, GOOD, {"Authorization": None}),
        (401, "POST", HERE, GOOD, {"Authorization": TOKEN}),
        (401, "POST", HERE, GOOD, {"Authorization": f"Simple {TOKEN}"}),
        (401, "POST", HERE, GOOD, {"Authorization": "Bearer nobody"}),
        (403, "POST", HERE, GOOD, {"Authorization": f"Bearer {READER}"}),
        (403, "POST", HERE, GOOD, {"User-Agent": None}),
        (415, "POST", HERE, GOOD, {"Accept": "text/html"}),
        (415, "POST", HERE, GOOD, {"Content-Type": "application/x-www-form-urlencoded"}),
        (400, "POST", HERE, GOOD, {"X-GitHub-Api-Version": None}),
        (400, "POST", HERE, GOOD, {"X-GitHub-Api-Version": "2019-01-01"}),
        (400, "POST", HERE, b"{not json", {}),
        (422, "POST", HERE, [], {}),
        (422, "POST", HERE, {}, {}),
        (422, "POST", HERE, GOOD | {"ref": 7}, {}),
        (422, "POST", HERE, GOOD | {"ref": "0" * 40}, {}),
        (422, "POST", HERE, GOOD | {"auto_merge": "false"}, {}),
        (422, "POST", HERE, GOOD | {"required_contexts": None}, {}),
        (422, "POST", HERE, GOOD | {"required_contexts": [1]}, {}),
        (422, "POST", HERE, GOOD | {"payload": 3}, {}),
        (422, "POST", HERE, GOOD | {"enviroment": "production"}, {}),
        (422, "POST", HERE, GOOD | {"description": "x" * 141}, {}),
        (202, "POST", HERE, {name: value for name, value in GOOD.items() if name != "auto_merge"}, {}),
        (409, "POST", HERE, {name: value for name, value in GOOD.items() if name != "required_contexts"}, {}),
        (404, "POST", f"{HERE}/2/statuses", {"state": "success"}, {}),
        (404, "POST", f"{HERE}/one/statuses", {"state": "success"}, {}),
        (422, "POST", f"{HERE}/1/statuses", {}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "done"}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "success", "description": "x" * 141}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "success", "description": None}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "success", "url": "https://models.example"}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "success", "environment_url": "models.example"}, {}),
        (422, "POST", f"{HERE}/1/statuses", {"state": "success", "log_url": "javascript:alert(1)"}, {}),
    ],
)
def test_the_stand_in_refuses_what_is_malformed(
    hub: GitHub, status: int, method: str, path: str, body: Any, headers: Mapping[str, str | None]
) -> None:
    assert send(hub, "POST", HERE, GOOD, HEADERS)[0] == 201
    before = repr(hub.deployments)
    assert send(hub, method, path, body, {**HEADERS, **headers})[0] == status
    assert repr(hub.deployments) == before
