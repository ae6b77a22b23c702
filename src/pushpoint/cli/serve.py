"""`pushpoint serve`: the platform, in one process. Here its adapters are chosen, and handed to everything else."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli import handover
from pushpoint.errors import ConfigError, Conflict
from pushpoint.hosts import check_listed
from pushpoint.names import check_name

if TYPE_CHECKING:
    import uvicorn

    from pushpoint.cli.opening import Outside
    from pushpoint.limits import WorkerLimits
    from pushpoint.serving.limits import Limits

LONGEST_HOME = 85
"""Characters: the kernel takes 107 for a Unix socket, which for the longest in a home leaves so many."""


def serve(
    home: Annotated[
        Path | None, typer.Option(help="Folder for everything the platform keeps [default: ~/pushpoint]")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    url: Annotated[
        str | None, typer.Option(help="Address that callers and CI use [default: http://HOST:PORT]", show_default=False)
    ] = None,
    private_issuer: Annotated[
        list[str] | None,
        typer.Option(
            help="Issuer of CI tokens in your own network; also http on loopback, for tests. Repeatable.",
            show_default=False,
        ),
    ] = None,
    account: Annotated[str | None, typer.Option(help="Name of the first account [default: your user name]")] = None,
    git_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Git host that algorithms may be fetched from although it is not public, or has no TLS. May be "
            "repeated. Public ones need no mention.",
        ),
    ] = None,
    egress: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Host that algorithms may be allowed to reach, *.HOST for all below, or `public`. May be repeated "
            "[default: none]",
            show_default=False,
        ),
    ] = None,
    call_limit: Annotated[int, typer.Option(help="Calls of one account at once.", min=1)] = 80,
    child_limit: Annotated[int, typer.Option(help="Calls at once that one call's algorithms make.", min=1)] = 24,
    queue_limit: Annotated[
        int, typer.Option(help="Calls of one release that wait for a worker; more are refused at once.", min=1)
    ] = 200,
    input_limit: Annotated[int, typer.Option(help="MiB of a call's input.", min=1, max=64)] = 10,
    output_limit: Annotated[int, typer.Option(help="MiB of a call's result.", min=1, max=64)] = 15,
    memory_limit: Annotated[
        int | None,
        typer.Option(help="MiB of memory of a worker [default: 80 % of the machine's]", show_default=False, min=64),
    ] = None,
    cpu_limit: Annotated[
        float | None,
        typer.Option(help="Processors of a worker, such as 1.5 [default: all, in turn]", show_default=False, min=0.1),
    ] = None,
    process_limit: Annotated[
        int | None,
        typer.Option(
            help="Processes and threads of a worker [default: 256, or 16 for each processor, whichever is more]",
            show_default=False,
            min=16,
        ),
    ] = None,
    open_file_limit: Annotated[int, typer.Option(help="Open files of each process of a worker.", min=64)] = 1024,
    scratch_limit: Annotated[int, typer.Option(help="MiB of files of a worker, besides its model.", min=1)] = 10240,
    max_replicas: Annotated[
        int | None,
        typer.Option(
            help="Workers of a release at most, while calls wait [default: one for each processor]",
            show_default=False,
            min=1,
            max=100,
        ),
    ] = None,
    idle_after: Annotated[
        float,
        typer.Option(
            help="Seconds without a call after which a release's workers end; the next call starts one and waits for "
            "it.",
            min=1,
        ),
    ] = 900,
    profile: Annotated[
        bool, typer.Option(help="Whether to write a profile, so that the CLI finds this platform.")
    ] = True,
) -> None:
    """Start the platform. On an empty home it makes the first account and its key, kept in HOME/api-key."""
    Console(stderr=True).print(Text("starting", "dim"))
    home = (home or Path.home() / "pushpoint").absolute()
    name = check_name("account", account) if account else _user_name()
    listed = frozenset(map(check_listed, git_host or ()))
    with _taking_over() as before, _alone(home, before) as lock:
        listening = before.listening if before else _listen(host, port)
        import uvloop

        from pushpoint.cli.opening import Outside
        from pushpoint.limits import WorkerLimits
        from pushpoint.oidc import Issuers
        from pushpoint.reach import Reach
        from pushpoint.scaling import Scaling
        from pushpoint.serving.limits import Limits

        issuers = Issuers(private=private_issuer or ())
        for issuer in private_issuer or ():
            issuers.check(issuer)
        address = _public_address(url, host, listening.getsockname()[1])
        limits = Limits(
            calls=call_limit,
            children=child_limit,
            queue=queue_limit,
            input=input_limit << 20,
            output=output_limit << 20,
        )
        default = WorkerLimits()
        worker = WorkerLimits(
            memory=memory_limit << 20 if memory_limit else default.memory,
            cpus=cpu_limit,
            processes=process_limit or default.processes,
            open_files=open_file_limit,
            scratch=scratch_limit << 20,
        )
        scaling = Scaling(idle_seconds=idle_after)
        scaling = replace(scaling, max_replicas=max_replicas) if max_replicas else scaling
        reach = Reach.read(egress or ())
        outside = Outside(url=address, issuers=issuers, listed=listed, reach=reach, scaling=scaling)
        start = Start(home=home, listening=listening, lock=lock, before=before)
        run = _serve(start, outside, limits, worker, name, explicit=account is not None, profile=profile)
        successor = uvloop.run(run)
    _end_children(but=successor.process.pid if successor else 0)
    sys.stdout.flush()
    if successor:
        handover.leave(successor, home / "lock", is_first=before is None)
    os._exit(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a platform starts with.

    Attributes:
        home: Its folder.
        listening: Its socket.
        lock: Descriptor of the lock of its home.
        before: The platform that hands over to it, if one does.
    """

    home: Path
    listening: socket.socket
    lock: int
    before: handover.Predecessor | None


