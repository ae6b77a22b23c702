"""`/git/OWNER/NAME.git`: smart HTTP around `git http-backend`, protocol v2 included; read-only at `.../VERSION.git`.

A push is answered only after the build of the new head was begun, so whoever pushed finds it. Hooks never run. What a
client sends is read here first: a request to fetch as a whole, a push as far as its commands go.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from pushpoint import git, packets
from pushpoint.errors import InvalidName, InvalidRequest, NotFound, Refused
from pushpoint.names import AlgorithmName, decode_path
from pushpoint.records import Actor, Algorithm, lacking
from pushpoint.registry import algorithms, releases, repositories, sources
from pushpoint.serving import Services
from pushpoint.web import guards, raw

AT_ONCE = 4
"""Requests of one account that git works on at a time; more wait."""
PATIENCE = 120.0
"""Seconds for which nothing may come from a client, or go to it."""
LARGEST_FETCH_REQUEST, LARGEST_COMMANDS = 10 << 20, 1 << 20
"""Bytes, unpacked. The first is git's own limit."""
_PATH = re.compile(
    r"/git/([^/]+)/([^/]+?)(?:/([^/]+?))??(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)",
)
_PUSH, _FETCH = "git-receive-pack", "git-upload-pack"
_REF = re.compile(rb"refs/(heads|tags)/.+")
_PIECE = 1 << 16
_CHALLENGE = 'Basic realm="pushpoint"'
"""Git knows no other scheme."""


