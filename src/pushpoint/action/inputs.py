"""The Action's inputs, and the original Action's, which mean the same.

`action.yml` hands them over as one JSON object, so this table and that file are all there is; a test compares them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from pushpoint import identity
from pushpoint.config import SETTINGS, Secret
from pushpoint.errors import ConfigError, Refused

OWN = {
    "url": "Address of the platform, such as https://api.example.com",
    "api-key": "API key of the account that owns the algorithm, from a secret; leave it out to deploy without a key",
    "git-user": "User name on the git host of `repository`",
    "git-token": "Token that may push to `repository`, from a secret",
    "mode": "auto (by event), deploy, preview (train and try out, change nothing) or plan (only say what would happen)",
    "dry-run": "true is the same as mode: plan",
    "deploy-branch": "The only branch to deploy from; others are previewed [default: whatever the workflow names]",
    "retrain": "true trains although nothing changed [default: true when started by hand or by schedule]",
    "force": "true deploys although something newer is live",
    "github-token": "Token with deployments: write, to show the deployment's status on GitHub",
    "cache": "Whether environments are kept between runs: true, false [default: true on GitHub's own machines]",
    "environment": "Name of the GitHub environment whose deployment status is set [default: the algorithm's name]",
}
"""Inputs besides the settings: name -> help."""

ORIGINAL = {
    "algorithmia_api_key": "api-key",
    "algorithmia_username": "algorithm: OWNER/NAME",
    "algorithmia_email": "commit-email",
    "algorithmia_password": "no longer needed: it says that the platform hosts the algorithm; the key does the rest",
    "github_username": "git-user, and the owner in repository",
    "github_pat": "git-token",
    "algorithmia_algoname": "algorithm: OWNER/NAME",
    "algorithmia_uploadpath": "collection",
    "model_path": "model-path",
    "notebook_path": "notebook",
    "git_host": "the host in repository",
    "algorithmia_api": "url",
}
"""The original Action's inputs, and where each belongs now."""

