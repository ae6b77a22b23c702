"""`/git/OWNER/NAME.git`: smart HTTP around `git http-backend`, protocol v2 included.

A push is answered only after the build of the new head was begun, so whoever pushed finds it. Hooks never run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from pushpoint import git
from pushpoint.errors import NotFound
from pushpoint.names import AlgorithmName, decode_path
from pushpoint.registry import algorithms, sources
from pushpoint.serving import Services
from pushpoint.web import guards, raw

_PATH = re.compile(r"/git/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
_PIECE = 1 << 16


def application(services: Services) -> ASGIApp:
    """Make the application for `/git`.

    Returns:
        An ASGI application.
    """

    async def serve(scope: object, receive: Receive, send: Send) -> None:
        request = cast("HTTPScope", scope)
        authorization = raw.header(request, b"authorization")
        actor = await asyncio.to_thread(
            guards.identify, services, authorization, ["manage"], deploys=True, passwords=True
        )
        found = _PATH.fullmatch(decode_path(request["raw_path"]))
        if not found:
            raise NotFound("there is no such repository; its address is /git/OWNER/NAME.git")
        owner, name, service = found.groups()
        algorithm = await asyncio.to_thread(algorithms.find_own, services.database, actor, AlgorithmName(owner, name))
        if "git-receive-pack" in service + request["query_string"].decode("latin-1") and (
            source := await asyncio.to_thread(sources.find, services.database, algorithm)
        ):
            # as text, which git shows to whoever pushes
            said = f"{algorithm.name} is built from {source.url}; push there\n"
            await raw.answer(send, 403, {"content-type": "text/plain; charset=utf-8"}, said.encode())
            return
        variables = git.environment() | {
            "GIT_PROJECT_ROOT": str(services.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{algorithm.id}.git/{service}",
            "REQUEST_METHOD": request["method"],
            "QUERY_STRING": request["query_string"].decode("latin-1"),
            "CONTENT_TYPE": raw.header(request, b"content-type") or "",
            "REMOTE_USER": actor.account.name,
            "REMOTE_ADDR": "",
        }
        for variable, header in (("HTTP_CONTENT_ENCODING", b"content-encoding"), ("GIT_PROTOCOL", b"git-protocol")):
            if value := raw.header(request, header):
                variables[variable] = value
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            env=variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        feeding = asyncio.create_task(_feed(process, receive))
        try:
            status, headers = await _head(process)
            body = await _rest(process) if service == "git-receive-pack" else None
            if body is not None:
                await process.wait()
                await asyncio.to_thread(services.builder.pushed, algorithm)
            await raw.begin(send, status, headers)
            if body is None:
                while piece := await _output(process).read(_PIECE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": body or b"", "more_body": False})
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if process.returncode is None:
                _end(process)
            await process.wait()

    return raw.guarded(serve)


async def _feed(process: asyncio.subprocess.Process, receive: Receive) -> None:
    stdin = process.stdin
    assert stdin  # noqa: S101 - it is a pipe
    try:
        async for piece in raw.chunks(receive):
            stdin.write(piece)
            await stdin.drain()
        stdin.close()
    except (raw.Gone, ConnectionError):
        _end(process)  # half a push must not be taken for a whole one


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
        raise NotFound("git ended without an answer; push again")
    return status, headers


async def _rest(process: asyncio.subprocess.Process) -> bytes:
    return await _output(process).read()