def application(services: Services) -> ASGIApp:
    """Make the application for `/git`.

    Returns:
        An ASGI application.
    """
    slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def serve(scope: object, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)
        authorization = raw.header(request, b"authorization")
        actor = await asyncio.to_thread(guards.identify, services, authorization, [], deploys=True, passwords=True)
        found = _PATH.fullmatch(decode_path(request["raw_path"]))
        if not found:
            raise NotFound("there is no such repository; its address is /git/OWNER/NAME.git")
        owner, name, selector, resource = found.groups()
        service = raw.query(request).get("service", "") if resource == "info/refs" else resource
        method = "GET" if resource == "info/refs" else "POST"
        if request["method"] != method:
            await raw.refuse(send, 405, f"git asks for this with {method}", allow=method)
            return
        may = "manage" if service == _PUSH else "view"
        if may not in actor.scopes:
            raise Refused(lacking([may], actor.account.name))
        which = AlgorithmName(owner, name)
        algorithm, repository = await asyncio.to_thread(_find, services, actor, which, selector)
        if service not in {_PUSH, _FETCH}:
            raise InvalidRequest(
                f"service is {service[:40]!r}; use a git that says {_FETCH} or {_PUSH} (1.6.6 or newer)"
            )
        if service == _PUSH and (
            elsewhere := await asyncio.to_thread(_pushed_elsewhere, services, algorithm, selector)
        ):
            # as text, which git shows to whoever pushes
            await raw.answer(send, 403, {"content-type": "text/plain; charset=utf-8"}, elsewhere.encode())
            return
        if method == "POST" and raw.header(request, b"content-type") != f"application/x-{service}-request":
            await raw.refuse(send, 415, f"415 unsupported content type; use application/x-{service}-request")
            return
        async with slots[actor.account.id]:
            body = _plain(_chunks(receive), raw.header(request, b"content-encoding"))
            first = b""
            if resource == _FETCH:
                first, body = await _whole(body), _none()
            elif resource == _PUSH:
                first, commands = await _commands(body)
                if why := await asyncio.to_thread(_refuse, repository, commands):
                    said = packets.refusal(commands[0].capabilities if commands else b"", why)
                    await raw.answer(send, 200, {"content-type": f"application/x-{_PUSH}-result"}, said)
                    return
            variables = {
                "GIT_PROJECT_ROOT": str(repository.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": f"/{repository.name}/{resource}",
                "REQUEST_METHOD": request["method"],
                "QUERY_STRING": f"service={service}",
                "CONTENT_TYPE": raw.header(request, b"content-type") or "",
                "REMOTE_USER": actor.account.name,
                "REMOTE_ADDR": "",
            }
            if protocol := raw.header(request, b"git-protocol"):
                variables["GIT_PROTOCOL"] = protocol

            async def pushed() -> None:
                await asyncio.to_thread(services.builder.pushed, algorithm)

            await _run(repository, variables, first, body, send, pushed if resource == _PUSH else None)

    return raw.guarded(serve, challenge=_CHALLENGE)


def _find(services: Services, actor: Actor, name: AlgorithmName, selector: str | None) -> tuple[Algorithm, Path]:
    """Find an algorithm and the repository to serve: all of it to its owner, up to a version to who may see that."""
    if selector is None:
        algorithm = algorithms.find_own(services.database, actor, name)
        repository = repositories.path(services.repositories, algorithm)
        if not repository.is_dir():
            raise NotFound(f"the repository of algo://{name} is gone; tell the platform's operator")
        return algorithm, repository
    algorithm = algorithms.find(services.database, actor, name)
    is_owner = algorithms.owns(actor, algorithm)
    if not (is_owner or algorithm.settings.get("source_visibility") == "open"):
        raise Refused(f"the source of algo://{name} is closed; ask {name.owner} to open it")
    try:
        build = releases.resolve(services.database, algorithm, selector, is_owner=is_owner)
    except InvalidName as error:
        raise NotFound(f"algo://{name} has no such version; its address is /git/{name}/VERSION.git") from error
    return algorithm, repositories.up_to(repositories.path(services.repositories, algorithm), build.commit)


def _pushed_elsewhere(services: Services, algorithm: Algorithm, selector: str | None) -> str:
    """Say where to push instead, if not here."""
    if source := sources.find(services.database, algorithm):
        return f"{algorithm.name} is built from {source.url}; push there\n"
    if selector is not None:
        return f"a version never changes; push to {services.url}/git/{algorithm.name}.git\n"
    return ""


def _refuse(repository: Path, commands: list[packets.Command]) -> str:
    """Say why git need not look at a push at all, if there is a reason."""
    if len(commands) > repositories.MOST_COMMANDS:
        return f"more than {repositories.MOST_COMMANDS} branches and tags at once; push fewer"
    for command in commands:
        if not _REF.fullmatch(command.ref):
            return f"{command.ref.decode('utf-8', 'replace')[:200]} is no branch and no tag; push those alone"
    new = sum(command.old == packets.NOTHING for command in commands)
    if new and not repositories.has_room(repository, new):
        return (
            f"the repository would have more than {repositories.MOST_REFS} branches and tags; push to those there are"
        )
    return ""


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    pieces = raw.chunks(receive)
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                piece = await anext(pieces, b"")
        except TimeoutError as error:
            raise InvalidRequest(f"nothing came for {PATIENCE:g} s; try again") from error
        if not piece:
            return
        yield piece


async def _plain(pieces: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """Unpack a body, never more than a piece at a time: a short one may be a long one's bomb."""
    if encoding in {None, "", "identity"}:
        async for piece in pieces:
            yield piece
        return
    if encoding not in {"gzip", "x-gzip"}:
        raise InvalidRequest("this Content-Encoding is not known; send the body as it is, or with gzip")
    unpacker = zlib.decompressobj(wbits=31)
    async for piece in pieces:
        rest = piece
        while rest:
            try:
                unpacked = unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise InvalidRequest("the body is not gzip, as its Content-Encoding says; send it again") from error
            rest = unpacker.unconsumed_tail
            if unpacked:
                yield unpacked
                await asyncio.sleep(0)  # others want to be answered meanwhile
    if not unpacker.eof:
        raise InvalidRequest("the body's gzip ends too early; send it again")


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    found = bytearray()
    async for piece in body:
        found += piece
        if len(found) > LARGEST_FETCH_REQUEST:
            raise InvalidRequest(
                f"a request to fetch has at most {LARGEST_FETCH_REQUEST} bytes; ask for less at a time"
            )
    return bytes(found)


async def _commands(body: AsyncIterator[bytes]) -> tuple[bytes, list[packets.Command]]:
    """Read a push up to the end of its commands.

    Returns:
        What was read, with the beginning of what follows; and the commands.
    """
    found, enough = bytearray(), 0
    async for piece in body:
        found += piece
        if len(found) >= enough:  # from the start again, but not for each byte of who sends them one by one
            if (commands := packets.commands(bytes(found))) is not None:
                return bytes(found), commands
            enough = 2 * len(found)
        if len(found) > LARGEST_COMMANDS:
            raise InvalidRequest(f"the commands of a push have at most {LARGEST_COMMANDS} bytes; push fewer at a time")
    if (commands := packets.commands(bytes(found))) is None:
        raise InvalidRequest("the push ended before its commands did; push again")
    return bytes(found), commands


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""


async def _run(
    repository: Path,
    variables: Mapping[str, str],
    first: bytes,
    body: AsyncIterator[bytes],
    send: Send,
    pushed: Callable[[], Awaitable[None]] | None,
) -> None:
    """Let git answer a request; a push is answered when git and `pushed` are done."""
    process = await asyncio.create_subprocess_exec(
        *repositories.WORK.command(["git", "http-backend"]),
        cwd=repository,  # else git looks for one around where the platform was started
        env=git.environment(more=repositories.SERVED) | dict(variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    feeding = asyncio.create_task(_feed(process, first, body))
    try:
        status, headers = await _head(process)
        answer = None
        if pushed:
            answer = await _output(process).read()
            await process.wait()
            await pushed()
        await raw.begin(send, status, headers)
        if answer is None:
            while piece := await _output(process).read(_PIECE):
                async with asyncio.timeout(PATIENCE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": answer or b"", "more_body": False})
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if process.returncode is None:
            _end(process)
        await process.wait()


async def _feed(process: asyncio.subprocess.Process, first: bytes, body: AsyncIterator[bytes]) -> None:
    stdin = process.stdin
    assert stdin  # noqa: S101 - it is a pipe
    # half a push does not match its own checksum: git refuses it, and takes away what it wrote
    with contextlib.suppress(raw.Gone, ConnectionError, InvalidRequest):
        stdin.write(first)
        await stdin.drain()
        async for piece in body:
            stdin.write(piece)
            await stdin.drain()
    stdin.close()


def _end(process: asyncio.subprocess.Process) -> None:
    """End git and the gits it started, which would wait for ever; the signal lets them take their locks away."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def _output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert process.stdout  # noqa: S101 - it is a pipe
    return process.stdout


async def _head(process: asyncio.subprocess.Process) -> tuple[int, dict[str, str]]:
    status, headers = 200, {}
    while line := (await _output(process).readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers[name.lower()] = value.strip()
    if not headers:
        raise InvalidRequest("git ended without an answer; try again")
    return status, headers
