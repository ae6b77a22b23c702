"""Promise 17: a notebook, and what it has installed, may try what it wants, and gets no secret of the deploy."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pushpoint.sandbox import find_sandbox, installation
from tests.conftest import Platform
from tests.promises.machine import FILES, NOBODY, OTHERS, TOP, Machine, Ran, commands, leaks
from tests.repositories import INFERENCE, trained

THIEF = Path(__file__).with_name("thief.py")
BACKEND = """\
import pathlib, subprocess, sys, zipfile
thief = pathlib.Path(__file__).resolve().parents[1] / "thief.py"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    subprocess.run([sys.executable, "-I", str(thief), "at-build-time"], check=False)
    with zipfile.ZipFile(pathlib.Path(folder) / "evil-1-py3-none-any.whl", "w") as file:
        file.writestr("evil.py", "import subprocess")
        file.writestr("evil-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1\\n")
        facts = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        file.writestr("evil-1.dist-info/WHEEL", facts)
        file.writestr("evil-1.dist-info/RECORD", "")
    return "evil-1-py3-none-any.whl"
"""
TRAINING = """\
import pathlib, subprocess, sys
subprocess.run([sys.executable, "-I", "thief.py", "from-the-notebook"], check=True)
pathlib.Path("model.pkl").write_text("honest weights")
for path in pathlib.Path("loot").iterdir():
    if path.is_file() and not path.is_symlink():
        print(path.read_bytes()[:100000])  # the executed notebook is kept
"""
FROM_INPUTS = {"api key", "git token", "github token", "identity token", "identity address"}
"""What only the Action's own process is given."""


