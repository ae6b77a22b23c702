"""What the old platform's clients send, each request as one shape. Reading and describing use the same.

What is null counts as left out, and what is not named here is not looked at: old clients send more than we know. In
`CLOSED` it is refused. No old client sends these, so that another name is a slip, which would undo what was set before.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Required, TypedDict, TypeVar

from msgspec import Meta

from pushpoint.errors import InvalidRequest
from pushpoint.reach import MOST, PATTERN
from pushpoint.records import EVERYDAY
from pushpoint.scaling import MOST_REPLICAS
from pushpoint.wire.codec import decode

Shape = TypeVar("Shape")
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,29}$")]
Password = Annotated[str, Meta(min_length=12, max_length=200)]
_Text = Annotated[str, Meta(max_length=10_000)] | None
_Line = Annotated[str, Meta(max_length=300)] | None
_Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]
Pattern = Annotated[
    str, Meta(pattern=r"^algo://(\*|[A-Za-z][A-Za-z0-9_]{0,29}/(\*|[A-Za-z][A-Za-z0-9_]{0,29}(/\*)?))$")
]
_SCOPES = {"anyOf": [{"items": {"enum": sorted(EVERYDAY)}}, {"const": ["admin"]}]}
_Refused = Annotated[bool, Meta(extra_json_schema={"enum": [False]})] | None
"""Takes any truth value, of which one is not offered."""


class AskedDetails(TypedDict, total=False):
    """What people are told of an algorithm."""

    label: _Text
    summary: _Text
    tagline: _Text


class AskedLimits(TypedDict, total=False):
    """What a worker of an algorithm may use, where that is to be less than the platform allows; sizes are bytes."""

    memory: Annotated[int, Meta(ge=64 << 20)] | None
    cpus: Annotated[float, Meta(ge=0.1)] | None
    processes: Annotated[int, Meta(ge=16)] | None
    open_files: Annotated[int, Meta(ge=64)] | None
    scratch: Annotated[int, Meta(ge=1 << 20)] | None


_Replicas = Annotated[int, Meta(ge=0, le=MOST_REPLICAS)] | None


class AskedScaling(TypedDict, total=False):
    """How many workers an algorithm's release has; `idle_seconds` without a call, and it has `min_replicas` again."""

    min_replicas: _Replicas
    max_replicas: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] | None
    spare_replicas: _Replicas
    idle_seconds: Annotated[float, Meta(ge=1)] | None


class AskedNetwork(TypedDict, total=False):
    """Which hosts a worker may reach: `HOST`, `HOST:PORT` or `*.HOST`, at 443 without a port; or `public`."""

    allow: Annotated[list[Annotated[str, Meta(extra_json_schema={"pattern": PATTERN})]], Meta(max_length=MOST)] | None


CLOSED: dict[str, type] = {"limits": AskedLimits, "scaling": AskedScaling, "network": AskedNetwork}
"""The settings that take their own names alone."""


class AskedSettings(TypedDict, total=False):
    """Settings of an algorithm; the environment may be one that is not known."""

    algorithm_callability: Literal["public", "private"] | None
    source_visibility: Literal["open", "closed"] | None
    license: Literal["apl", "apache2", "gpl3", "mit"] | None
    network_access: Literal["isolated", "full"] | None
    pipeline_enabled: bool | None
    insights_enabled: bool | None
    royalty_microcredits: int | None
    algorithm_environment: _Line
    package_set: _Line
    environment: _Line
    language: _Line
    limits: AskedLimits | None
    scaling: AskedScaling | None
    network: AskedNetwork | None


class AskedVersion(TypedDict, total=False):
    """What is said of a version; the samples are texts, or JSON."""

    release_notes: str | None
    sample_input: Any
    sample_output: Any
    git_hash: _Commit | None


class AskedPublication(AskedVersion, total=False):
    """What is said of a version that is to be published; case makes no difference to its type."""

    version_type: Annotated[str, Meta(extra_json_schema={"enum": ["", "major", "minor", "revision", "patch"]})] | None