SECRETS = ("api-key", "git-token", "github-token", "algorithmia_api_key", "algorithmia_password", "github_pat")
_ORIGINAL_PLATFORM = "algorithmia.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the workflow asks for.

    Attributes:
        settings: For `config.resolve`, by name.
        variables: Address and credentials, under the names that the CLI reads from the environment.
        secrets: Every secret among them.
    """

    settings: Mapping[str, str]
    variables: Mapping[str, str] = field(repr=False)
    secrets: tuple[Secret, ...]
    mode: str
    deploy_branch: str
    retrain: bool | None
    force: bool
    github_token: Secret | None
    environment: str


def read(given: Mapping[str, str], environment: Mapping[str, str]) -> Inputs:
    """Read the inputs.

    Args:
        given: By name; those that are empty count as not given.
        environment: Where the job may have put address and credentials instead.

    Returns:
        The inputs.

    Raises:
        ConfigError: Two of them contradict each other, or one is not of its kind.
        Refused: The original would have sent a secret to a host that it is not for.
    """
    found = {name: value.strip() for name, value in given.items() if isinstance(value, str) and value.strip()}
    secrets = tuple(Secret(found[name]) for name in SECRETS if name in found)
    _refuse_wrong_hosts(found, environment)
    for old, new in (("algorithmia_api", "url"), ("algorithmia_api_key", "api-key"), ("github_pat", "git-token")):
        _take(found, old, new)
    for old, new in (
        ("model_path", "model-path"),
        ("notebook_path", "notebook"),
        ("algorithmia_email", "commit-email"),
    ):
        _take(found, old, new)
    owner, name = found.pop("algorithmia_username", ""), found.get("algorithmia_algoname", "")
    if collection := found.pop("algorithmia_uploadpath", ""):
        filled = collection.replace("$ALGORITHMIA_USERNAME", owner).replace("$ALGORITHMIA_ALGONAME", name)
        found["algorithmia_uploadpath"] = filled
        _take(found, "algorithmia_uploadpath", "collection")
    if name and owner:
        found["algorithmia_algoname"] = f"{owner}/{name}"
    _take(found, "algorithmia_algoname", "algorithm")
    is_platform_hosted = bool(found.pop("algorithmia_password", ""))
    host, user = found.pop("git_host", ""), found.pop("github_username", "")
    if user and not is_platform_hosted:
        address = host if "://" in host else f"https://{host or 'github.com'}"
        found["github_username"] = f"{address.rstrip('/')}/{user}/{name}.git"
        _take(found, "github_username", "repository")
        found.setdefault("git-user", user)
    variables = {
        variable: found.get(name) or environment.get(variable, "")
        for variable, name in (
            ("PUSHPOINT_URL", "url"),
            ("PUSHPOINT_API_KEY", "api-key"),
            ("PUSHPOINT_GIT_USER", "git-user"),
            ("PUSHPOINT_GIT_TOKEN", "git-token"),
        )
    }
    if not variables["PUSHPOINT_API_KEY"]:
        variables |= {name: environment.get(name, "") for name in (identity.GIVEN, identity.ASK, identity.ASK_WITH)}
    token = found.get("github-token")
    return Inputs(
        settings={setting.name: found[setting.name] for setting in SETTINGS if setting.name in found},
        variables={name: value for name, value in variables.items() if value},
        secrets=secrets,
        mode="plan" if _is_true(found, "dry-run") else found.get("mode", "auto"),
        deploy_branch=found.get("deploy-branch", ""),
        retrain=_is_true(found, "retrain") if "retrain" in found else None,
        force=bool(_is_true(found, "force")),
        github_token=Secret(token) if token else None,
        environment=found.get("environment", ""),
    )


def disguises(secret: str, users: Iterable[str] = ()) -> list[str]:
    """List the forms in which a secret may turn up in a log, for the runner to mask.

    Args:
        secret: Not empty.
        users: User names that it may be the password of.

    Returns:
        The text itself, its lines, and what HTTP, URLs and JSON make of it.

    Source:
        GitHub masks exact matches only ("Secure use reference", redaction).
    """
    pairs = (f"{name}:{secret}" for name in {"", "x-access-token", *users})
    encoded = [base64.b64encode(text.encode()).decode() for text in (secret, *pairs)]
    lines = [line for line in secret.splitlines() if len(line) > 3]
    return list(dict.fromkeys([secret, *lines, *encoded, quote(secret, safe=""), json.dumps(secret)[1:-1]]))


def _take(found: dict[str, str], old: str, new: str) -> None:
    value = found.pop(old, "")
    if value and found.setdefault(new, value) != value:
        raise ConfigError(f"`{old}` and `{new}` mean the same and say different things; leave `{old}` out")


def _is_true(found: Mapping[str, str], name: str) -> bool:
    value = found.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise ConfigError(f"`{name}` is {value!r}; write true or false")
    return value == "true"


def _refuse_wrong_hosts(found: Mapping[str, str], environment: Mapping[str, str]) -> None:
    url = found.get("url") or found.get("algorithmia_api") or environment.get("PUSHPOINT_URL", "")
    host = (urlsplit(url).hostname or "").lower()
    if host == _ORIGINAL_PLATFORM or host.endswith(f".{_ORIGINAL_PLATFORM}"):
        raise Refused(
            f"{url} is the old platform, which is gone, and whoever has its name would get your key; "
            "write your own platform's address in `algorithmia_api`"
        )
    if "algorithmia_password" not in found:
        return
    asked = found.get("git_host", "")
    git = (urlsplit(asked if "://" in asked else f"//{asked}").hostname or "").lower()
    if not git or git == "github.com":
        raise Refused(
            "`algorithmia_password` is given and `git_host` names no platform: the original would have sent the "
            f"password to github.com; write `git_host: {host}`, or use `github_pat` instead of it"
        )
    if git != host and git.removeprefix("git.") != host.removeprefix("api.") and git != f"git.{_ORIGINAL_PLATFORM}":
        raise Refused(
            f"`algorithmia_password` is for the platform at {host}, and `git_host` is {git}; "
            f"write `git_host: {host}`, or leave `algorithmia_password` out and use `github_pat` for {git}"
        )
