"""What schemathesis cannot know: of our media types, that they are bytes; of a key, what its parts mean together."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies

REQUESTS = (
    "application/offset+octet-stream",
    "application/x-git-upload-pack-request",
    "application/x-git-receive-pack-request",
)
ANSWERS = (
    "application/gzip",
    "application/octet-stream",
    "application/x-git-upload-pack-advertisement",
    "application/x-git-receive-pack-advertisement",
    "application/x-git-upload-pack-result",
    "application/x-git-receive-pack-result",
)

for kind in REQUESTS:
    schemathesis.openapi.media_type(kind, strategies.binary(max_size=200))


@schemathesis.deserializer(*ANSWERS)
def as_bytes(_context: Any, response: Any) -> Any:
    return response.content.decode("latin-1")


@schemathesis.hook
def filter_body(_context: Any, body: Any) -> bool:
    """Ask for no key that names no algorithms: it is refused or not by what the other parts have it do."""
    permissions = body.get("permissions") if isinstance(body, dict) else None
    return not (isinstance(permissions, dict) and permissions.get("algo_acl") == [])
