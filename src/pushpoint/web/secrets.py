"""Secrets of an algorithm: in, never out. Its workers find them in their environment.

Source:
    Platform API, section 2.7.
"""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post, put

from pushpoint import wire
from pushpoint.errors import InvalidRequest
from pushpoint.records import Actor
from pushpoint.registry import secrets
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, renew, seen
from pushpoint.web.guards import KNOWN


@get("/v1/secret-provider", opt={"scope": KNOWN}, sync_to_thread=False)
def providers() -> list[wire.SecretProvider]:
    """List what keeps secrets: the platform itself."""
    return [wire.SECRET_PROVIDER]


@get(f"{ROOT}/secrets", opt={"scope": "view"}, sync_to_thread=True)
def list_secrets(services: Services, actor: Actor, owner: str, name: str) -> wire.Secrets:
    """List the secrets of an algorithm, without their values."""
    algorithm = seen(services, actor, owner, name, own=True)
    found = [wire.secret_object(one) for one in secrets.of_algorithm(services.database, algorithm)]
    # the Python client reads the one, the specification says the other
    return {"results": found, "secrets": found, "marker": None, "next_link": None}


@post(f"{ROOT}/secrets", opt={"scope": "manage"}, sync_to_thread=True, status_code=200)
def add(
    services: Services, actor: Actor, owner: str, name: str, body: Annotated[bytes, wire.NewSecret]
) -> wire.SecretObject:
    """Give an algorithm a secret, which is in its workers' environment under `secret_key`."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.asked(body, wire.NewSecret)
    if asked.get("owner_id") not in {None, "", algorithm.id}:
        raise InvalidRequest("`owner_id` is another algorithm's; leave it out")
    made = secrets.put(
        services.database,
        services.vault,
        actor,
        algorithm,
        variable=asked["secret_key"],
        value=asked["secret_value"],
        label=asked.get("short_name") or "",
        description=asked.get("description") or "",
    )
    renew(services, algorithm)
    return wire.secret_object(made)


@put(f"{ROOT}/secrets/{{secret_id:str}}", opt={"scope": "manage"}, sync_to_thread=True)
def change(
    services: Services,
    actor: Actor,
    owner: str,
    name: str,
    secret_id: str,
    body: Annotated[bytes, wire.ChangeSecret],
) -> wire.SecretObject:
    """Replace a secret's value, its description, or both."""
    algorithm = seen(services, actor, owner, name, own=True)
    secret = secrets.find(services.database, algorithm, secret_id)
    asked = wire.asked(body, wire.ChangeSecret)
    value, description = asked.get("secret_value"), asked.get("description")
    secrets.change(services.database, services.vault, actor, secret, value=value, description=description)
    renew(services, algorithm)
    return wire.secret_object(secrets.find(services.database, algorithm, secret_id))


@delete(f"{ROOT}/secrets/{{secret_id:str}}", opt={"scope": "manage"}, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, owner: str, name: str, secret_id: str) -> None:
    """Delete a secret."""
    algorithm = seen(services, actor, owner, name, own=True)
    secrets.remove(services.database, actor, secrets.find(services.database, algorithm, secret_id))
    renew(services, algorithm)