@pytest.fixture(params=["as root", "as nobody"])
def machine(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose checkout holds the thief."""
    if request.param == "as root":
        yield equipped(tmp_path / "m", platform, None)
        return
    place = Path("/var/tmp") / f"pushpoint-tests-{os.getpid()}"
    try:
        yield equipped(place, platform, NOBODY)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def equipped(place: Path, platform: Platform, user: int | None) -> Machine:
    place.mkdir()
    name = f"thieving_{secrets.token_hex(4)}"  # what was deployed before would be up to date
    repository = trained(place / "runner" / "_work" / "thieving" / "thieving", name)
    machine = Machine(place, repository, platform, user)
    machine.canaries["api key"] = platform.key
    return machine


def prepared(machine: Machine, *cells: str, requirements: str = "") -> dict[str, str]:
    """Furnish it, put the thief into the checkout, and return the environment of the Action's process."""
    files = machine.furnish()
    python = Path(machine.python())
    library = next((python.parents[1] / "lib").glob("python3*/site-packages"))
    environment = machine.environment(
        machine.inputs(),
        PUSHPOINT_API_KEY=machine.platform.key,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN=machine.canary("identity token"),
        ACTIONS_ID_TOKEN_REQUEST_URL=f"https://localhost/{machine.canary('identity address')}",
        ANOTHER_NAME=f"prefix-{machine.canary('git token')}",
        SSH_AUTH_SOCK=str(machine.place / "tmp" / "agent"),
        PATH=f"{machine.repository.directory}/.venv/bin:{os.environ['PATH']}",
    )
    knows = files | {
        "agent": str(machine.place / "tmp" / "agent"),
        "name": machine.repository.name,
        "library": str(library),
        "source": environment["PYTHONPATH"],
        "cache": environment["XDG_CACHE_HOME"],
        "path": environment["PATH"],
        **{f"command {name}": environment[f"GITHUB_{name.upper()}"] for name in FILES},
    }
    repository = machine.repository
    repository.write("thief.py", THIEF.read_bytes())
    repository.write(".gitignore", "model.pkl\nloot/\nmap.json\n")
    repository.write("map.json", json.dumps(knows))
    repository.notebook(*(cells or (TRAINING,)))
    if requirements:
        repository.write("requirements.txt", requirements)
        repository.write("evil/backend.py", BACKEND)
        build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        repository.write("evil/pyproject.toml", build + '[project]\nname = "evil"\nversion = "1"\n')
    repository.commit("Steal")
    machine.give()
    return environment | {"GITHUB_SHA": repository.git("-c", "safe.directory=*", "rev-parse", "HEAD")}


@contextmanager
def agent(machine: Machine) -> Iterator[None]:
    """Answer on a socket of the user's with a secret, as agents for keys and containers do."""
    path, secret = machine.place / "tmp" / "agent", machine.canary("agent").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()

        def answer() -> None:
            with suppress(OSError):  # the socket is closed
                while True:
                    with server.accept()[0] as client, suppress(OSError):
                        client.recv(100)
                        client.sendall(secret)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def everything(machine: Machine, ran: Ran) -> dict[str, bytes]:
    """Collect all that is left of a run where others can see it."""
    top = machine.repository.directory
    left = {
        str(path): path.read_bytes()
        for folder in (top, machine.platform.home)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    for known in (
        top / ".git" / "config",
        top / ".git" / "modules" / "sub" / "config",
        machine.platform.home / "api-key",
    ):
        left.pop(str(known), None)  # where they were before
    for repository in (machine.platform.home / "repositories").iterdir():
        objects = ["git", "--git-dir", str(repository), "cat-file", "--batch-all-objects", "--batch"]
        left[f"objects of {repository.name}"] = subprocess.run(objects, capture_output=True, check=True).stdout
    left |= {f"file {name}": text.encode() for name, text in ran.files.items()}
    return left | {"log": ran.seen.encode("utf-8", "surrogateescape")}


def test_it_tries_at_least_forty_ways_and_gets_nothing(machine: Machine) -> None:
    environment = prepared(machine, requirements="./evil\n")
    top, loot = machine.repository.directory, machine.repository.directory / "loot"
    private = (machine.home, machine.runner / ".credentials", machine.temporary / "notes", top / ".git")
    with agent(machine), machine.sibling() as sibling:
        known = json.loads((top / "map.json").read_text())
        (top / "map.json").write_text(json.dumps(known | {"sibling pid": str(sibling)}))
        before = contents(*private)
        ran = machine.run(environment)
        after = contents(*private)
    assert ran.code == 0, ran.log
    assert after == before, "nothing of the user's was changed"
    assert len(machine.canaries) >= 20
    ways = re.findall(r"^@way\ndef (\w+)", THIEF.read_text(), re.MULTILINE)
    assert len(ways) >= 40
    for name in ("at-build-time", "from-the-notebook"):
        got = (loot / name).read_bytes()
        assert [way for way in ways if f"\n--- way {way}: ".encode() not in got] == [], "each was tried"
        assert re.findall(rb"STOLEN: [^'\n]*", got) == []
    assert b"STOLEN" not in ((loot / "ran").read_bytes() if (loot / "ran").exists() else b"")

    assert all_leaks(machine, ran) == {}
    assert [name for name, text in ran.files.items() if "HIJACKED" in text] == []
    assert {name for name, _ in commands(ran.log)} <= {"add-mask", "group", "endgroup", "notice", "warning"}

    name = machine.repository.name
    bare = str(machine.repository.pushed(machine.platform))
    pushed = machine.repository.git("--git-dir", bare, "show", f"master:src/{name}.py")
    assert pushed == INFERENCE.strip(), "the commit's code, whatever was written beside it"

    last = (loot / "daemon").read_text()
    time.sleep(0.3)
    assert (loot / "daemon").read_text() == last, "nothing that it started is still there"


def all_leaks(machine: Machine, ran: Ran) -> dict[str, set[str]]:
    return {name: who for name, data in everything(machine, ran).items() if (who := leaks(data, machine.canaries))}


def contents(*places: Path) -> dict[str, bytes]:
    files = (path for place in places for path in (place.rglob("*") if place.is_dir() else [place]))
    return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != "index"}


def test_the_same_thief_without_a_sandbox_gets_plenty(platform: Platform, tmp_path: Path) -> None:
    machine = equipped(tmp_path / "m", platform, None)
    environment = prepared(machine)
    top = machine.repository.directory
    with agent(machine):
        command = [*boxed(machine), *machine.with_keyring, sys.executable, "-I", "-c", CONTROL]
        given = json.dumps([machine.canary(f"sibling's {what}") for what in ("argument", "environment", "memory")])
        subprocess.run(command, cwd=top, env=environment, input=given.encode(), check=True, timeout=60)
    loot = (top / "loot" / "control").read_bytes()
    successful = [part for part in loot.split(b"\n--- way ") if leaks(part, machine.canaries) or b"STOLEN" in part]
    assert leaks(loot, machine.canaries) == set(machine.canaries)
    assert len(successful) >= 25


CONTROL = """\
import json, os, subprocess, sys
known = json.load(open("map.json"))
program = "import sys, time; held = sys.stdin.readline(); print('ready', flush=True); time.sleep(60)"
secrets = json.load(sys.stdin)
command = [sys.executable, "-I", "-c", program, secrets[0]]
with subprocess.Popen(command, env={"HELD": secrets[1]}, stdin=-1, stdout=-1) as sibling:
    sibling.stdin.write(secrets[2].encode() + b"\\n")
    sibling.stdin.flush()
    sibling.stdout.readline()
    json.dump(known | {"sibling pid": str(sibling.pid), "daemon seconds": "0.2"}, open("map.json", "w"))
    subprocess.run([sys.executable, "-I", "thief.py", "control"])
    sibling.kill()
"""


def boxed(machine: Machine, *options: str) -> list[str]:
    """Keep this machine's own processes and files out of what is not to be confined by Pushpoint."""
    program = find_sandbox().program
    if program is None:
        pytest.skip("bubblewrap does not work here, and this test does not let a thief loose without it")
    shown = [str(path) for path in (machine.place, *([OTHERS] if machine.user is not None else ()))]
    command = [program, "--die-with-parent", "--unshare-user", "--unshare-pid", *options, "--ro-bind", "/", "/"]
    command += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"]
    command += ["--bind", "/dev/shm", "/dev/shm"]
    ours = [str(path) for path in (Path(sys.prefix), TOP, *installation(Path(sys.executable)))]
    if machine.user is None:  # the other user has its own, elsewhere, and may not see ours
        command += [word for path in ours for word in ("--ro-bind", path, path)]
    return [*command, *(word for path in shown for word in ("--bind", path, path)), "--"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("pathlib.Path('model.pkl').symlink_to(known['ssh'])", "link that leads out of the checkout"),
        ("shutil.rmtree(out); out.symlink_to(pathlib.Path(known['ssh']).parent)", "ended without a word"),
    ],
    ids=["the model", "the folder of the executed notebook"],
)
def test_a_link_in_place_of_what_it_leaves_leads_nowhere(
    platform: Platform, tmp_path: Path, cell: str, said: str
) -> None:
    machine = equipped(tmp_path / "m", platform, None)
    known = "import json, pathlib, shutil\nknown = json.load(open('map.json'))\n"
    known += "out = next(pathlib.Path('.pushpoint').glob('training-*')) / 'out'\n"
    ran = machine.run(prepared(machine, known + cell))
    assert ran.code == 3
    assert said in ran.log
    assert all_leaks(machine, ran) == {}
    assert (machine.home / ".ssh" / "id_ed25519").read_text() == machine.canaries["ssh"], "it was not moved either"


