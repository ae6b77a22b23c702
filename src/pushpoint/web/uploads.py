"""`/v1/uploads`: uploads that can be broken off and gone on with, by tus 1.0.0.

An offset is acknowledged when the bytes before it are on disk. An upload becomes a file of a collection in one step, by
the rules of a PUT, and counts as finished only then; parts become one by concatenation. `path` in Upload-Metadata says
which file; `sha256` (hexadecimal digits) is compared with what arrived.

Source:
    tus resumable upload protocol 1.0.0, https://tus.io/protocols/resumable-upload. Its word for a part of a file is
    partial upload, for the whole final upload.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import format_datetime
from functools import partial
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from pushpoint import wire
from pushpoint.digests import Digest
from pushpoint.errors import Conflict, DigestMismatch, Error, InvalidRequest, NotFound, Refused
from pushpoint.names import DataPath, data_path
from pushpoint.records import Actor, Upload
from pushpoint.registry import data, uploads
from pushpoint.serving import Services
from pushpoint.stores.local import Writer
from pushpoint.web import guards, raw
from pushpoint.web.errors import envelope, unfit
from pushpoint.web.holding import Hold, Holds
from pushpoint.web.receiving import PIECE, gathered, keep

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination,concatenation"
CHECKSUMS = ("sha1", "sha256")
SAFE_EVERY = 8 << 20
"""Bytes of a request after which what arrived is made safe; a crash of the platform loses no more of it."""
WRITTEN = 1 << 20
"""Bytes that are written at a time; small, since a file may come in many requests at once."""
_PREFIX = "/v1/uploads"
_ID = re.compile(r"(?:https?://[^/\s]+)?/v1/uploads/([0-9a-f-]{36})", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_PAIR = re.compile(r"([!-+\--~]+)(?: ([A-Za-z0-9+/=]*))?", re.ASCII)
_BYTES = "application/offset+octet-stream"


class _Unfit(Exception):
    """A request outside the protocol, with the status that the protocol names."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request, and all that is needed to answer it."""

    services: Services
    holds: Holds
    actor: Actor
    scope: HTTPScope
    receive: Receive
    send: Send

    def header(self, name: bytes) -> str | None:
        return raw.header(self.scope, name)


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/uploads`.

    Returns:
        An ASGI application.
    """
    holds = Holds()

    async def serve(incoming: Scope, receive: Receive, send: Send) -> None:
        scope = cast("HTTPScope", incoming)
        method = raw.header(scope, b"x-http-method-override") or scope["method"]
        actor = guards.identify(services, raw.header(scope, b"authorization"), ["data"], deploys=True)
        asked = _Asked(services=services, holds=holds, actor=actor, scope=scope, receive=receive, send=send)
        try:
            await _answer(asked, method)
        except (_Unfit, Error) as error:
            if isinstance(error, Error):
                status, headers, body = envelope(error)
            else:
                told, body = unfit(error.status, str(error))
                status, headers = error.status, told | error.headers
            if method == "HEAD":
                headers["x-error-message"] = str(error)
                body = b""
            await raw.answer(send, status, headers, body)

    guarded = raw.guarded(serve)

    async def tagged(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"tus-resumable", VERSION.encode())]
            await send(message)

        await guarded(scope, receive, with_version)

    return tagged


async def _answer(asked: _Asked, method: str) -> None:
    path = asked.scope["raw_path"].decode("latin-1")
    id = found[1] if (found := _ID.fullmatch(path)) else ""
    if not id and path.removesuffix("/") != _PREFIX:
        raise NotFound("there is no such upload; begin one by POST to /v1/uploads")
    methods = _OF_ONE if id else _OF_ALL
    if method not in methods:
        raise _Unfit(405, f"use one of {', '.join(methods)}", allow=", ".join(methods))
    if method not in {"OPTIONS", "GET"} and asked.header(b"tus-resumable") != VERSION:
        raise _Unfit(412, f"send Tus-Resumable: {VERSION}; this is tus {VERSION}", tus_version=VERSION)
    await methods[method](asked, id)


async def _options(asked: _Asked, _id: str) -> None:
    headers = {
        "tus-version": VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(uploads.LARGEST),
        "tus-checksum-algorithm": ",".join(CHECKSUMS),
    }
    await _end(asked, 204, headers)


async def _list(asked: _Asked, _id: str) -> None:
    """List what is under way to a file, so that a client that forgot everything can go on (ours, not tus's)."""
    path = _path(asked, {"path": raw.query(asked.scope).get("path", "")})
    if path is None:
        raise InvalidRequest("say which file the uploads are to become: ?path=data://OWNER/COLLECTION/FILE")
    await asyncio.to_thread(data.writable, asked.services.database, asked.actor, path)
    found = await asyncio.to_thread(uploads.under_way, asked.services.database, asked.actor, path)
    shown = [wire.upload_view(upload, _metadata(upload.metadata)) for upload in found]
    await raw.answer(
        asked.send, 200, {"content-type": "application/json"}, wire.encode(wire.UploadsView(uploads=shown))
    )


async def _head(asked: _Asked, id: str) -> None:
    async with asked.holds.alone(id):
        upload = await _find(asked, id)
    headers = _state(upload) | {"upload-length": str(upload.size), "cache-control": "no-store"}
    if upload.metadata:
        headers["upload-metadata"] = upload.metadata
    if upload.concat:
        headers["upload-concat"] = upload.concat
    await _end(asked, 200, headers)


async def _post(asked: _Asked, _id: str) -> None:
    said = _metadata(asked.header(b"upload-metadata") or "")
    path = _path(asked, said)
    concat = (asked.header(b"upload-concat") or "").strip()
    if concat not in {"", "partial"} and not concat.startswith("final;"):
        raise InvalidRequest("Upload-Concat is `partial`, or `final;` and the parts' addresses; see tus 1.0.0")
    if path is None and concat != "partial":
        raise InvalidRequest("name the file in Upload-Metadata: path, a space, data://OWNER/COLLECTION/FILE in base64")
    if path:
        await asyncio.to_thread(data.writable, asked.services.database, asked.actor, path)
    # a limited key only ever adds: what an earlier deploy stored is not its to change
    create_only = asked.header(b"if-none-match") == "*" or asked.actor.limit is not None
    new = Upload(
        id="",
        path=str(path) if path else None,
        size=0,
        offset=0,
        digest=_digest(said),
        create_only=create_only,
        concat=concat,
        metadata=asked.header(b"upload-metadata") or "",
        expires=uploads.end(),
    )
    if concat.startswith("final;"):
        upload = await _join(asked, new)
    else:
        upload = await _begin(asked, new)
    await _end(asked, 201, {"location": f"{_PREFIX}/{upload.id}"} | _state(upload))


async def _begin(asked: _Asked, new: Upload) -> Upload:
    if asked.header(b"upload-defer-length") is not None:
        raise InvalidRequest("the length cannot be told later; send Upload-Length")
    size = _number(asked, b"upload-length")
    if size > uploads.LARGEST:
        raise _Unfit(413, f"an upload has at most {uploads.LARGEST:,} bytes; send less")
    _fits(asked, size)
    upload = await asyncio.to_thread(uploads.begin, asked.services.database, asked.actor, replace(new, size=size))
    if asked.header(b"content-type") == _BYTES or size == 0:
        async with asked.holds.alone(upload.id) as hold:
            upload = await _take(asked, upload, hold)
    return upload


async def _patch(asked: _Asked, id: str) -> None:
    if asked.header(b"content-type") != _BYTES:
        raise _Unfit(415, f"send the bytes as Content-Type: {_BYTES}")
    offset = _number(asked, b"upload-offset")
    checksum = _checksum(asked.header(b"upload-checksum"))
    async with asked.holds.alone(id) as hold:
        upload = await _find(asked, id)
        if upload.concat.startswith("final"):
            raise Refused("a final upload is not written to; upload its parts, then concatenate them")
        if offset != upload.offset:
            raise Conflict(f"upload {id} is at {upload.offset}, not at {offset}; go on from there")
        _fits(asked, upload.size - offset)
        upload = await _take(asked, upload, hold, checksum)
    await _end(asked, 204, _state(upload))


async def _delete(asked: _Asked, id: str) -> None:
    async with asked.holds.alone(id):
        upload = await _find(asked, id)
        await asyncio.to_thread(uploads.remove, asked.services.database, asked.services.store.uploads, [upload])
    await _end(asked, 204, {})


_OF_ALL: dict[str, Callable[[_Asked, str], Awaitable[None]]] = {"OPTIONS": _options, "POST": _post, "GET": _list}
_OF_ONE: dict[str, Callable[[_Asked, str], Awaitable[None]]] = {
    "OPTIONS": _options,
    "HEAD": _head,
    "PATCH": _patch,
    "DELETE": _delete,
}


# -- bytes --------------------------------------------------------------------------------------------------


async def _take(asked: _Asked, upload: Upload, hold: Hold, checksum: tuple[str, bytes] | None = None) -> Upload:
    """Write the body to the end of an upload; a whole one that is complete then becomes a file.

    Without a checksum, what arrived is kept wherever the body breaks off.

    Returns:
        The upload as it is then.
    """
    database, at = asked.services.database, upload.offset
    last = upload.size if upload.is_partial else max(0, upload.size - 1)  # the rest counts when the file is there
    digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
    path = asked.services.store.uploads / upload.id
    with await asyncio.to_thread(partial(Writer, path, start=at)) as file:

        def write(piece: bytes) -> None:
            if digest:
                digest.update(piece)
            file.write(piece)

        def make_safe() -> Upload:
            file.sync()
            return uploads.advance(database, upload, min(at, last))

        try:
            async for piece in gathered(raw.chunks(hold.receiving(asked.receive)), WRITTEN):
                if at + len(piece) > upload.size:
                    raise _Unfit(413, f"the upload has {upload.size:,} bytes; send no more, or begin a new one")
                await asyncio.to_thread(write, piece)
                at += len(piece)
                if not digest and at - upload.offset >= SAFE_EVERY:
                    upload = await asyncio.to_thread(make_safe)
        except raw.Gone:
            if not digest:
                await asyncio.to_thread(make_safe)
            if hold.gives_way:
                raise Conflict(f"another request went on with upload {upload.id}; ask for its offset") from None
            raise
        if checksum and digest and digest.digest() != checksum[1]:
            raise _Unfit(460, f"the bytes do not have the {checksum[0]} that was sent with them; send them again")
        upload = await asyncio.to_thread(make_safe)
    if upload.is_partial or at < upload.size:
        return upload
    try:
        await _place(asked, upload, [upload])
    except DigestMismatch:
        await asyncio.to_thread(uploads.advance, database, upload, 0)
        raise
    upload = await asyncio.to_thread(uploads.advance, database, upload, upload.size)
    await asyncio.to_thread(uploads.discard, asked.services.store.uploads, [upload])
    return upload


async def _join(asked: _Asked, new: Upload) -> Upload:
    """Make a file of parts, in their order.

    Returns:
        The final upload.
    """
    ids = [_ID.fullmatch(one) for one in new.concat.removeprefix("final;").split()]
    if not ids or not all(ids):
        raise InvalidRequest("Upload-Concat names no parts, or things that are none; write `final;/v1/uploads/ID ...`")
    named = [found[1] for found in ids if found]
    if len(set(named)) != len(named):
        raise InvalidRequest("Upload-Concat names a part twice; a short request is not to make a large file")
    async with asked.holds.alone(*named):
        parts = [await _find(asked, id) for id in named]
        for part in parts:
            if not part.is_partial or not part.is_finished:
                raise InvalidRequest(
                    f"upload {part.id} is no part, or has {part.offset} of {part.size} bytes; send them"
                )
        size = sum(part.size for part in parts)
        if size > uploads.LARGEST:
            raise _Unfit(413, f"an upload has at most {uploads.LARGEST:,} bytes; send less")
        folder = asked.services.store.uploads
        try:
            await _place(asked, new, parts)
        except DigestMismatch:  # the parts are not what their sender thinks, and would never be
            await asyncio.to_thread(uploads.remove, asked.services.database, folder, parts)
            raise
        whole = replace(new, size=size, offset=size)
        whole = await asyncio.to_thread(uploads.join, asked.services.database, asked.actor, whole, parts)
        await asyncio.to_thread(uploads.discard, folder, parts)
    return whole


async def _place(asked: _Asked, whole: Upload, parts: list[Upload]) -> None:
    """Make what was uploaded a file of a collection, by the rules of a PUT."""
    path = _path(asked, {"path": whole.path or ""})
    store, draft = asked.services.store, asked.services.store.draft()
    assert path  # noqa: S101 - for the type checker; only parts have none
    try:
        blob = await keep(_pieces(asked, parts), draft)
        if whole.digest and blob.digest != whole.digest:
            raise DigestMismatch(f"the upload of {path}", expected=whole.digest, actual=blob.digest)
        await asyncio.to_thread(
            data.put, asked.services.database, store, asked.actor, path, draft, blob, create_only=whole.create_only
        )
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


async def _pieces(asked: _Asked, parts: list[Upload]) -> AsyncIterator[bytes]:
    for part in parts:
        left = part.size
        with (
            contextlib.suppress(FileNotFoundError),
            (asked.services.store.uploads / part.id).open("rb", buffering=0) as file,
        ):
            while left and (piece := await asyncio.to_thread(file.read, min(PIECE, left))):
                left -= len(piece)
                yield piece
        if left:
            raise NotFound(f"the bytes of upload {part.id} are lost; begin a new one")


# -- what a request says ------------------------------------------------------------------------------------


async def _find(asked: _Asked, id: str) -> Upload:
    services = asked.services
    return await asyncio.to_thread(uploads.find, services.database, services.store.uploads, asked.actor, id)


async def _end(asked: _Asked, status: int, headers: dict[str, str]) -> None:
    await raw.bare(asked.send, status, headers if status == 204 else headers | {"content-length": "0"})


def _state(upload: Upload) -> dict[str, str]:
    headers = {"upload-offset": str(upload.offset)}
    if not upload.is_finished or upload.is_partial:
        headers["upload-expires"] = format_datetime(upload.expires, usegmt=True)
    return headers


def _number(asked: _Asked, name: bytes) -> int:
    text = asked.header(name) or ""
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"send {name.decode().title()} as a number of bytes; see tus {VERSION}")
    return int(text)


def _fits(asked: _Asked, left: int) -> None:
    """Refuse a body that says it is too long, before it is read."""
    if int(asked.header(b"content-length") or 0) > left:
        raise _Unfit(413, f"no more than {left:,} bytes are missing; send no more, or begin a new upload")


def _metadata(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        read = _PAIR.fullmatch(pair.strip())
        try:
            if not read or read[1] in found:
                raise ValueError
            found[read[1]] = base64.b64decode(read[2] or "", validate=True).decode("utf-8", "replace")
        except ValueError as error:
            raise InvalidRequest("Upload-Metadata is not pairs of a key and base64, each key once; see tus") from error
    return found


def _path(asked: _Asked, said: dict[str, str]) -> DataPath | None:
    actor = asked.actor
    return data_path(said["path"], me=actor.account.name, through=actor.through) if said.get("path") else None


def _digest(said: dict[str, str]) -> Digest | None:
    text = said.get("sha256")
    if text is not None and not re.fullmatch("[0-9a-f]{64}", text):
        raise InvalidRequest("sha256 in Upload-Metadata is 64 hexadecimal digits, in base64 like every value")
    return Digest(f"sha256:{text}") if text else None


def _checksum(header: str | None) -> tuple[str, bytes] | None:
    if header is None:
        return None
    name, _, text = header.partition(" ")
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        found = b""
    if name not in CHECKSUMS or len(found) != hashlib.new(name, usedforsecurity=False).digest_size:
        raise InvalidRequest(f"Upload-Checksum is one of {', '.join(CHECKSUMS)}, a space and the digest in base64")
    return name, found