async def _serve(
    start: Start,
    outside: Outside,
    limits: Limits,
    worker: WorkerLimits,
    account: str,
    *,
    explicit: bool,
    profile: bool,
) -> handover.Successor | None:
    import uvicorn

    from pushpoint.cli import opening
    from pushpoint.engines.cgroups import find_groups
    from pushpoint.engines.local import LocalEngine
    from pushpoint.limits import MEMORY_SHARE, machine_memory
    from pushpoint.serving import sweeping
    from pushpoint.serving.pools import note_lost
    from pushpoint.serving.repeating import Repeating
    from pushpoint.web import create_app
    from pushpoint.web.protocol import Protocol, note_second

    say = Console(stderr=True, soft_wrap=True)
    home, before = start.home, start.before
    if before:
        before.tell("the new process opens the database")
    inner_path = home / "run" / f"api-{os.getpid()}.sock"
    groups = find_groups(int(machine_memory() * MEMORY_SHARE))
    loop = asyncio.get_running_loop()
    engine = partial(LocalEngine, loop=loop, limits=worker, groups=groups, on_lost=note_lost)
    services = await asyncio.to_thread(
        opening.open_platform, home, outside, limits, inner_path, engine, loop, before is None
    )

    def sweep() -> None:
        if before is None or before.gone.is_set():  # its calls keep what this process knows nothing of
            sweeping.sweep(services.database, services.store, services.tokens)

    sweeper = Repeating("sweeper", sweeping.EVERY, sweep)
    restarts = handover.Restarts(services, sweeper, start.listening, start.lock, before, say)
    try:
        opening.first_start(services, account, explicit=explicit, say=say)
        sandbox = services.sandbox
        style = "dim" if sandbox.program else "bold yellow"
        say.print(Text(f"sandbox: {sandbox.description}", style))
        say.print(Text(f"limits of workers: {groups.description}; the rest by rlimits and watching", "dim"))
        say.print(Text(f"Python for algorithms: {', '.join(one.release for one in services.interpreters)}", "dim"))
        if profile:
            opening.write_profile(outside.url, home, say)
        application = create_app(services)

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # those of `Restarts` stop both servers

            async def on_tick(self, counter: int) -> bool:  # ten times a second
                if counter % 10 == 0:
                    note_second(self.server_state.connections)
                return await super().on_tick(counter)

        def server() -> Server:
            return Server(
                uvicorn.Config(
                    application,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    ws="none",
                    http=Protocol,
                    proxy_headers=False,
                    timeout_graceful_shutdown=int(handover.GRACE) + handover.LAST_SECONDS,
                )
            )

        outer, inner = server(), server()
        inner_socket = _bind(inner_path)
        serving = [asyncio.create_task(inner.serve(sockets=[inner_socket]))]
        await _until_started(inner)
        if before:
            await asyncio.to_thread(services.pools.restore, before.builds)
            for number, build in enumerate(before.builds):
                before.tell(f"workers load; those of {number} of {len(before.builds)} releases are ready")
                await asyncio.to_thread(services.pools.wait_for, [build])
            await before.take_over()
            say.print(Text(f"took over from process {before.process}", "dim"))
        serving.append(asyncio.create_task(outer.serve(sockets=[start.listening])))
        await restarts.begin(outer, inner, _bind(home / "run" / handover.SOCKET))
        await _until_started(outer)
        if before:
            before.take(outer)
        else:
            await asyncio.to_thread(services.builder.recover)
            await asyncio.to_thread(services.pools.restore)
            typer.echo(f"ready at {outside.url}")
        gc.freeze()  # what is there now stays; else each look for garbage would go through all of it, in some 60 ms
        await asyncio.gather(*serving)
        return restarts.successor
    finally:
        sweeper.close()
        services.rollouts.close()
        services.fetcher.close()
        services.builder.close()
        await asyncio.to_thread(services.pools.close)
        services.egress.close()
        groups.close()
        inner_path.unlink(missing_ok=True)
        services.identities.close()
        services.reports.close()
        if services.tracing:
            await asyncio.to_thread(services.tracing.close)
        services.database.dispose()


