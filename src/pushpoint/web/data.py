"""`/v1/data`: collections and files, streamed both ways (platform API, section 3).

An upload is acknowledged when its bytes and its name are on disk and its digests are those that the sender announced
(`Content-Digest`, RFC 9530). `If-None-Match: *` creates only. With `Pushpoint-Link: sha256:...` no bytes are sent: the
file gets those of another file of the same owner.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import mimetypes
import re
from email.utils import format_datetime
from pathlib import Path
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from pushpoint import wire
from pushpoint.digests import OCTETS, Descriptor, Digest, Hasher
from pushpoint.errors import DigestMismatch, Error, InvalidRequest, NotFound
from pushpoint.names import DataPath, data_path, decode_path
from pushpoint.records import OWN_ALGORITHMS, Actor
from pushpoint.registry import data
from pushpoint.serving import Services
from pushpoint.stores.local import Writer
from pushpoint.web import guards, raw

PIECE = 4 << 20
"""Bytes that are hashed and written at a time."""
AHEAD = 3
"""Pieces that may wait for the slowest of that; then the sender has to wait."""
LARGEST_ASKED = 1 << 16
"""Bytes of a request that creates a collection."""
_PREFIX = "/v1/data"
_JSON = {"content-type": "application/json"}
_DIGEST = re.compile(r"([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/data`.

    Returns:
        An ASGI application.
    """

    async def serve(incoming: object, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", incoming)
        deploys = request["method"] in _DEPLOYS
        scope = "read" if request["method"] in {"GET", "HEAD"} else "data"
        actor = guards.identify(services, raw.header(request, b"authorization"), [scope], deploys=deploys)
        method = _METHODS.get(request["method"])
        if method is None:
            allowed = ", ".join(_METHODS)
            await raw.answer(send, 405, _JSON | {"allow": allowed}, _error(f"use one of {allowed}"))
            return
        try:
            text = decode_path(request["raw_path"]).removeprefix(_PREFIX)
            path = data_path(text.strip("/"), me=actor.account.name)
            await method(services, actor, path, request, receive, send)
        except Error as error:
            if request["method"] != "HEAD":
                raise
            # a HEAD has no body; the Python client reads this header
            await raw.answer(send, 404 if isinstance(error, NotFound) else 400, {"x-error-message": str(error)}, b"")

    return raw.guarded(serve)


async def _get(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    if not path.file:
        if actor.limit:
            raise NotFound(f"{path} not found; this key stores models in {actor.limit.collection} alone")
        await _list(services, actor, path, scope, send)
        return
    found = await asyncio.to_thread(data.file, services.database, actor, path)
    headers = _file_headers(path, found.blob) | {"last-modified": format_datetime(found.modified, usegmt=True)}
    if scope["method"] == "HEAD":
        await raw.begin(send, 200, headers)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    with await asyncio.to_thread(services.store.open, found.blob.digest) as file:
        await raw.begin(send, 200, headers)
        left = found.blob.size
        while left:
            piece = await asyncio.to_thread(file.read, min(PIECE, left))
            if not piece:
                raise NotFound(f"{path} is shorter than it was")
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _list(services: Services, actor: Actor, path: DataPath, scope: HTTPScope, send: Send) -> None:
    headers = _JSON | {"x-data-type": "directory"}  # the Rust client needs it
    if not path.collection:
        if path.owner not in {"", actor.account.name}:
            raise NotFound(f"{path} not found; list data://{actor.account.name}")
        if path.owner:
            names = await asyncio.to_thread(data.names, services.database, actor)
        else:
            names = [actor.account.name]  # clients take the first entry for the caller's own name
        await raw.answer(send, 200, headers, wire.encode({"folders": [{"name": name} for name in names]}))
        return
    asked = raw.query(scope)
    inside = await asyncio.to_thread(data.collection, services.database, actor, path)
    found, marker = await asyncio.to_thread(data.listing, services.database, inside, after=asked.get("marker", ""))
    body: dict[str, object] = {"files": [wire.file_object(file) for file in found]}
    if marker is not None:
        body["marker"] = marker
    if asked.get("acl", "").lower() == "true":
        body["acl"] = {"read": [inside.read] if inside.read else []}
    await raw.answer(send, 200, headers, wire.encode(body))


async def _post(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    text = b""
    async for part in raw.chunks(receive):
        text += part
        if len(text) > LARGEST_ASKED:
            raise InvalidRequest(f"the name and the access list of a collection fit into {LARGEST_ASKED} bytes")
    asked = wire.lenient(text) or {"name": text.decode("utf-8", "replace").strip()}  # Node sends the bare name
    name, acl = asked.get("name"), asked.get("acl")
    if path.collection or not isinstance(name, str) or not name:
        raise InvalidRequest('create a collection by POST to its owner, with {"name": "COLLECTION"}')
    read = OWN_ALGORITHMS
    if isinstance(acl, dict) and isinstance(acl.get("read"), list):
        read = str(acl["read"][0]) if acl["read"] else ""
    whole = data_path(f"{path.owner or actor.account.name}/{name}")
    await asyncio.to_thread(data.create_collection, services.database, actor, whole, read=read)
    await raw.answer(send, 200, _JSON, wire.encode({"result": str(whole)}))  # the Python client refuses 201


async def _put(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    await asyncio.to_thread(data.writable, services.database, actor, path)
    # a limited key only ever adds: what an earlier deploy stored is not its to change
    create_only = raw.header(scope, b"if-none-match") == "*" or actor.limit is not None
    if known := raw.header(scope, b"pushpoint-link"):
        blob = await asyncio.to_thread(data.stored, services.database, services.store, actor, Digest(known))
        await asyncio.to_thread(
            data.put, services.database, services.store, actor, path, None, blob, create_only=create_only
        )
        await raw.answer(send, 200, _JSON, wire.encode({"result": str(path)}))
        return
    announced = _announced(raw.header(scope, b"content-digest"))
    draft = services.store.draft()
    try:
        blob = await _receive(receive, draft)
        for name, expected in announced.items():
            actual = blob.md5 if name == "md5" else blob.hex
            if actual != expected:
                raise DigestMismatch(f"the upload of {path}", expected=f"{name}:{expected}", actual=f"{name}:{actual}")
        await asyncio.to_thread(
            data.put, services.database, services.store, actor, path, draft, blob, create_only=create_only
        )
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    await raw.answer(send, 200, _JSON, wire.encode({"result": str(path)}))


async def _delete(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    if path.file:
        await asyncio.to_thread(data.delete_file, services.database, actor, path)
        deleted = 1
    else:
        force = raw.query(scope).get("force", "").lower() == "true"
        deleted = await asyncio.to_thread(data.delete_collection, services.database, actor, path, force=force)
        if force:
            deleted = max(1, deleted)  # the Node client's suite deletes an empty one and wants 1
    await raw.answer(send, 200, _JSON, wire.encode({"result": {"deleted": deleted}}))


_DEPLOYS = frozenset({"HEAD", "POST", "PUT"})
"""What a deploy does: look whether a file is there, make the collection, send the model."""
_METHODS = {"GET": _get, "HEAD": _get, "POST": _post, "PUT": _put, "DELETE": _delete}


async def _receive(receive: Receive, draft: Path) -> Descriptor:
    """Write the body to a new file and sync it; digests, writing and syncing go on while the rest arrives.

    Returns:
        What was written.
    """
    with Writer(draft) as file, contextlib.closing(Hasher(file.write, ahead=AHEAD)) as hasher:
        held, size = [], 0
        async for part in raw.chunks(receive):
            held.append(part)
            size += len(part)
            if size >= PIECE:
                await asyncio.to_thread(hasher.update, b"".join(held))
                held, size = [], 0
        await asyncio.to_thread(hasher.update, b"".join(held))
        found = await asyncio.to_thread(hasher.finish)
        await asyncio.to_thread(file.sync)
        return found


def _announced(header: str | None) -> dict[str, str]:
    found = {}
    for part in header.split(",") if header else ():
        written = _DIGEST.fullmatch(part.strip())
        if not written:  # taken for none, it would acknowledge bytes that nobody compared
            raise InvalidRequest("Content-Digest is not `sha-256=:BASE64:` or `md5=:BASE64:`; see RFC 9530")
        name, value = written.groups()
        if name in {"md5", "sha-256"}:
            try:
                found[name] = base64.b64decode(value, validate=True).hex()
            except binascii.Error as error:
                raise InvalidRequest("Content-Digest is not base64; see RFC 9530") from error
    return found


def _file_headers(path: DataPath, blob: Descriptor) -> dict[str, str]:
    kind = mimetypes.guess_type(path.file)[0] or OCTETS
    if kind.startswith("text/"):
        kind += "; charset=utf-8"  # requests takes text without a charset for Latin-1
    digests = {"sha-256": blob.hex, "md5": blob.md5}
    return {
        "content-type": kind,
        "content-length": str(blob.size),
        "x-data-type": "file",
        "x-content-type-options": "nosniff",
        "etag": f'"{blob.md5}"',
        "repr-digest": ", ".join(
            f"{name}=:{base64.b64encode(bytes.fromhex(value)).decode()}:" for name, value in digests.items()
        ),
    }


def _error(message: str) -> bytes:
    return wire.encode({"error": {"message": message}})
