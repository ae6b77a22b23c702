"""What the platform knows, as frozen values: one for each row of the database.

The words on the wire are `wire`'s affair; nothing here knows JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pushpoint.digests import Descriptor, Digest
from pushpoint.lifecycle import BuildState, DeploymentState
from pushpoint.manifest import Manifest
from pushpoint.names import AlgorithmName, RepositoryUrl, Version

IMPLIED = {"data": "read", "manage": "view"}
"""Scopes that another one brings along."""
EVERYDAY = frozenset({"call", "data", "manage", *IMPLIED.values()})
"""What a key may do: call algorithms; read data, or write it too; see builds and releases, or change them and push."""
SCOPES = EVERYDAY | {"admin"}
"""`admin` is for accounts and the platform's numbers, and for nothing else."""


def lacking(scopes: Iterable[str], owner: str) -> str:
    """Say that a key lacks scopes, for people to read.

    Args:
        scopes: Any of these would do.
        owner: The account whose key it is.

    Returns:
        A sentence with what to do.

    Example:
        >>> lacking(["call", "view"], "ann")
        "this key lacks the scope `call` or `view`; use a key of ann's that has it"
    """
    wanted = list(scopes)
    if wanted == ["admin"]:
        return "this takes an admin key, such as the one that the platform keeps in HOME/admin-key; use that"
    return (
        f"this key lacks the scope {' or '.join(f'`{scope}`' for scope in wanted)}; use a key of {owner}'s that has it"
    )