def _end_children(*, but: int) -> None:
    """End the programs of builds that are under way, instead of waiting for them.

    Such a build counts as failed at the next start, and the deploy that asked for it tries it again.
    """
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                if child != but:
                    os.kill(child, signal.SIGKILL)


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    return bound


async def _until_started(server: uvicorn.Server) -> None:
    while not server.started:
        await asyncio.sleep(0.005)


def _public_address(url: str | None, host: str, port: int) -> str:
    if url is None:
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", url):
        raise ConfigError(f"{url!r} is not an address; write --url as https://HOST, without a path")
    return url


@contextlib.contextmanager
def _taking_over() -> Iterator[handover.Predecessor | None]:
    before = handover.predecessor(os.environ)
    try:
        yield before
    except Exception as error:
        if before is None or before.has_begun:
            raise
        before.say_failed(error)  # it tells whoever asked, and the log
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _alone(home: Path, before: handover.Predecessor | None) -> Iterator[int]:
    if before:
        yield before.lock
        return
    if len(os.fsencode(home)) > LONGEST_HOME:
        why = f"{home} is too long a path for the sockets in it; choose a --home of at most {LONGEST_HOME} characters"
        raise ConfigError(why)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        (home / ".gitignore").write_text("*\n")  # it holds a key
        lock = os.fdopen(os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise ConfigError(f"{home} cannot be used ({error.strerror}); choose another --home") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another platform runs on {home}; use it, stop it, or choose another --home") from None
        yield lock.fileno()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        why = f"cannot listen on {host} port {port} ({error.strerror})"
        raise ConfigError(f"{why}; if a platform runs there already, use it, else choose another --port") from error
    return listening


def _user_name() -> str:
    import getpass

    try:
        found = re.sub(r"\W", "_", getpass.getuser(), flags=re.ASCII)[:30]
    except (OSError, KeyError):
        found = ""
    return found if re.fullmatch(r"[a-zA-Z]\w*", found) else "pushpoint"
