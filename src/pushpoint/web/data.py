"""`/v1/data` and `/v1/connector/data`: collections and files, streamed both ways (platform API, section 3).

An upload is acknowledged when its bytes and its name are on disk and its digests are those that the sender announced
(`Content-Digest`, RFC 9530). `If-None-Match: *` creates only. With `Pushpoint-Link: sha256:...` no bytes are sent: the
file gets those of another file of the same owner. Connectors to other people's storage are not offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from pushpoint import wire
from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.errors import DigestMismatch, Error, InvalidName, InvalidRequest, NotFound
from pushpoint.names import DataPath, data_path, decode_path
from pushpoint.records import OWN_ALGORITHMS, PRIVATE, Actor
from pushpoint.registry import data
from pushpoint.serving import Services
from pushpoint.web import conditions, guards, raw
from pushpoint.web.errors import envelope, not_offered, status_of
from pushpoint.web.receiving import PIECE, announced_digests, keep

LARGEST_ASKED = 1 << 16
"""Bytes of a request that creates a collection."""
_OURS = re.compile(r"/v1/(?:data|connector/data(?:\+[^/]*)?)(?:/|$)")
_OTHERS = re.compile(r"/v1/(?:connector/|data/(?=[^/]+://))((?:azureblob|dropbox|gs|s3)(?:\+[^/:]*)?)(?:[:/]|$)")
_JSON = {"content-type": "application/json"}
_CHANGED = "the file holds other bytes than If-Match names; read it again"


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/data` and `/v1/connector`.

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
            await raw.refuse(send, 405, f"use one of {allowed}", allow=allowed)
            return
        try:
            text = decode_path(request["raw_path"])
            if other := _OTHERS.match(text):
                why = f"there is no connector to {other[1]}; put the data into a collection"
                await raw.answer(send, 501, _JSON, not_offered(why))
                return
            found = _OURS.match(text)
            if not found:
                raise NotFound("there is no such connector; use /v1/connector/data")
            text = text[found.end() :]
            if text.startswith("/"):  # two slashes are never one
                raise InvalidName("data path", text, rule="write it as data://OWNER/COLLECTION/FILE")
            path = data_path(text, me=actor.account.name, through=actor.through)
            await method(services, actor, path, request, receive, send)
        except Error as error:
            status = status_of(error)[0]
            match request["method"]:
                case "HEAD":  # it has no body; the Python client reads this header
                    await raw.answer(send, status, {"x-error-message": str(error)}, b"")
                case "POST" | "DELETE" as name:
                    # the Ruby client understands 400 and crashes on 409; others read how many were deleted, although
                    # it failed
                    _, headers, body = envelope(error, deleted=0) if name == "DELETE" else envelope(error)
                    await raw.answer(send, 400 if status == 409 else status, headers, body)
                case _:
                    raise

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
    modified = format_datetime(found.modified, usegmt=True)
    headers = _file_headers(path, found.blob) | {"last-modified": modified}
    status = conditions.status(scope, headers["etag"])
    if status != 200:
        kept = {name: headers[name] for name in ("etag", "last-modified", "x-data-type")}
        if status == 412:
            await raw.refuse(send, status, _CHANGED, **kept)
            return
        await raw.bare(send, status, kept)
        return
    size, begin, end = found.blob.size, 0, found.blob.size
    if part := conditions.part(scope, headers["etag"], modified, size):
        begin, end = part
        status = 206 if begin < end else 416
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}" if begin < end else f"bytes */{size}"
        headers["content-length"] = str(end - begin)
    if scope["method"] == "HEAD" or status == 416:
        await raw.bare(send, status, headers)
        return
    with await asyncio.to_thread(services.store.open, found.blob.digest) as file:
        file.seek(begin)
        await raw.begin(send, status, headers)
        left = end - begin
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
        if path.owner:
            names = await asyncio.to_thread(data.names, services.database, actor, path.owner)
        else:
            names = [actor.account.name, *sorted(actor.organizations)]  # clients take the first for the caller's own
        await raw.answer(send, 200, headers, wire.encode({"folders": [{"name": name} for name in names]}))
        return
    asked = raw.query(scope)
    inside = await asyncio.to_thread(data.collection, services.database, actor, path)
    found, marker = await asyncio.to_thread(data.listing, services.database, inside, after=asked.get("marker", ""))
    body: dict[str, object] = {"files": [wire.file_object(file) for file in found]}
    if marker is not None:
        body["marker"] = marker
    if asked.get("acl", "").lower() == "true" and not inside.name.startswith("."):
        body["acl"] = {"read": [inside.read] if inside.read else []}
    await raw.answer(send, 200, headers, wire.encode(body))


async def _post(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    text = await _small(receive)
    bare = text.decode("utf-8", "replace").strip().removeprefix('"').removesuffix('"')
    # Node sends the name alone, in quotes or without
    asked = {"name": bare} if not text.lstrip().startswith(b"{") else wire.lenient(text)
    name = asked.get("name")
    if path.collection or not isinstance(name, str) or not name:
        raise InvalidRequest('create a collection by POST to its owner, with {"name": "COLLECTION"}')
    read = OWN_ALGORITHMS if asked.get("acl") is None else _read_of(asked)
    whole = data_path(f"{path.owner or actor.account.name}/{name}")
    await asyncio.to_thread(data.create_collection, services.database, actor, whole, read=read)
    await raw.answer(send, 200, _JSON, wire.encode({"result": str(whole)}))  # the Python client refuses 201


async def _patch(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    read = _read_of(wire.lenient(await _small(receive)) or {})
    await asyncio.to_thread(data.share, services.database, actor, path, read)
    await raw.answer(send, 200, {}, b"")


async def _small(receive: Receive) -> bytes:
    text = b""
    async for part in raw.chunks(receive):
        text += part
        if len(text) > LARGEST_ASKED:
            raise InvalidRequest(f"the name and the access list of a collection fit into {LARGEST_ASKED} bytes")
    return text


def _read_of(asked: Mapping[str, object]) -> str:
    acl = asked.get("acl")
    readers = acl.get("read") if isinstance(acl, dict) else None
    if not isinstance(readers, list) or len(readers) > 1 or not all(isinstance(one, str) and one for one in readers):
        raise InvalidRequest('write an access list as {"acl": {"read": [...]}}, with one reader or none')
    return str(readers[0]) if readers else PRIVATE


async def _put(
    services: Services, actor: Actor, path: DataPath, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    _unconditional(scope)
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
    announced = announced_digests(raw.header(scope, b"content-digest"))
    draft = services.store.draft()
    try:
        blob = await keep(raw.chunks(receive), draft)
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
    _unconditional(scope)
    if path.file:
        await asyncio.to_thread(data.delete_file, services.database, actor, path)
        await raw.answer(send, 200, _JSON, wire.encode({"result": {"deleted": 1}}))
        return
    force = raw.query(scope).get("force", "").lower() == "true"
    deleted = await asyncio.to_thread(data.delete_collection, services.database, actor, path, force=force)
    if force:
        deleted = max(1, deleted)  # the Node client's suite deletes an empty one and wants 1
    await raw.answer(send, 200, _JSON, wire.encode({"result": {"deleted": deleted}}))


def _unconditional(scope: HTTPScope) -> None:
    if raw.header(scope, b"if-match") is not None:  # done all the same, it would overwrite what it was to spare
        raise InvalidRequest("If-Match is for reading; to write only a new file, send If-None-Match: *")


_DEPLOYS = frozenset({"HEAD", "POST", "PUT"})
"""What a deploy does: look whether a file is there, make the collection, send the model."""
_METHODS = {"GET": _get, "HEAD": _get, "POST": _post, "PUT": _put, "PATCH": _patch, "DELETE": _delete}


def _file_headers(path: DataPath, blob: Descriptor) -> dict[str, str]:
    kind = mimetypes.guess_type(path.file)[0] or OCTETS
    if kind.startswith("text/"):
        kind += "; charset=utf-8"  # requests takes text without a charset for Latin-1
    return {
        "content-type": kind,
        "content-length": str(blob.size),
        "x-data-type": "file",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "etag": f'"{blob.md5}"',
        "repr-digest": blob.field,
    }