class AskedSource(TypedDict, total=False):
    """Where an algorithm is to be built from, as the old platform's clients name it."""

    scm: str | None
    repository_owner: str | None
    repository_name: str | None
    existing_repository_name: str | None


class NewAlgorithm(TypedDict, total=False):
    """Ask for an algorithm (platform API, section 2.3)."""

    name: Required[Name]
    details: AskedDetails | None
    settings: AskedSettings | None
    version_info: AskedVersion | None
    source: AskedSource | None


class ChangeAlgorithm(TypedDict, total=False):
    """Ask for other details, settings or samples (section 2.4)."""

    details: AskedDetails | None
    settings: AskedSettings | None
    version_info: AskedVersion | None


class Compile(TypedDict, total=False):
    """Ask for a build (section 2.5)."""

    commitSha: _Commit | None


class Publish(TypedDict, total=False):
    """Ask for a version (section 2.6)."""

    settings: AskedSettings | None
    version_info: AskedPublication | None


class NewSecret(TypedDict, total=False):
    """Ask for a secret to be kept (section 2.7)."""

    secret_key: Required[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]]
    secret_value: Required[str]
    short_name: str | None
    description: str | None
    owner_id: str | None


class ChangeSecret(TypedDict, total=False):
    """Ask for another value, another description, or both (section 2.7)."""

    secret_value: str | None
    description: str | None


class _UserDetails(TypedDict, total=False):
    email: _Line
    fullname: _Line
    company_name: _Line
    company_role: _Line


class ChangeUser(_UserDetails, total=False):
    """What a user says of themselves (section 2.10)."""

    username: str | None


class NewUser(_UserDetails, total=False):
    """Ask for a user (section 2.10)."""

    username: Required[Name]
    password: Password | None


class ChangeOrganization(TypedDict, total=False):
    """What an organization says of itself (section 2.10)."""

    org_label: _Line
    org_contact_name: _Line
    org_email: _Line
    org_url: _Line
    type_id: _Line


class NewOrganization(ChangeOrganization, total=False):
    """Ask for an organization (section 2.10)."""

    org_name: Required[Name]


class NewMember(TypedDict, total=False):
    """Ask for a user to be in an organization."""

    is_owner: bool | None


class AskedPermissions(TypedDict, total=False):
    """What a key is to be good for, in the old platform's words (section 2.10)."""

    allow_algo: bool | None
    allow_algo_management: bool | None
    allow_data: bool | None
    allow_data_write: bool | None
    allow_web_algo: _Refused
    referer_host: Annotated[str, Meta(extra_json_schema={"maxLength": 0})] | None
    algo_acl: Annotated[list[Pattern], Meta(max_length=100)] | None


class AskedKey(TypedDict, total=False):
    """Ask for a key, with our `scopes` and `patterns` or the old platform's `permissions` (section 2.10)."""

    key_label: Annotated[str, Meta(max_length=100)] | None
    key_type: str | None
    scopes: Annotated[list[str], Meta(extra_json_schema=_SCOPES)] | None
    patterns: Annotated[list[Pattern], Meta(min_length=1, max_length=100)] | None
    permissions: AskedPermissions | None


def asked(body: bytes, shape: type[Shape]) -> Shape:
    """Read a management request's body; old clients send an empty one where they have nothing to say.

    Returns:
        What is asked for.

    Raises:
        InvalidRequest: The body is not such JSON; the message names the place.
    """
    text = body.strip()
    if text in {b"", b"[]"}:  # an empty list is the R client's empty object
        text = b"{}"
    found = decode(text, shape)
    if isinstance(found, dict) and found.get("settings"):
        _check_names(decode(text, dict[str, Any])["settings"])
    return found


def _check_names(settings: Mapping[str, Mapping[str, object] | None]) -> None:
    for group, shape in CLOSED.items():
        known = list(shape.__annotations__)
        for name in settings.get(group) or ():
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean `{nearest[0]}`?" if nearest else f"there is {', '.join(known)}"
                raise InvalidRequest(f"`settings.{group}` has no `{name[:40]}`; {advice}")
