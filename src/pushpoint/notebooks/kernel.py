"""A kernel process: started, spoken to, watched, and explained when it dies.

It inherits nothing, is reached over sockets in a private directory, and leads a process group, so that signals reach
its children. No kernel specification, profile or configuration of the machine has a say.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file

GRACE = 3.0
"""Seconds a kernel gets to show where it was interrupted, and to leave when asked to."""


class Died(Exception):
    """The kernel ended, or never began; the text says why."""


class Kernel:
    """A kernel process and the sockets to it.

    Attributes:
        process: Leader of its process group.
        client: Speaks to it.
        log: File with what it printed past its own streams.
        death: Done when the process has ended.
        peak: Most memory it has been seen to use, in bytes; 0 where the system does not tell.
    """

    def __init__(self, process: subprocess.Popen[bytes], client: AsyncKernelClient, log: Path) -> None:
        self.process, self.client, self.log = process, client, log
        self.peak = 0
        self._killings = _killings()
        self.death = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while self.process.poll() is None:
            self.peak = max(self.peak, _peak(self.process.pid))
            await asyncio.sleep(0.1)

    async def set_up(self) -> Mapping[str, Any]:
        """Wait for its first answer, and make it strict about commands.

        Returns:
            What it says about its language.

        Raises:
            Died: It cannot be made strict.
        """
        await self.client.wait_for_ready()
        reply = await self.client.execute(_SET_UP, silent=True, store_history=False, reply=True)
        if reply["content"]["status"] != "ok":
            raise Died(f"its set-up failed with {reply['content'].get('evalue')}")
        information = await self.client.kernel_info(reply=True)
        return dict(information["content"]["language_info"])

    async def finished(self, task: asyncio.Future[Any], seconds: float | None) -> bool:
        """Wait until a task is done, or that many seconds, or until the kernel is dead.

        Returns:
            True if the task is done.

        Raises:
            Died: The kernel ended first.
        """
        await asyncio.wait({task, self.death}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self.death.done() and not task.done():
            await asyncio.wait({task}, timeout=0.5)  # its last words may still be on their way
            if not task.done():
                raise Died(self._reason())
        return task.done()

    def signal(self, number: int) -> None:
        """Send a signal to the process and its children."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    async def leave(self) -> None:
        """Ask it to end by itself, and give it time to."""
        if self.process.poll() is None:
            self.client.shutdown()
            await asyncio.wait({self.death}, timeout=GRACE)

    def _reason(self) -> str:
        status = self.process.returncode
        if status >= 0:
            return f"it exited by itself with code {status}{self._last_words()}"
        if status != -signal.SIGKILL:
            return f"it was killed by {signal.Signals(-status).name}{self._last_words()}"
        used = f"; it had used {self.peak / 2**20:,.0f} MiB" if self.peak else ""
        if _killings() > self._killings:
            return f"memory ran out, and the system killed it{used}; use less data at once or a larger machine"
        return f"it was killed by SIGKILL; often this means that memory ran out{used}"

    def _last_words(self) -> str:
        words = self.log.read_text(errors="replace").strip()[-2000:]
        return f":\n{words}" if words else ""


@asynccontextmanager
async def start(python: Path, directory: Path, variables: Mapping[str, str]) -> AsyncIterator[Kernel]:
    """Start a kernel; whatever happens, no process of its group is left afterwards.

    Args:
        python: Interpreter whose environment has `ipykernel`.
        directory: Where it works.
        variables: Its environment, all of it.

    Yields:
        The process, which may not be able to answer yet.

    Raises:
        Died: It cannot be started.
    """
    # The path of a Unix socket has at most 104 bytes.
    short = "/tmp" if len(tempfile.gettempdir()) > 60 else None  # noqa: S108 the directory below is private
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=short, ignore_cleanup_errors=True) as private:
        connection, log = Path(private, "connection.json"), Path(private, "log")
        key = secrets.token_hex(32).encode()
        write_connection_file(str(connection), transport="ipc", ip=str(Path(private, "socket")), key=key)
        arguments = ["-m", "ipykernel_launcher", "-f", str(connection), f"--ipython-dir={private}"]
        arguments += ["--HistoryManager.hist_file=:memory:", f"--IPKernelApp.parent_handle={os.getpid()}"]
        try:
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [str(python), *arguments],
                    cwd=directory,
                    env=dict(variables),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,  # so that signals reach its children too
                )
        except OSError as problem:
            raise Died(f"it cannot be started: {problem}") from None
        context = zmq.asyncio.Context()
        context.setsockopt(zmq.RCVHWM, 0)  # no output is dropped, however slowly it is read
        client = AsyncKernelClient(context=context)
        client.load_connection_file(str(connection))
        kernel = Kernel(process, client, log)
        try:
            client.start_channels(hb=False, stdin=False)
            yield kernel
            await kernel.leave()
        finally:
            kernel.signal(signal.SIGKILL)
            process.wait()
            await kernel.death
            client.stop_channels()
            context.destroy(linger=0)