RACE = """
import json, os, pathlib
known = json.load(open("map.json"))
pathlib.Path("model.pkl").write_text("honest weights")
held = bytearray(os.urandom(1 << 20) * 200)  # takes the system a while to take back


def close(number):
    try:
        os.close(number)
    except OSError:
        pass


def swap(to):
    while True:
        try:
            os.symlink(known["ssh"], to)
            os.replace(to, "model.pkl")
            open(to, "w").write("honest weights")
            os.replace(to, "model.pkl")
        except OSError:
            pass


if os.fork() == 0:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(256):
        os.dup2(null, number) if number < 3 else close(number)
    for number in range(20):
        if os.fork() == 0:
            swap(f"swap-{number}")
    os._exit(0)"""


def test_nothing_swaps_the_model_once_the_training_is_over(platform: Platform, tmp_path: Path) -> None:
    machine = equipped(tmp_path / "m", platform, None)
    ran = machine.run(prepared(machine, RACE))
    assert ran.code in {0, 3}, ran.log
    assert {
        name: who for name, data in everything(machine, ran).items() if (who := leaks(data, machine.canaries))
    } == {}


def test_without_a_sandbox_the_run_warns_and_the_deploys_own_secrets_stay_its_own(
    platform: Platform, tmp_path: Path
) -> None:
    """An unprivileged user on a machine without user namespaces; the files of that user are open to the notebook."""
    place = Path("/var/tmp") / f"pushpoint-tests-{os.getpid()}"
    try:
        machine = equipped(place, platform, NOBODY)
        environment = prepared(machine)
        with agent(machine), machine.sibling():
            ran = machine.run(environment, before=boxed(machine, "--disable-userns"))
        assert "the notebook runs unconfined" in ran.log
        got = leaks((machine.repository.directory / "loot" / "from-the-notebook").read_bytes(), machine.canaries)
        assert "ssh" in got, "it is no sandbox"
        assert got.isdisjoint(FROM_INPUTS)
    finally:
        shutil.rmtree(place, ignore_errors=True)
