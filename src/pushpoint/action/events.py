"""What an event may do: one decision, taken before anything else, and by default no.

Whoever can open a pull request can write its code; so a pull request's code may be tried but never made live, and one
from a fork is only read. Events that run with the repository's secrets on a stranger's account are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pushpoint.errors import ConfigError, Refused

Mode = Literal["deploy", "preview", "plan"]
MODES = ("auto", "deploy", "preview", "plan")
DEPLOYING = ("push", "workflow_dispatch", "schedule", "repository_dispatch", "release")
"""Events that only somebody who may write to the repository can cause."""
TRYING = ("pull_request", "merge_group")
RETRAINING = ("workflow_dispatch", "schedule", "repository_dispatch")
"""Events that mean: train again, although nothing in the repository changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done.

    Attributes:
        mode: `deploy`; `preview` trains and tries out, and changes nothing; `plan` only reads.
        retrain: Whether to train although nothing changed.
        trusted: Whether keys may be used: not for a fork's code.
        why: For people to read.
    """

    mode: Mode
    retrain: bool
    trusted: bool
    why: str


def decide(
    name: str, payload: Mapping[str, Any], ref: str, *, asked: str = "auto", deploy_branch: str = ""
) -> Decision:
    """Decide what an event may do.

    Args:
        name: The event's name, as in `on:`.
        payload: What GitHub says of it.
        ref: What it is about, such as `refs/heads/main`.
        asked: One of `MODES`.
        deploy_branch: The only branch to deploy from; empty for whatever the workflow names.

    Returns:
        The decision; never more than was asked for.

    Raises:
        ConfigError: `asked` is no mode.
        Refused: The event may not do anything, or not what was asked for.
    """
    if asked not in MODES:
        raise ConfigError(f"mode is {asked!r}; write one of {', '.join(MODES)}")
    if name not in DEPLOYING + TRYING:
        raise Refused(
            f"the event {name or '(none)'} may run with code or text of strangers, so it does nothing here; "
            f"let the workflow start on {', '.join(DEPLOYING[:3])} or pull_request"
        )
    if name == "pull_request" and _is_from_a_fork(payload):
        if asked in {"deploy", "preview"}:
            raise Refused(f"a pull request from a fork may be planned only, not `{asked}`; leave `mode` out")
        return Decision(mode="plan", retrain=False, trusted=False, why="a pull request from a fork is only planned")
    if name in TRYING:
        if asked == "deploy":
            raise Refused(f"{name} never deploys; merge it, and the push to the deploy branch will")
        mode: Mode = "plan" if asked == "plan" else "preview"
        return Decision(mode=mode, retrain=False, trusted=True, why=f"{name} tries the change out and deploys nothing")
    if payload.get("deleted") is True:
        raise Refused(f"{ref} was deleted; there is nothing to deploy")
    retrain = name in RETRAINING
    wanted = deploy_branch if deploy_branch.startswith("refs/") else f"refs/heads/{deploy_branch}"
    if asked == "auto" and deploy_branch and ref != wanted:
        why = f"{ref} is not the deploy branch {deploy_branch}, so it is tried out only"
        return Decision(mode="preview", retrain=False, trusted=True, why=why)
    if asked == "deploy" and deploy_branch and ref != wanted:
        raise Refused(
            f"{ref} is not the deploy branch {deploy_branch}; merge it there, or leave `mode` out to try it out"
        )
    chosen: Mode = "deploy" if asked == "auto" else asked  # type: ignore[assignment]
    return Decision(mode=chosen, retrain=retrain, trusted=True, why=f"{name} of {ref}")


def _is_from_a_fork(payload: Mapping[str, Any]) -> bool:
    # what is not plainly from the same repository counts as a fork's; a fork that was deleted has no repository
    try:
        request = payload["pull_request"]
        return bool(request["head"]["repo"]["full_name"] != request["base"]["repo"]["full_name"])
    except (KeyError, TypeError):
        return True
