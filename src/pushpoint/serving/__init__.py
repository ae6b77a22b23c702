"""What is running: the platform's parts, opened by the entry point and handed to every function that needs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pushpoint.databases import Database
from pushpoint.egress import Egress
from pushpoint.interpreters import Interpreter
from pushpoint.oidc import Issuers
from pushpoint.registry.vault import Vault
from pushpoint.sandbox import Sandbox
from pushpoint.serving.building import Builder
from pushpoint.serving.call_log import CallLog
from pushpoint.serving.fetching import Fetcher
from pushpoint.serving.identities import Identities
from pushpoint.serving.limits import Limits
from pushpoint.serving.lookups import Lookups
from pushpoint.serving.metrics import Metrics
from pushpoint.serving.pools import Pools
from pushpoint.serving.reports import Reports
from pushpoint.serving.rollouts import Rollouts
from pushpoint.serving.tokens import Tokens
from pushpoint.serving.tracing import Tracing
from pushpoint.stores.local import LocalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the web layer hands to domain functions.

    Attributes:
        home: The platform's directory; everything it keeps is below.
        url: Address that callers use, and that tokens of CI must be made out to.
        tracing: Where spans of calls go; none where nobody asked for them.
        interpreters: The Pythons that algorithms may choose from; the first is for those that do not.
    """

    home: Path
    url: str
    database: Database
    store: LocalStore
    issuers: Issuers
    repositories: Path
    vault: Vault
    sandbox: Sandbox
    egress: Egress
    interpreters: tuple[Interpreter, ...]
    tokens: Tokens
    identities: Identities
    reports: Reports
    limits: Limits
    lookups: Lookups
    pools: Pools
    metrics: Metrics
    call_log: CallLog
    tracing: Tracing | None
    builder: Builder
    fetcher: Fetcher
    rollouts: Rollouts
