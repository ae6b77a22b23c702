"""Requirements file -> virtual environment, cached by what it was made from. The work is done by the `uv` program.

An environment is made in place, since virtual environments cannot be moved, and counts only when the marker beside it
says so. The marker is written last, so an installation that was killed is made again.

Building a source distribution runs its author's code; installing a wheel does not. Whoever builds the requirements of
strangers gives `contained`, and gets this order: wheels only, outside; if that cannot be, everything inside. Files
that were installed outside may be hard links into uv's cache, so what runs in the environment later must not be able
to write to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer

from uv import find_uv_bin

from pushpoint.errors import ConfigError, RequirementsFailed
from pushpoint.reach import Place, place

Contain = Callable[[Sequence[str], Mapping[str, str], Sequence[Path]], Sequence[str]]
"""Wrap a command so that it has the given environment and, of all places, can write to the given directories only.

The first of them is for scratch. The command must see itself (`find_uv_bin()`), the installation of the interpreter,
the directory of the requirements, certificates, and the package indexes (`index_places`).
"""

_LARGEST_FILE = 4 << 20  # bytes of a requirements file
# A name and versions, nothing else: no option, path or URL.
_PLAIN = re.compile(r"\w[\w.-]*\s*(\[[\w\s,.-]*\])?\s*([(<>=!~][^@:/;]*)?(;.*)?")
_PINNED = re.compile(r"\S+==\S+(\s*;.*)?|\S+ @ git\+\S+@[0-9a-f]{40}(#\S*)?(\s*;.*)?")
_PASSED = re.compile(
    r"PATH|HOME|TMPDIR|LANG|LC_ALL|NETRC|XDG_(CACHE|CONFIG)_HOME|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT"
    r"|(?i:https?_proxy|all_proxy|no_proxy)"
    r"|UV_((DEFAULT_|EXTRA_)?INDEX(_URL|_STRATEGY)?|INDEX_\w+_(USERNAME|PASSWORD)|FIND_LINKS|OFFLINE"
    r"|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER|EXCLUDE_NEWER|HTTP_TIMEOUT|HTTP_RETRIES"
    r"|CONCURRENT_\w+|LINK_MODE|CACHE_DIR|CONFIG_FILE)"
)
_INDEX = re.compile(r"UV_((DEFAULT_|EXTRA_)?INDEX(_URL)?|FIND_LINKS)")
_URL = re.compile(r"(https?)://(?:[^/@\s]*@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(?::(\d+))?", re.ASCII)
PYPI = (place("pypi.org"), place("files.pythonhosted.org"))
_NO_WHEEL = re.compile(r"wheel|source distribution|building from source", re.IGNORECASE)
_MINORS = range(8, 15)
"""Of Python 3: the versions among which one is looked for that the requirements exist for."""
_UNREACHABLE = re.compile(r"error sending request|request failed|dns error|network connectivity", re.IGNORECASE)
_DENIED = re.compile(r"there\s+is\s+no\s+version\s+of\s+\S+==", re.IGNORECASE)
_FACTS = """
import json, sys, sysconfig
print(json.dumps([getattr(sys, "_base_executable", sys.executable), sys.version, sysconfig.get_platform()]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment that is complete.

    Attributes:
        path: Its directory.
        python: The interpreter inside it.
        lock: Every package in it, one `package==version` a line.
        digest: What it was made from: lock, Python, platform and extra requirements; 32 hexadecimal digits.
        reused: It was there already.
        seconds: What it took to make it or to find it.
    """

    path: Path
    python: Path
    lock: str
    digest: str
    reused: bool
    seconds: float


def make_environment(
    requirements: Path | None,
    *,
    root: Path,
    python: Path | str = sys.executable,
    others: Sequence[str] = (),
    extra: Sequence[str] = (),
    contained: Contain | None = None,
    cache: Path | None = None,
    variables: Mapping[str, str] | None = None,
    lock_age: float = 0.0,
    timeout: float | None = None,
    say: Callable[[str], None],
) -> Environment:
    """Make the environment for `requirements` below `root`, or find the one that was made before.

    Idempotent; two processes at once make it once. Relative paths in the file are relative to the file's directory.
    Requirements that name directories or files are installed anew every time, since their names do not tell whether
    they have changed. So is an environment into which something else was installed in the meantime.

    Args:
        requirements: A requirements file; one that is absent or empty asks for nothing.
        root: Directory of all environments.
        python: Interpreter to make it from.
        others: Versions of Python, such as `3.8`, that could be chosen instead; for the words of an error.
        extra: More requirements, such as `ipykernel`.
        contained: Confines the commands that may run code of the packages' authors. These get a cache of their own
            and no credentials.
        cache: uv's cache; its own default otherwise.
        variables: Environment variables for uv, beside the few that are passed on.
        lock_age: Seconds for which the versions chosen for the same requirements stay chosen without asking the
            package index. For training, where 86400 spares the second deploy of a day the network; 0 asks every time.
            Only plain requirements (no `-r`, `-c`, `-e`, path or URL) are remembered.
        timeout: Seconds that one command of uv may take.
        say: Called with every line that uv prints.

    Returns:
        The complete environment.

    Raises:
        ConfigError: `python` cannot be started.
        RequirementsFailed: The requirements cannot be read, resolved, built or installed.
    """
    started = time.monotonic()
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    name = str(requirements) if requirements else " ".join(extra)
    text = _read(requirements, name, follow=contained is None)
    facts = [*_describe(python), *extra]
    with tempfile.TemporaryDirectory(prefix="making-", dir=root, ignore_cleanup_errors=True) as scratch:
        uv = _Uv(
            name=name,
            python=facts[0],  # not a virtual environment's: it may be gone tomorrow
            file=requirements.absolute() if requirements and text else None,
            extra="\n".join(extra),
            plain=all(_PLAIN.fullmatch(line) for line in _lines(text)),
            directory=requirements.absolute().parent if requirements and text else root,
            environment=_passed(os.environ) | dict(variables or {}),
            cache=cache.absolute() if cache else None,
            timeout=timeout,
            say=say,
        )
        age = lock_age if uv.plain else 0.0
        settings = {name: value for name, value in uv.environment.items() if name.startswith("UV_")}
        if contained is None:
            chosen = _remembered(uv.choose, root, age, [text, *facts, settings])
        else:
            outside, known = uv.outside(root), [text, *facts, settings, "wheels only"]
            uv, chosen = _choose_safely(
                outside,
                lambda: _remembered(outside.choose, root, age, known),
                uv.inside(contained, Path(scratch)),
                lines=_lines(text),
                version=".".join(facts[1].split(".")[:2]),
                others=others,
            )
            # What is built inside is not shared with whoever happens to have the same versions.
            facts += ["contained", text] if uv.contained else []
        lock = [line for line in _lines(chosen) if not line.startswith("--")]
        if not all(_PINNED.fullmatch(line) for line in lock):
            facts.append(uuid.uuid4().hex)
        digest = _digest([chosen, *facts])
        path = root / digest
        with _locked(root / f"{digest}.lock", say):
            reused = _is_ready(path)
            if not reused:
                _marker(path).unlink(missing_ok=True)
                if path.exists():
                    shutil.rmtree(path)
                uv.install(path, chosen)
                _mark(path)
    return Environment(
        path=path,
        python=interpreter(path),
        lock="".join(f"{line}\n" for line in lock),
        digest=digest,
        reused=reused,
        seconds=time.monotonic() - started,
    )


def interpreter(path: Path) -> Path:
    """Say where the interpreter of an environment is.

    Returns:
        The link to it.
    """
    return path / "bin" / "python"


def index_places(environment: Mapping[str, str]) -> tuple[Place, ...]:
    """Say where packages come from, as the platform's environment has it.

    Returns:
        The hosts of package indexes; PyPI's where no other one takes its place.

    Example:
        >>> [str(one) for one in index_places({"UV_DEFAULT_INDEX": "mine=https://me:key@packages.example/simple"})]
        ['packages.example']
    """
    values = [value for name, value in environment.items() if _INDEX.fullmatch(name)]
    found = [
        place(f"{host}:{port or (443 if scheme == 'https' else 80)}")
        for scheme, host, port in _URL.findall(" ".join(values))
    ]
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        found.append(PYPI[0])
    return tuple(dict.fromkeys([*found, *(PYPI if PYPI[0] in found else ())]))


def _choose_safely(
    outside: _Uv, choose: Callable[[], str], inside: _Uv, *, lines: Sequence[str], version: str, others: Sequence[str]
) -> tuple[_Uv, str]:
    # `--only-binary` alone does not suffice: uv runs the setup.py of an editable requirement all the same.
    if outside.plain:
        try:
            return outside, choose()
        except RequirementsFailed as problem:
            if reason := _misfit(outside, lines, version, others):
                raise RequirementsFailed(outside.name, reason) from problem
            if not _NO_WHEEL.search(problem.log):
                raise
        inside.say("Not every package has a wheel; building contained")
    return inside, inside.choose()


def _misfit(uv: _Uv, lines: Sequence[str], version: str, others: Sequence[str]) -> str:
    """Say which requirements exist as wheels for other versions of Python, and not for this one.

    To build these takes minutes and fails: they are older than this Python, or do not want it. What has wheels for no
    version at all is another matter; it was made to be built.

    Returns:
        A sentence that names them and the versions that would do; empty where there are none.
    """
    versions = [f"3.{minor}" for minor in _MINORS]
    with ThreadPoolExecutor(4) as pool:
        fits = pool.map(lambda line: uv.fits(line, version), lines)
        missing = [line for line, fit in zip(lines, fits, strict=True) if not fit]
        asked = [(line, other) for line in missing for other in versions]
        found = [pair for pair, fit in zip(asked, pool.map(lambda pair: uv.fits(*pair), asked), strict=True) if fit]
    lost = [line for line in missing if any(line == one for one, _ in found)]
    if not lost:
        return ""
    suiting = [other for other in versions if all((line, other) in found for line in lost)]
    here = [other for other in suiting if other in others]
    if here:
        advice = f"Python {_or(here)} would do: choose it as the algorithm's environment"
    elif suiting:
        advice = f"Python {_or(suiting)} would do: install it on the platform's machine"
    else:
        advice = "No version of Python has all of them: deploy them apart"
    return (
        f"There is no wheel for Python {version} of {', '.join(lost)}. {advice}, or ask for versions that exist for "
        f"Python {version}."
    )


def _or(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + (" or " if words[:-1] else "") + words[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uv:
    name: str
    python: str
    file: Path | None
    extra: str
    plain: bool
    directory: Path
    environment: Mapping[str, str]
    cache: Path | None
    timeout: float | None
    say: Callable[[str], None]
    wheels_only: bool = False
    contained: Contain | None = None
    scratch: Path | None = None

    def outside(self, root: Path) -> _Uv:
        return replace(self, wheels_only=True, directory=root)  # where no stranger's `uv.toml` lies

    def inside(self, contained: Contain, scratch: Path) -> _Uv:
        environment = {key: value for key, value in self.environment.items() if not _is_credential(key, value)}
        return replace(
            self,
            contained=contained,
            scratch=scratch,
            cache=scratch / "cache",  # nobody else's: the code that runs here could write into it
            environment=environment | {"HOME": str(scratch)},
        )

    def choose(self) -> str:
        if not (self.file or self.extra):
            return ""
        options = ["--no-header", "--no-annotate", "--python", self.python]
        # The lock is installed without the file, so it repeats where the file wants its packages from.
        options += [] if self.plain else ["--emit-index-url", "--emit-find-links"]
        sources = ([str(self.file)] if self.file else []) + (["-"] if self.extra else [])
        return self._run("pip", "compile", *options, *self._wheels, *sources, given=self.extra)

    def fits(self, line: str, version: str) -> bool:
        options = ["--no-header", "--no-annotate", "--no-deps", "--no-python-downloads", "--python", self.python]
        quiet = replace(self, say=lambda _: None)
        try:
            quiet._run("pip", "compile", *options, *self._wheels, "--python-version", version, "-", given=line)
        except RequirementsFailed as problem:
            if _UNREACHABLE.search(problem.log):
                raise
            return False
        return True

    def install(self, path: Path, chosen: str) -> None:
        replace(self, contained=None, directory=path.parent)._run(
            "venv", "--no-project", "--python", self.python, str(path)
        )
        # From here on the new interpreter is started inside only: an installed `.pth` file is code too.
        if chosen:
            options = ["--no-deps", "--python", str(interpreter(path)), *self._wheels]
            options += ["--link-mode", "copy"] if self.contained else []
            for pause in (2.0, 5.0, 0.0):
                try:
                    self._run("pip", "install", *options, "--requirements", "-", given=chosen, writes=(path,))
                    return
                except RequirementsFailed as problem:
                    # the machines behind an index do not all learn of a release at once
                    if not (pause and _DENIED.search(problem.log)):
                        raise
                self.say("The package index denies a version that it has just offered; asking again")
                time.sleep(pause)
                options += [] if "UV_OFFLINE" in self.environment else ["--refresh"]

    @property
    def _wheels(self) -> Sequence[str]:
        return ("--only-binary", ":all:") if self.wheels_only else ()

    def _run(self, *arguments: str, given: str = "", writes: Sequence[Path] = ()) -> str:
        command = [find_uv_bin(), *arguments, "--color", "never", "--no-progress"]
        command += ["--cache-dir", str(self.cache)] if self.cache else []
        if self.contained and self.scratch:
            command = list(self.contained(command, self.environment, [self.scratch, *writes]))
        printed = []
        with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as result:
            source.write(given)
            source.seek(0)
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=source,
                stdout=result,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            late = False

            def stop() -> None:
                nonlocal late
                late = True
                _kill(process)

            timer = Timer(self.timeout or 0, stop)
            if self.timeout:
                timer.start()
            try:
                for line in process.stderr or ():
                    printed.append(line.rstrip())
                    self.say(printed[-1])
                status = process.wait()
            finally:
                timer.cancel()
                _kill(process)
                process.communicate()
            if status:
                too_late = [f"It was stopped after {self.timeout:g} s."] if late else []
                raise RequirementsFailed(self.name, "\n".join(too_late + _relevant(printed)))
            result.seek(0)
            return result.read()


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _relevant(printed: Sequence[str]) -> list[str]:
    starts = [number for number, line in enumerate(printed) if re.match(r"\s*(error\b|×)", line)]
    lines = list(printed[starts[0] :] if starts else printed)[:60]
    if any(_UNREACHABLE.search(line) for line in lines):
        lines.insert(0, "The package index could not be reached: check the network, the proxy and the certificates.")
    return lines


def _passed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _PASSED.fullmatch(name)}


def _is_credential(name: str, value: str) -> bool:
    return name == "NETRC" or name.endswith(("_USERNAME", "_PASSWORD")) or ("://" in value and "@" in value)


def _read(requirements: Path | None, name: str, *, follow: bool) -> str:
    if requirements is None or not os.path.lexists(requirements):
        return ""
    try:
        if requirements.is_symlink() and not follow:
            raise RequirementsFailed(name, "It is a symbolic link.")
        if requirements.stat().st_size > _LARGEST_FILE:
            raise RequirementsFailed(name, f"It has more than {_LARGEST_FILE} bytes.")
        text = requirements.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise RequirementsFailed(name, f"It cannot be read: {problem}.") from problem
    return text if _lines(text) else ""


def _lines(text: str) -> list[str]:
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _describe(python: Path | str) -> list[str]:
    try:
        told = subprocess.run([str(python), "-I", "-c", _FACTS], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise ConfigError(f"{python} cannot be started ({problem}); name a Python interpreter") from problem
    facts: list[str] = json.loads(told.stdout)
    return facts


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _remembered(choose: Callable[[], str], root: Path, age: float, facts: Sequence[object]) -> str:
    memory = root / f"{_digest(facts)}.chosen"
    with suppress(FileNotFoundError):
        if 0 <= time.time() - memory.stat().st_mtime < age:
            return memory.read_text()
    chosen = choose()
    if age > 0:
        _write(memory, chosen)
    return chosen


@contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    with path.open("a") as file:  # never removed: whoever waits holds the same file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another process that makes the same environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


# The marker stands beside the environment, out of reach of what runs inside, and says what was installed.


def _marker(path: Path) -> Path:
    return path.with_suffix(".ready")


def _mark(path: Path) -> None:
    _write(_marker(path), _contents(path))


def _is_ready(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return interpreter(path).exists() and _marker(path).read_text() == _contents(path)
    return False


def _contents(path: Path) -> str:
    packages = [found.name for found in path.glob("lib/python*/site-packages/*") if found.name != "__pycache__"]
    return "".join(f"{name}\n" for name in sorted(packages))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
