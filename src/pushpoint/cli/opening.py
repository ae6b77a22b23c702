"""What a platform is put together from, and what its first start leaves in its home.

It imports most of the platform, so commands import it when they need it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from rich.console import Console
from rich.text import Text

from pushpoint.config import profile_path, read_file
from pushpoint.databases import open_database
from pushpoint.engines.local import LocalEngine
from pushpoint.errors import ConfigError
from pushpoint.interpreters import find_interpreters
from pushpoint.oidc import Issuers
from pushpoint.reach import Reach
from pushpoint.records import EVERYDAY
from pushpoint.registry import accounts, deployments, keys
from pushpoint.registry.vault import KEY_FILE as VAULT_KEY
from pushpoint.registry.vault import Vault
from pushpoint.sandbox import find_sandbox, installation
from pushpoint.scaling import Scaling
from pushpoint.serving import Services
from pushpoint.serving.building import Builder
from pushpoint.serving.call_log import CallLog
from pushpoint.serving.fetching import Fetcher
from pushpoint.serving.identities import Identities
from pushpoint.serving.limits import Limits
from pushpoint.serving.lookups import Lookups
from pushpoint.serving.metrics import Metrics
from pushpoint.serving.pools import Pools
from pushpoint.serving.reaching import open_egress
from pushpoint.serving.reports import Reports
from pushpoint.serving.rollouts import Rollouts
from pushpoint.serving.tokens import Tokens
from pushpoint.serving.tracing import open_tracing
from pushpoint.stores.local import LocalStore

KEY_FILE = "api-key"
ADMIN_KEY_FILE = "admin-key"
"""For accounts and the platform's numbers alone; what deploys and calls does not need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where callers find the platform, what it and workers may speak to, and how many workers releases have."""

    url: str
    issuers: Issuers
    listed: Set[str]
    reach: Reach
    scaling: Scaling


def open_platform(
    home: Path,
    outside: Outside,
    limits: Limits,
    inner: Path,
    make_engine: Callable[..., LocalEngine],
    loop: asyncio.AbstractEventLoop,
    is_first: bool,
) -> Services:
    """Open what is in a home, and put the platform together. Takes a while; never on the loop.

    Args:
        home: The folder.
        outside: Its address, and what it and its workers may speak to.
        limits: Of calls.
        inner: The socket on which algorithms find the platform.
        make_engine: `LocalEngine`, without the home, the sandbox, the socket and the workers' way out.
        loop: Where calls run.
        is_first: Whether no other platform runs on this home; then what one left over is removed.

    Returns:
        The services.
    """
    tracing = open_tracing(os.environ)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=(home / "platform.log").open("a")),
    )
    for folder in ("run", "repositories", "builds", "environments", "scratch"):
        (home / folder).mkdir(exist_ok=True)
    database = open_database(home / "platform.db")
    if is_first:
        deployments.recover(database)
        for left in (home / "run").iterdir():
            left.unlink()
    store = LocalStore(home / "store")
    interpreters = find_interpreters()
    shown = dict.fromkeys(folder for interpreter in interpreters for folder in installation(interpreter.path))
    found = find_sandbox()
    sandbox = replace(found, installations=tuple(dict.fromkeys((*found.installations, *shown))))
    tokens = Tokens()
    vault = Vault(home / VAULT_KEY)
    egress = open_egress(home / "run", outside.reach)
    engine = make_engine(home, sandbox, inner, way_out=egress)
    pools = Pools(home, database, store, engine, tokens, vault, outside.scaling, outside.reach)
    repositories = home / "repositories"
    builder = Builder(home, database, repositories, sandbox, egress, pools, interpreters)
    return Services(
        home=home,
        url=outside.url,
        database=database,
        store=store,
        issuers=outside.issuers,
        repositories=repositories,
        sandbox=sandbox,
        egress=egress,
        interpreters=interpreters,
        tokens=tokens,
        identities=Identities(database, tokens),
        reports=Reports(database),
        limits=limits,
        lookups=Lookups(database),
        pools=pools,
        metrics=Metrics(database, pools, egress.counts),
        call_log=CallLog(),
        tracing=tracing,
        vault=vault,
        builder=builder,
        fetcher=Fetcher(database, repositories, vault, builder, outside.listed),
        rollouts=Rollouts(database, repositories, pools, tokens, loop),
    )


def first_start(services: Services, account: str, *, explicit: bool, say: Console) -> None:
    """Make the account and the keys that are not there yet.

    Args:
        services: The platform.
        account: The owner's name.
        explicit: Whether somebody has asked for that name.
        say: Where to say what was made.

    Raises:
        ConfigError: The home belongs to another one.
    """
    owner = accounts.oldest(services.database)
    if owner and explicit and owner.name != account:
        why = f"this home belongs to {owner.name}, not to {account}; leave --account out, or use another --home"
        raise ConfigError(why)
    owner = owner or accounts.create(services.database, account)
    for name, label, scopes in ((KEY_FILE, "first key", EVERYDAY), (ADMIN_KEY_FILE, "admin key", {"admin"})):
        path = services.home / name
        if path.exists():
            continue
        key, _ = keys.issue(services.database, owner, label=label, scopes=scopes)
        draft = path.with_suffix(".draft")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        say.print(Text(f"account {owner.name}; its {label} is in {path}", "green"))


def write_profile(url: str, home: Path, say: Console) -> None:
    """Point the CLI of this user to a platform.

    Args:
        url: Its address.
        home: Its folder, where the keys are.
        say: Where to say so.
    """
    path = profile_path(os.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = read_file(path).get("url", url) if path.exists() else url
    files = {"key-file": home / KEY_FILE, "admin-key-file": home / ADMIN_KEY_FILE}
    lines = [f"{name} = {json.dumps(str(file), ensure_ascii=False)}\n" for name, file in files.items()]
    path.write_text(f'# written by `pushpoint serve`\nurl = "{url}"\n{"".join(lines)}', encoding="utf-8")
    path.chmod(0o600)
    say.print(Text(f"profile: {path}" + (f", which pointed to {before} before" if before != url else ""), "dim"))