def _killings() -> int:
    # How many processes the system has killed for lack of memory, as far as it tells.
    group = re.search(r":(?:memory)?:(/.*)", _text("/proc/self/cgroup"))
    inside = group[1] if group else ""
    files = ["/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
    files += [f"/sys/fs/cgroup{inside}/memory.events", f"/sys/fs/cgroup/memory{inside}/memory.oom_control"]
    counts = (re.search(r"^oom_kill (\d+)", _text(file), re.MULTILINE) for file in files)
    return sum(int(count[1]) for count in counts if count)


def _peak(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", _text(f"/proc/{pid}/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _strict(ip: Any, source: str) -> None:
    """Make commands and scripts that fail raise: this runs in the kernel, before the first cell.

    The functions stand in for those of IPython instead of wrapping them, because these look for `{variables}` in the
    frame of whoever called them. Annotations must mean something to Python 3.8.
    """
    import linecache
    import runpy
    import shutil
    import subprocess

    from IPython.utils._process_common import process_handler  # type: ignore[import-not-found]
    from IPython.utils.process import arg_split, system  # type: ignore[import-not-found]
    from IPython.utils.text import LSString, SList  # type: ignore[import-not-found]

    linecache.cache["<pushpoint>"] = len(source), None, source.splitlines(True), "<pushpoint>"  # for tracebacks

    def check(status: Any, command: str) -> None:
        ip.user_ns["_exit_code"] = status
        if status and "_exit_code" not in ip.history_manager.input_hist_raw[-1]:
            raise subprocess.CalledProcessError(status, command)

    def refuse_background(command: str) -> None:
        if command.rstrip().endswith("&"):
            raise OSError("Background processes not supported.")

    def run_command(command: str) -> None:
        __tracebackhide__ = True
        refuse_background(command)
        check(system(ip.var_expand(command, depth=1)), command)

    def get_output(command: str, split: bool = True, depth: int = 0) -> Any:
        __tracebackhide__ = True
        refuse_background(command)
        expanded = ip.var_expand(command, depth=depth + 1)
        out, status = process_handler(expanded, lambda p: (p.communicate()[0], p.returncode), subprocess.STDOUT)
        text = out.decode(errors="replace")
        if status:
            print(text, end="")
        check(status, command)
        return SList(text.splitlines()) if split else LSString(text)

    run_file, script = ip.safe_execfile, ip.magics_manager.registry["ScriptMagics"]
    run_cell = script.shebang

    def run_script(*where: Any, exit_ignore: bool = False, **options: Any) -> None:
        __tracebackhide__ = True
        options["raise_exceptions"] = True
        try:
            run_file(*where, **options)
        except SystemExit:
            if not exit_ignore:
                raise

    def run_module(name: str, where: Any) -> None:
        __tracebackhide__ = True
        try:
            where.update(runpy.run_module(str(name), run_name="__main__", alter_sys=True))
        except SystemExit as status:
            if status.code:
                raise

    def run_with(line: str, cell: str) -> Any:
        __tracebackhide__ = True
        program = script.shebang.parser.parse_known_args(arg_split(line))[1]
        if program and shutil.which(program[0]) is None:
            raise FileNotFoundError("there is no program " + program[0])
        try:
            return run_cell(line, cell)
        except subprocess.CalledProcessError as problem:
            raise subprocess.CalledProcessError(problem.returncode, line.strip() or "script") from None

    run_with.parser = run_cell.parser  # type: ignore[attr-defined]
    ip.system, ip.getoutput, ip.safe_execfile, ip.safe_run_module = run_command, get_output, run_script, run_module
    script.shebang = ip.magics_manager.magics["cell"]["script"] = run_with


_SOURCE = inspect.getsource(_strict) + "_strict(ip, source)\n"
_SET_UP = f"""(
    lambda source: exec(
        compile(source, "<pushpoint>", "exec"), {{"Any": object, "ip": get_ipython(), "source": source}}
    )
)({_SOURCE!r})"""
