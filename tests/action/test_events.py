"""What an event may do: a table of events, and that nothing but the table deploys."""

from __future__ import annotations

from typing import Any

import pytest

from pushpoint.action.events import DEPLOYING, MODES, Decision, decide
from pushpoint.errors import ConfigError, Refused

MAIN, SIDE, TAG = "refs/heads/main", "refs/heads/side", "refs/tags/v1"


def request(head: object, base: object = "acme/reviews") -> dict[str, Any]:
    return {"pull_request": {"head": {"repo": {"full_name": head}}, "base": {"repo": {"full_name": base}}}}


OWN, FORK = request("acme/reviews"), request("mallory/reviews")

CASES = [
    ("push", {}, MAIN, "auto", "", ("deploy", False, True)),
    ("push", {}, SIDE, "auto", "", ("deploy", False, True)),  # the workflow names the branch
    ("push", {}, TAG, "auto", "", ("deploy", False, True)),
    ("push", {}, MAIN, "auto", "main", ("deploy", False, True)),
    ("push", {}, MAIN, "auto", MAIN, ("deploy", False, True)),
    ("push", {}, SIDE, "auto", "main", ("preview", False, True)),
    ("push", {}, "refs/heads/feature/main", "auto", "main", ("preview", False, True)),
    ("push", {}, TAG, "auto", "main", ("preview", False, True)),
    ("push", {"head_commit": None}, MAIN, "auto", "", ("deploy", False, True)),
    ("push", {}, MAIN, "plan", "", ("plan", False, True)),
    ("push", {}, MAIN, "preview", "", ("preview", False, True)),
    ("release", {}, TAG, "auto", "", ("deploy", False, True)),
    ("workflow_dispatch", {"inputs": None}, MAIN, "auto", "", ("deploy", True, True)),
    ("workflow_dispatch", {}, SIDE, "auto", "main", ("preview", False, True)),
    ("workflow_dispatch", {}, SIDE, "preview", "main", ("preview", True, True)),
    ("schedule", {}, MAIN, "auto", "main", ("deploy", True, True)),
    ("repository_dispatch", {}, MAIN, "auto", "", ("deploy", True, True)),
    ("pull_request", OWN, "refs/pull/3/merge", "auto", "", ("preview", False, True)),
    ("pull_request", OWN, "refs/pull/3/merge", "preview", "", ("preview", False, True)),
    ("pull_request", OWN, "refs/pull/3/merge", "plan", "", ("plan", False, True)),
    ("pull_request", FORK, "refs/pull/3/merge", "auto", "", ("plan", False, False)),
    ("pull_request", FORK, "refs/pull/3/merge", "plan", "", ("plan", False, False)),
    ("pull_request", {}, "refs/pull/3/merge", "auto", "", ("plan", False, False)),
    ("pull_request", {"pull_request": None}, "refs/pull/3/merge", "auto", "", ("plan", False, False)),
    (
        "pull_request",
        {"pull_request": {"head": {"repo": None}}},
        "refs/pull/3/merge",
        "auto",
        "",
        ("plan", False, False),
    ),
    ("pull_request", request("ACME/reviews"), "refs/pull/3/merge", "auto", "", ("plan", False, False)),
    ("merge_group", {}, "refs/heads/gh-readonly-queue/main/pr-3", "auto", "", ("preview", False, True)),
]


@pytest.mark.parametrize(("name", "payload", "ref", "asked", "branch", "expected"), CASES)
def test_an_event_may_do(
    name: str, payload: dict[str, Any], ref: str, asked: str, branch: str, expected: tuple[str, bool, bool]
) -> None:
    found: Decision = decide(name, payload, ref, asked=asked, deploy_branch=branch)
    assert (found.mode, found.retrain, found.trusted) == expected
    assert found.why


STRANGERS = [
    *("pull_request_target", "workflow_run", "issue_comment", "issues", "pull_request_review", "discussion", "fork"),
    *("watch", "create", "delete", "deployment", "check_run", "workflow_call", "", "PUSH", "push ", "pull_request_"),
]


@pytest.mark.parametrize("asked", list(MODES))
@pytest.mark.parametrize("name", STRANGERS)
def test_every_other_event_is_refused_whatever_is_asked_for(name: str, asked: str) -> None:
    with pytest.raises(Refused, match="let the workflow start on push"):
        decide(name, OWN, MAIN, asked=asked)


@pytest.mark.parametrize(
    ("name", "payload", "asked"),
    [
        ("pull_request", OWN, "deploy"),
        ("pull_request", FORK, "deploy"),
        ("pull_request", FORK, "preview"),
        ("pull_request", {}, "preview"),
        ("merge_group", {}, "deploy"),
        ("push", {"deleted": True}, "auto"),
        ("push", {"branch": "side"}, "deploy"),
        ("push", {"deleted": True}, "deploy"),
    ],
)
def test_no_mode_asks_for_more_than_the_event_may_do(name: str, payload: dict[str, Any], asked: str) -> None:
    with pytest.raises(Refused):
        decide(name, payload, MAIN, asked=asked, deploy_branch=payload.get("branch", ""))


@pytest.mark.parametrize("asked", ["", "DEPLOY", "yes", "deploy "])
def test_a_mode_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="write one of auto, deploy, preview, plan"):
        decide("push", {}, MAIN, asked=asked)


def test_only_the_deploying_events_ever_deploy() -> None:
    assert {name for name, *_, expected in CASES if expected[0] == "deploy"} == set(DEPLOYING)
