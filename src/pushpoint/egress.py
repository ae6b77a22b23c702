"""The way out of sandboxes: an HTTP proxy for each, which connects where its allow-list says, and to public addresses.

A sandbox without a network is shown one Unix socket, and what listens there is this: CONNECT for TLS and whatever else,
and requests with an absolute address for plain HTTP. A name is looked up here, once; every address it has must be
public, and those very addresses are connected to, so that a resolver that answers otherwise later changes nothing.
Hosts that the operator lists by their whole names are not checked so.

All proxies of a process share a thread and its loop, so that what is copied does not hold up the loop of calls. They
also share a number of connections, lest a sandbox take the descriptors of the whole process.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import re
import resource
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from pushpoint.addresses import is_public
from pushpoint.environments import index_places
from pushpoint.errors import InvalidName
from pushpoint.hosts import Lookup, look_up
from pushpoint.reach import Place, Reach, place
from pushpoint.runtime.relay import short

CONNECTIONS = 100
"""Of one sandbox at once; uv asks for up to 50 files at a time."""
HEAD, HEAD_SECONDS = 1 << 14, 10.0
CONNECT_SECONDS, ADDRESSES = 10.0, 4
"""For each of so many addresses of a host."""
IDLE_SECONDS, HALF_SECONDS = 600.0, 60.0
"""Without a byte in either direction; and once one side has said that it is done."""
LOOKUPS = 4
"""Of one sandbox at once."""
ADVICE = "for more ask the platform's operator: pushpoint serve --egress HOST[:PORT]"
TOLD = 50
"""Refused hosts of one sandbox that are told of."""
CHUNK = 1 << 16
_LINE = re.compile(
    rb"CONNECT (?P<tunnel>[!-~]+:[0-9]+) HTTP/1\.[01]"
    rb"|(?P<method>[A-Z]+) (?P<address>http://[!-~]+) (?P<version>HTTP/1\.[01])"
)
_HOP = re.compile(rb"(proxy-[^:]*|connection|keep-alive|te|upgrade|host)\s*:", re.IGNORECASE)
_REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Tell = Callable[[str, Place, str], None]
"""Told of a refused host: by which sandbox, which, and why."""


class _Denied(Exception):
    def __init__(self, status: int, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.outcome = status, outcome


class Egress:
    """The proxies of a process; its methods may be called from any thread.

    Attributes:
        counts: Connections that have been asked for, by what became of them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listed: Reach,
        proxies: Mapping[str, str],
        lookup: Lookup = look_up,
        tell: Tell | None = None,
    ) -> None:
        """Start the thread.

        Args:
            folder: Where sockets are made.
            listed: What the operator lists. Addresses of hosts that stand there by name are not checked.
            proxies: The operator's own proxies, as `urllib.request.getproxies_environment` gives them.
            lookup: The resolver.
            tell: Is told of refused hosts, on the thread.
        """
        self.counts = dict.fromkeys(("connected", "refused", "failed", "busy", "malformed"), 0)
        self.listed, self.proxies, self.lookup = listed, proxies, lookup
        self.tell = tell or (lambda *_: None)
        self.most = min(512, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
        self.open_connections = 0
        self.resolvers = ThreadPoolExecutor(32, thread_name_prefix="resolver")
        self._folder = folder
        self._proxies: set[Proxy] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="egress", daemon=True)
        self._thread.start()

    def proxy(
        self, reach: Reach, *, who: str, advice: str, listed: Reach | None = None, connections: int = CONNECTIONS
    ) -> Proxy:
        """Open a proxy for one sandbox; close it when the sandbox ends.

        Args:
            reach: What may be reached.
            who: Whose sandbox it is, for people to read.
            advice: What to do where a host is refused.
            listed: Hosts that are not checked, beside the operator's.
            connections: How many at once.

        Returns:
            The proxy; it listens.
        """
        more = Reach(places=self.listed.places + (listed.places if listed else ()))
        path = self._folder / f"egress-{secrets.token_hex(6)}.sock"
        found = Proxy(self, path, reach, more, who, advice, min(connections, CONNECTIONS))
        self.call(self._begin, found)
        return found

    def for_worker(self, reach: Reach, algorithm: str) -> Proxy:
        """Open a proxy for a worker.

        Returns:
            The proxy.
        """
        advice = f"its owner may allow it: pushpoint workers {algorithm} --allow HOST[:PORT]"
        return self.proxy(reach, who=algorithm, advice=advice, connections=max(self.most // 4, 1))

    @contextlib.contextmanager
    def for_build(self, who: str, say: Callable[[str], None]) -> Iterator[Proxy]:
        """Open a proxy for a sandbox in which packages are built.

        Args:
            who: Whose build it is.
            say: Told at the end which hosts were refused.

        Yields:
            The proxy; it connects to the package indexes of this process's environment, to what the operator lists, and
            to public addresses.
        """
        indexes = index_places(os.environ)
        reach = Reach(places=indexes + self.listed.places, public=True)
        with self.proxy(reach, who=who, advice=ADVICE, listed=Reach(places=indexes)) as proxy:
            try:
                yield proxy
            finally:
                for refusal in proxy.refusals:
                    say(refusal)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have something done on the loop, as long as there is one."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def end(self, proxy: Proxy) -> None:
        """End a proxy; on the loop."""
        if proxy in self._proxies:
            self._proxies.discard(proxy)
            proxy.end()

    def close(self) -> None:
        """End every proxy and the thread."""
        self.call(self._loop.stop)
        self._thread.join()

    def _begin(self, proxy: Proxy) -> None:
        self._proxies.add(proxy)
        proxy.begin()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._finish())
        finally:
            self._loop.close()
            self.resolvers.shutdown(wait=False, cancel_futures=True)

    async def _finish(self) -> None:
        for proxy in list(self._proxies):
            self.end(proxy)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """The proxy of one sandbox.

    Attributes:
        path: Its socket; the sandbox must be shown it.
        refusals: Sentences of which hosts were refused; clients seldom tell.
    """

    def __init__(
        self, egress: Egress, path: Path, reach: Reach, listed: Reach, who: str, advice: str, connections: int
    ) -> None:
        self.path, self._connections = path, connections
        self.refusals: list[str] = []
        self._egress, self._reach, self._listed, self._who, self._advice = egress, reach, listed, who, advice
        self._told: set[Place] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        with short(str(path)) as name:
            self._listener.bind(name)
        self._listener.listen(64)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and its connections, at once; from any thread."""
        self.path.unlink(missing_ok=True)
        self._egress.call(self._egress.end, self)

    def begin(self) -> None:
        """Take connections; on the loop."""
        self._accepting = asyncio.ensure_future(self._accept())
        self._accepting.add_done_callback(lambda _: self._listener.close())

    def end(self) -> None:
        """Take no more, and cut those there are; on the loop."""
        for task in (self._accepting, *self._tasks):
            if task:
                task.cancel()
        self.path.unlink(missing_ok=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        self._lookups = asyncio.Semaphore(LOOKUPS)
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError:  # there are no descriptors left
                await asyncio.sleep(0.1)
                continue
            task = asyncio.ensure_future(self._serve(accepted, is_one_too_many=len(self._tasks) >= self._connections))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket, *, is_one_too_many: bool) -> None:
        egress = self._egress
        client = await asyncio.open_unix_connection(sock=accepted, limit=HEAD)
        egress.open_connections += 1
        outcome = "malformed"
        try:
            if is_one_too_many or egress.open_connections > egress.most:
                raise _Denied(503, "busy", "too many connections at once; close some, or try again")
            async with asyncio.timeout(HEAD_SECONDS):
                asked, first = _asked(await client[0].readuntil(b"\r\n\r\n"))
            outcome = "failed"
            server = await self._connect(asked)
            outcome = "connected"
            egress.counts[outcome] += 1
            try:
                if first:
                    server[1].write(first)
                else:
                    client[1].write(b"HTTP/1.1 200 Connected\r\n\r\n")
                await _both_ways(client, server)
            finally:
                server[1].transport.abort()
        except _Denied as denied:
            egress.counts[denied.outcome] += 1
            await _answer(client[1], denied.status, str(denied))
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            if outcome != "connected":
                egress.counts[outcome] += 1
        finally:
            egress.open_connections -= 1
            client[1].transport.abort()

    async def _connect(self, asked: Place) -> Streams:
        if not self._reach.covers(asked):
            raise self._refused(asked, f"{asked.host}:{asked.port} is not among the hosts that {self._who} may reach")
        is_listed = self._listed.names(asked)
        through = self._through(asked)
        if is_listed and through:
            return await _tunnel(through, asked.host, asked.port)
        async with self._lookups:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._egress.resolvers, self._egress.lookup, asked.host, asked.port)
        if is_listed and not found:
            raise _Denied(502, "failed", f"{asked.host} has no address; check its name")
        if not is_listed and not (found and all(map(is_public, found))):
            raise self._refused(asked, f"{asked.host} has no address on the public internet")
        if through:
            return await _tunnel(through, found[0], asked.port)
        for address in found[:ADDRESSES]:
            with contextlib.suppress(OSError):  # the next one may answer
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, asked.port, limit=CHUNK)
        raise _Denied(502, "failed", f"{asked.host}:{asked.port} does not answer; try again later")

    def _refused(self, asked: Place, reason: str) -> _Denied:
        if asked not in self._told and len(self._told) < TOLD:
            self._told.add(asked)
            self.refusals.append(f"{reason}; {self._advice}")
            self._egress.tell(self._who, asked, reason)
        return _Denied(403, "refused", f"{reason}; {self._advice}")

    def _through(self, asked: Place) -> str | None:
        proxies = self._egress.proxies
        found = proxies.get("http" if asked.port == 80 else "https") or proxies.get("all")
        name = f"{asked.host}:{asked.port}"
        return None if not found or proxy_bypass_environment(name, dict(proxies)) else found


def _asked(head: bytes) -> tuple[Place, bytes]:
    """Read the head of a request.

    Returns:
        Where it wants to go, and what is to be sent there first: nothing where it asks for a tunnel.

    Raises:
        _Denied: It is none that a proxy understands.
    """
    line, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    unclear = _Denied(
        400, "malformed", "this is no request for a proxy; send CONNECT HOST:PORT, or GET http://HOST/..."
    )
    found = _LINE.fullmatch(line)
    try:
        if found and found["tunnel"]:
            return _host(found["tunnel"].decode()), b""
        where = urlsplit(found["address"].decode() if found else "")
        port = where.port or 80
        host = f"[{where.hostname}]" if ":" in (where.hostname or "") else where.hostname
        asked = _host(f"{host}:{port}")
    except (ValueError, InvalidName):
        raise unclear from None
    if not found or not host:
        raise unclear
    method, version = found["method"].decode(), found["version"].decode()
    path = (where.path or "/") + (f"?{where.query}" if where.query else "")
    kept = [one for one in rest if not _HOP.match(one)]
    # with one request for each connection, no second one can be meant for another host
    named = [f"{method} {path} {version}", f"Host: {where.netloc.rpartition('@')[2]}", "Connection: close"]
    return asked, b"\r\n".join([*(one.encode() for one in named), *kept, b"", b""])


def _host(text: str) -> Place:
    found = place(text)
    if found.below:  # an entry of a list, and no host
        raise InvalidName("host", text, rule="name one host")
    return found


async def _tunnel(through: str, host: str, port: int) -> Streams:
    """Ask the operator's proxy for a connection.

    Returns:
        The connection.

    Raises:
        _Denied: There is none to be had.
    """
    where = urlsplit(through if "://" in through else f"http://{through}")
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {shown} HTTP/1.1", f"Host: {shown}"]
    if where.username:
        told = f"{unquote(where.username)}:{unquote(where.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(told.encode()).decode()}")
    problem = "does not answer"
    if where.scheme not in {"http", "https"} or not where.hostname:
        raise _Denied(502, "failed", "the platform's own proxy is not one of HTTP; its operator must name another")
    with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, LookupError, ValueError):
        async with asyncio.timeout(3 * CONNECT_SECONDS):
            secure = where.scheme == "https"
            streams = await asyncio.open_connection(
                where.hostname, where.port or (443 if secure else 80), ssl=secure or None, limit=CHUNK
            )
            try:
                streams[1].write("\r\n".join([*lines, "", ""]).encode())
                status = int((await streams[0].readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
            except BaseException:
                streams[1].transport.abort()
                raise
        if status == 200:
            return streams
        streams[1].transport.abort()
        problem = f"answers {status}"
    raise _Denied(502, "failed", f"the platform's own proxy {problem} for {shown}; ask its operator")


async def _both_ways(one: Streams, other: Streams) -> None:
    ended = itertools.count(1)
    async with asyncio.timeout(IDLE_SECONDS) as limit:
        loop = asyncio.get_running_loop()
        patience = IDLE_SECONDS

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal patience
            while data := await reader.read(CHUNK):
                limit.reschedule(loop.time() + patience)
                writer.write(data)
                await writer.drain()
            if next(ended) == 1:
                patience = HALF_SECONDS
                limit.reschedule(loop.time() + patience)
            if writer.can_write_eof():
                writer.write_eof()

        tasks = [asyncio.ensure_future(copy(one[0], other[1])), asyncio.ensure_future(copy(other[0], one[1]))]
        try:
            await asyncio.gather(*tasks)
            for _, writer in (one, other):  # what was taken is still passed on
                writer.close()
                await writer.wait_closed()
        finally:
            for task in tasks:
                task.cancel()


async def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    # many a client shows of a refused tunnel its reason phrase alone
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}: {text}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("ascii", "replace") + body)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(HEAD_SECONDS):
            writer.close()
            await writer.wait_closed()