ANY_ALGORITHM = "algo://*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user or an organization; both own algorithms and collections, and share one namespace.

    Attributes:
        details: What it says of itself, as the wire gave it.
    """

    id: str
    name: str
    created: datetime
    is_organization: bool = False
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user in an organization; owners of it decide who else is."""

    name: str
    is_owner: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who is acting now, and what they may do.

    Attributes:
        account: Whose identity it is; inside an algorithm, that of its caller.
        scopes: Some of `SCOPES`.
        organizations: Names of the organizations that the account is a member of.
        through: The algorithm that acts for the account, if one does.
        session: The root call that an algorithm's own requests belong to.
        limit: What the key is limited to, if CI got it for its identity.
        patterns: Which algorithms the key is good for: `algo://*`, `algo://OWNER/*`, `algo://OWNER/NAME/*`.
        key_id: The key that was shown.
    """

    account: Account
    scopes: frozenset[str]
    organizations: frozenset[str] = frozenset()
    through: AlgorithmName | None = None
    session: str | None = None
    limit: Limit | None = None
    patterns: tuple[str, ...] = (ANY_ALGORITHM,)
    key_id: str = ""

    @property
    def owners(self) -> frozenset[str]:
        """The names that the account may act for: its own and those of its organizations."""
        return self.organizations | {self.account.name}

    @property
    def may_touch_all(self) -> bool:
        """Whether the key is good for every algorithm."""
        return ANY_ALGORITHM in self.patterns and self.limit is None

    def may_touch(self, name: AlgorithmName) -> bool:
        """Say whether the key is good for an algorithm, whosever it is.

        Returns:
            True if one of its patterns names it.
        """
        named = {ANY_ALGORITHM, f"algo://{name.owner}/*", f"algo://{name}/*", f"algo://{name}"}
        return not named.isdisjoint(self.patterns)

    @property
    def run(self) -> str | None:
        """The run of CI that acts for the account, for the history."""
        return self.limit.run if self.limit else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """All that a key is good for which CI got for its identity: to deploy one algorithm.

    Attributes:
        collection: The owner's collection that its models go to.
        run: The run of CI, in words.
    """

    algorithm_id: str
    algorithm: AlgorithmName
    collection: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key, without itself.

    Attributes:
        mask: Its beginning and its end, to tell it from others.
        owner: Whose algorithms and data it is for.
        last_used: None for a key that nobody used yet.
    """

    id: str
    owner: str
    label: str
    mask: str
    scopes: frozenset[str]
    patterns: tuple[str, ...]
    created: datetime
    expires: datetime | None
    last_used: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret of an algorithm, without its value.

    Attributes:
        variable: Environment variable that workers find it in.
    """

    id: str
    algorithm_id: str
    label: str
    variable: str
    description: str
    created: datetime
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call that ended in an error, for the errors report.

    Attributes:
        version: The release's, or the commit where it has none.
        input: Its first characters.
    """

    algorithm_id: str
    algorithm: AlgorithmName
    created: datetime
    request_id: str
    caller: str
    version: str
    input: str
    message: str
    error_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What an algorithm reported of a call, under a name of its own.

    Attributes:
        value: JSON text.
    """

    algorithm_id: str
    created: datetime
    request_id: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Which runs of CI may deploy an algorithm without a key.

    Attributes:
        issuer: Who vouches for the runs; the address that their tokens name.
        repository: Its name at the issuer.
        repository_id: Its number there; none until the first deploy.
        ref: Full, or with `*` for anything but a slash.
        workflow: File that must define the run; none for any.
        environment: Environment that the job must be in; none for any.
        collection: The owner's collection that the models go to.
    """

    id: str
    algorithm_id: str
    issuer: str
    repository: str
    repository_id: str | None
    ref: str
    workflow: str | None
    environment: str | None
    collection: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A named, callable thing of an owner.

    Attributes:
        settings: What its creator said of it, as the wire gave it.
        generation: Counts the deployments that were made live.
        live: The deployment that has the traffic, if any.
    """

    id: str
    name: AlgorithmName
    label: str
    summary: str
    tagline: str
    settings: dict[str, object]
    sample_input: str | None
    created: datetime
    generation: int
    live: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSource:
    """The repository on a git host that an algorithm is built from.

    Attributes:
        branch: The branch that is built; none for the one that the host's HEAD names.
        username: Who the platform fetches as; none to fetch as nobody.
        token: That user's token, sealed.
        webhook_secret: What the host signs its deliveries with, sealed.
    """

    algorithm_id: str
    url: RepositoryUrl
    branch: str | None
    username: str | None
    token: str | None
    webhook_secret: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A commit on its way to something that can start.

    Attributes:
        manifest: The commit's model manifest, when it has one.
        environment: Digest of the environment it runs in; none until it succeeded.
        sandbox: How its code was contained, in words.
    """

    id: str
    algorithm_id: str
    commit: str
    state: BuildState
    manifest: Manifest | None
    environment: str | None
    sandbox: str | None
    started: datetime
    finished: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An immutable published build."""

    id: str
    algorithm_id: str
    version: Version
    build: Build
    is_public: bool
    notes: str
    sample_input: str | None
    published: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A release made live, or on its way there.

    Attributes:
        deploy_id: The deploy that asked for it; the same id again is the same deployment.
        generation: Which one in the algorithm's history; none until it was live.
        is_rollback: Whether an older release was asked for on purpose.
        reason: Why it failed or was superseded; empty otherwise.
        run: The run of CI that asked for it without a key of its own; none otherwise.
    """

    id: str
    deploy_id: str
    algorithm_id: str
    release: Release
    state: DeploymentState
    generation: int | None
    is_rollback: bool
    reason: str
    actor: str
    run: str | None
    created: datetime
    live_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A flat folder of files of an owner.

    Attributes:
        read: Who else may read it: an entry of `READERS`.
    """

    id: str
    owner: str
    name: str
    read: str


PRIVATE, OWN_ALGORITHMS, PUBLIC = "", "algo://.my/*", "user://*"
READERS = frozenset({PRIVATE, OWN_ALGORITHMS, PUBLIC})
"""Nobody else; the owner's algorithms, whoever calls them; everybody (platform API, section 3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a collection: a name that stands for a blob."""

    name: str
    blob: Descriptor
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way in, which may be broken off and gone on with.

    Attributes:
        path: What it becomes, as `data://...`; of a part, what its sender says that the whole becomes.
        size: Bytes that were declared.
        offset: Bytes that are safe; all of them only when the upload has become what it is to become.
        digest: What the whole must have, if that was announced.
        concat: Its Upload-Concat: empty, `partial`, or `final;` and its parts.
        metadata: Its Upload-Metadata, as it was sent.
    """

    id: str
    path: str | None
    size: int
    offset: int
    digest: Digest | None
    create_only: bool
    concat: str
    metadata: str
    expires: datetime

    @property
    def is_partial(self) -> bool:
        """Whether it is but a part of a file."""
        return self.concat == "partial"

    @property
    def is_finished(self) -> bool:
        """Whether nothing is missing."""
        return self.offset == self.size
