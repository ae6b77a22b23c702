"""Whose key is this."""

from __future__ import annotations

from litestar import get

from pushpoint import wire
from pushpoint.records import Actor
from pushpoint.web.guards import KNOWN


@get("/v1/account", opt={"scope": KNOWN, "deploys": True}, sync_to_thread=False)
def show(actor: Actor) -> wire.AccountView:
    """Show the account that the key belongs to, and what the key may do."""
    return wire.AccountView(
        name=actor.account.name, scopes=sorted(actor.scopes), organizations=sorted(actor.organizations)
    )
