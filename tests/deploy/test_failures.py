"""Every step fails in every way it can: the exit code of its class, nothing after it, the live release still answers.

A table row breaks something, by a commit or outside of it, and mends it again; then the same command succeeds.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pushpoint.digests import describe
from pushpoint.names import DataPath, algorithm_name, stored_model_name
from tests.conftest import Platform
from tests.repositories import INFERENCE, TRAINING, Repository, checked_in, pushpoint, trained


@dataclass
class Line:
    """A repository whose commit is live, and the platform it is live on."""

    repository: Repository
    platform: Platform
    count: int = 0

    def next(self) -> int:
        """Return a number that was not there before, to make a change with."""
        self.count += 1
        return self.count

    def state(self) -> tuple[object, ...]:
        """Return what callers see."""
        with self.platform.client() as client:
            live = client.live(algorithm_name(f"ann/{self.repository.name}"))
        assert live
        answer = self.repository.call(self.platform)
        return live.generation, live.release.version, live.release.model and live.release.model.sha256, answer


@pytest.fixture(scope="module")
def training(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Line:
    repository = trained(tmp_path_factory.mktemp("training"), "training")
    assert repository.deploy(platform).version == "0.1.0"
    return Line(repository, platform)


@pytest.fixture(scope="module")
def code(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Line:
    repository = checked_in(tmp_path_factory.mktemp("code"), "code")
    assert repository.deploy(platform).version == "0.1.0"
    return Line(repository, platform)


@dataclass(frozen=True)
class Row:
    """One way to fail.

    Attributes:
        breaks: Breaks something, and returns what mends it.
        code: Exit code of the class.
        says: What stands in the message.
        hint: What stands in its last sentence: the next thing to do.
    """

    breaks: Callable[[Line], Callable[[], object]]
    code: int
    says: str
    hint: str
    pushes: bool = False
    publishes: bool = False


def cells(*sources: str, settings: dict[str, object] | None = None) -> Callable[[Line], Callable[[], object]]:
    """Break the notebook with a commit, and mend it with another."""

    def breaks(line: Line) -> Callable[[], object]:
        repository = line.repository
        repository.notebook(*sources)
        repository.settings(**settings or {})
        repository.commit("Break the notebook")

        def mend() -> None:
            repository.notebook(TRAINING, f"'mended' * {line.next()}")
            repository.settings()
            repository.commit("Mend it")

        return mend

    return breaks


def files(**contents: str | None) -> Callable[[Line], Callable[[], object]]:
    """Break files of the repository with a commit, and mend them with another. `code` is the inference script."""
    paths = {
        "code": "code/src/code.py",
        "needs": "code/requirements.txt",
        "cases": "code/TEST_CASES.json",
        "settings": "pushpoint.toml",
        "notebook": "model_training.ipynb",
        "training_needs": "requirements.txt",
    }

    def breaks(line: Line) -> Callable[[], object]:
        repository = line.repository
        before = {path: (repository.directory / path) for path in (paths[name] for name in contents)}
        kept = {path: file.read_bytes() if file.exists() else None for path, file in before.items()}
        for name, content in contents.items():
            assert content is not None
            repository.write(paths[name], content)
        repository.commit("Break it")

        def mend() -> None:
            for path, content in kept.items():
                if content is None:
                    (repository.directory / path).unlink()
                else:
                    repository.write(path, content)
            repository.write(f"{repository.name}/mended", str(line.next()))
            repository.commit("Mend it")

        return mend

    return breaks


def stale(line: Line) -> Callable[[], object]:
    mend = cells("print('nothing is written')")(line)
    assert (line.repository.directory / "model.pkl").exists(), "the run before has left it"
    return mend


def removed(line: Line) -> Callable[[], object]:
    return cells("import pathlib\npathlib.Path('model.pkl').unlink(missing_ok=True)")(line)


def folder(line: Line) -> Callable[[], object]:
    source = "import pathlib\npathlib.Path('model.pkl').unlink(missing_ok=True)\npathlib.Path('model.pkl').mkdir()"
    mend = cells(source)(line)

    def both() -> None:
        shutil.rmtree(line.repository.directory / "model.pkl")
        mend()

    return both


def changed(line: Line) -> None:
    line.repository.write(f"{line.repository.name}/changed", str(line.next()))
    line.repository.commit("Change something")


def objects_are_not_taken(line: Line) -> Callable[[], object]:
    """As on a full disk: git makes no new folder of objects. Its limits are told each time, and no longer in a file."""
    changed(line)
    objects = line.repository.pushed(line.platform) / "objects"
    missing = [objects / f"{number:02x}" for number in range(256) if not (objects / f"{number:02x}").exists()]
    for path in missing:
        path.touch()

    def mend() -> None:
        for path in missing:
            path.unlink()

    return mend


def branch_is_locked(line: Line) -> Callable[[], object]:
    changed(line)
    lock = line.repository.pushed(line.platform) / "refs" / "heads" / "master.lock"
    lock.touch()
    return lock.unlink


def repository_is_gone(line: Line) -> Callable[[], object]:
    changed(line)
    bare = line.repository.pushed(line.platform)
    away = bare.rename(bare.with_suffix(".away"))
    return lambda: away.rename(bare)


def store_is_broken(line: Line) -> Callable[[], object]:
    line.repository.write("model.pkl", f"model {line.next()}")
    line.repository.commit("Another model")
    drafts = line.platform.home / "store" / "drafts"
    drafts.rmdir()
    return drafts.mkdir


def name_is_taken(line: Line) -> Callable[[], object]:
    changed(line)
    repository = line.repository
    commit = repository.git("rev-parse", "HEAD")
    model = describe(repository.directory / "model.pkl")
    path = DataPath("ann", "code", stored_model_name("model.pkl", commit, model.hex))
    other = repository.directory / ".git" / "other"
    other.write_text("other bytes")
    with line.platform.client() as client:
        client.put(path, other, describe(other))

    def mend() -> None:
        import httpx2

        address = f"{line.platform.url}/v1/data/ann/code/{path.file}"
        httpx2.delete(address, headers={"authorization": f"Simple {line.platform.key}"}).raise_for_status()

    return mend


def empty(line: Line) -> Callable[[], object]:
    repository = line.repository
    repository.write("model.pkl", b"")
    repository.commit("An empty model")

    def mend() -> None:
        repository.write("model.pkl", f"full again {line.next()}")
        repository.commit("A model")

    return mend


KILLED = f"import os\nos.kill(os.getpid(), {signal.SIGKILL:d})"
TRAIN = {
    "a cell raises": Row(cells("raise ValueError('too wide')"), 3, "cell 1 of", "mend the cell and commit"),
    "a command fails": Row(cells(TRAINING, "!exit 3"), 3, "cell 2 of", "mend the cell and commit"),
    "the kernel is killed": Row(cells(KILLED), 3, "SIGKILL", "memory"),
    "a cell takes too long": Row(
        cells("import time\ntime.sleep(600)", settings={"cell_timeout": 1}), 3, "after 1 s", "raise `cell-timeout`"
    ),
    "the notebook takes too long": Row(
        cells("import time\ntime.sleep(600)", settings={"notebook_timeout": 3}), 3, "3 s", "raise `notebook-timeout`"
    ),
    "the model is not written": Row(removed, 3, "was not written by model_training.ipynb", "save the model there"),
    "the model is stale": Row(stale, 3, "is older than this run", "save the model there"),
    "the model is empty": Row(
        cells("open('model.pkl', 'w').close()"), 3, "is empty", "save the model before the notebook ends"
    ),
    "the model is a folder": Row(folder, 3, "model.pkl", "; "),
    "the notebook is unreadable": Row(files(notebook="<<<<<<< HEAD"), 3, "cannot be read", "open it in Jupyter"),
    "a requirement does not exist": Row(
        files(training_needs="--no-index\nno-such-thing==1.0\n"), 3, "no-such-thing", "deploy again"
    ),
}
ONLY_LIVE = "import os\nif os.environ.get('PYTHONDONTWRITEBYTECODE'):\n    raise OSError('only when it counts')\n"
SAMPLE = 'algorithm = "code"\nsample-input = {}\n'
CASES = '[{{"case_name": "the sum", "input": 1, "type": "{}", "expected_output": {}, "tree": ["input"]}}]'
CODE = {
    "the model is empty": Row(empty, 3, "is empty", "save the model"),
    "the store does not work": Row(store_is_broken, 11, "", "operator"),
    "the stored name holds other bytes": Row(name_is_taken, 8, "holds other bytes", "then deploy again"),
    "the repository is full": Row(objects_are_not_taken, 11, "does not take", "again"),
    "the branch is locked": Row(branch_is_locked, 11, "does not take", "again"),
    "the repository is gone": Row(repository_is_gone, 10, "does not exist", "check"),
    "a syntax error": Row(files(code="def apply(input:\n"), 6, "SyntaxError", "deploy again", pushes=True),
    "an import error": Row(files(code="import nowhere\n" + INFERENCE), 6, "nowhere", "deploy again", pushes=True),
    "no apply": Row(files(code="def predict(input): ...\n"), 6, "apply", "deploy again", pushes=True),
    "load raises": Row(
        files(code=INFERENCE.replace("global found", "raise KeyError('weights')")), 6, "weights", "deploy", pushes=True
    ),
    "bad requirements": Row(
        files(needs="--no-index\nno-such-thing==1.0\n"), 6, "no-such-thing", "deploy again", pushes=True
    ),
    "it starts in the build alone": Row(
        files(code=ONLY_LIVE + INFERENCE), 7, "only when it counts", "mend the inference", pushes=True, publishes=True
    ),
    "the sample input fails": Row(
        files(settings=SAMPLE.format('"fail"')), 7, "asked to fail", "test case", pushes=True, publishes=True
    ),
    "the sample input ends it": Row(
        files(code=INFERENCE.replace("raise ValueError", "exit"), settings=SAMPLE.format('"fail"')),
        7,
        "sample input",
        "test case",
        pushes=True,
        publishes=True,
    ),
    "a test case has another answer": Row(
        files(cases=CASES.format("EXACT_MATCH", 2)), 7, "the sum: 1 is not 2", "test case", pushes=True, publishes=True
    ),
    "a test case expects an exception": Row(
        files(cases=CASES.format("EXCEPTION", 2)), 7, "it answered", "test case", pushes=True, publishes=True
    ),
    "the test cases are not JSON": Row(files(cases="[{]"), 2, "TEST_CASES.json is not JSON", "deploy again"),
}


def check(line: Line, row: Row) -> None:
    repository, platform = line.repository, line.platform
    before, versions, tip = line.state(), repository.versions(platform), repository.tip(platform)
    mend = row.breaks(line)
    try:
        ran = repository.deploy(platform)
        assert ran.code == row.code, ran.out + ran.err
        assert row.says in ran.error + ran.err
        assert row.hint in ran.error.replace("\n", "; ").rpartition(";")[2] or row.hint in ran.error[-200:], ran.error
        assert "this is a bug" not in ran.err
        assert line.state() == before
    finally:
        mend()
    assert (repository.tip(platform) != tip) == row.pushes
    assert len(repository.versions(platform)) == len(versions) + row.publishes

    again = repository.deploy(platform)
    assert again.code == 0, again.out + again.err
    assert again.json["up_to_date"] is False
    assert len(repository.versions(platform)) == len(versions) + row.publishes + 1
    assert repository.versions(platform)[0] == again.version
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")


@pytest.mark.parametrize("name", TRAIN)
def test_training_fails(training: Line, name: str) -> None:
    check(training, TRAIN[name])
    executed = training.repository.directory / ".pushpoint"
    kept = executed / training.repository.git("rev-parse", "--short=12", "HEAD~1") / "model_training.ipynb"
    assert kept.exists() == (name not in {"the notebook is unreadable", "a requirement does not exist"})


@pytest.mark.parametrize("name", CODE)
def test_a_later_step_fails(code: Line, name: str) -> None:
    check(code, CODE[name])


def test_what_succeeded_before_a_failure_is_not_done_again(code: Line) -> None:
    mend = objects_are_not_taken(code)
    assert code.repository.deploy(code.platform).code == 11
    mend()
    again = code.repository.deploy(code.platform)
    assert again.code == 0
    assert "train: done by the run before" in again.err
    assert "upload: done by the run before" in again.err


REFUSED: dict[str, tuple[list[str] | dict[str, str], int, str, str]] = {
    "../x": (["--algorithm", "../x"], 2, "not a valid owner", "use a letter"),
    "a b": (["--algorithm", "a b"], 2, "not a valid algorithm", "use a letter"),
    "a-b": (["--algorithm", "a-b"], 2, "not a valid algorithm", "use a letter"),
    "empty": (["--algorithm", "/"], 2, "not a valid", "use a letter"),
    "long": (["--algorithm", "x" * 31], 2, "not a valid algorithm", "at most 30"),
    "another's": (["--algorithm", "bob/code"], 5, "bob's", "use bob's key"),
    "new without code": (["--algorithm", "fresh"], 2, "no inference code", "write fresh/src/fresh.py"),
    "notebook asked for": (["--notebook", "nowhere.ipynb"], 3, "nowhere.ipynb does not exist", "set `notebook`"),
    "requirements asked for": (["--requirements", "nowhere.txt"], 2, "does not exist", "correct it"),
    "inference asked for": (["--inference", "nowhere"], 2, "no folder", "correct it"),
    "inference without code": (["--inference", ".git"], 2, "src/code.py does not exist", "`apply`"),
    "data asked for": (["--data", "nowhere"], 2, "does not exist", "correct it"),
    "outside": (["--model-path", "../model.pkl"], 2, "model-path", "inside the repository"),
    "absolute": (["--notebook", "/etc/passwd"], 2, "notebook", "inside the repository"),
    "no model": (["--model-path", "other.pkl"], 3, "not checked in", "commit one of the two"),
    "collection": (["--collection", "data://ann/a/b"], 2, "collection", "data://OWNER/COLLECTION"),
    "publish": (["--publish", "huge"], 2, "huge", "revision, minor, major, none"),
    "seconds": (["--cell-timeout", "-1"], 2, "cell-timeout", "0 or more"),
    "key": ({"PUSHPOINT_API_KEY": "simXXXXXXXXXXXXXXXXXXXXXXXXX"}, 5, "does not accept this key", "PUSHPOINT_API_KEY"),
    "no key": ({"PUSHPOINT_API_KEY": ""}, 2, "PUSHPOINT_API_KEY", "set it to a key"),
    "no platform": ({"PUSHPOINT_URL": "http://127.0.0.1:9"}, 11, "no answer from", "start the platform"),
    "no address": ({"PUSHPOINT_URL": "localhost:8080"}, 2, "not an address", "http://HOST:PORT"),
    "variable": ({"PUSHPOINT_MODLE_PATH": "x"}, 2, "PUSHPOINT_MODLE_PATH", "PUSHPOINT_MODEL_PATH"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_refused_early_is(code: Line, name: str) -> None:
    given, status, says, hint = REFUSED[name]
    flags = given if isinstance(given, list) else []
    variables = given if isinstance(given, dict) else {}
    before = code.state(), code.repository.tip(code.platform)
    ran = code.repository.deploy(code.platform, *flags, **variables)
    assert ran.code == status, ran.err
    assert says in ran.error
    assert hint in ran.error[-160:]
    assert len(ran.err.splitlines()) < 10, "one screen"
    assert "\ntrain\n" not in ran.err
    assert (code.state(), code.repository.tip(code.platform)) == before


@pytest.fixture
def own(code: Line, tmp_path: Path) -> Iterator[Repository]:
    repository = checked_in(tmp_path / "own", "own")
    yield repository
    with code.platform.client() as client:
        assert not client.exists(algorithm_name("ann/own")), "nothing was created"


def test_a_checkout_that_differs_from_its_commit_is_refused(code: Line, own: Repository) -> None:
    changes = (
        "own/src/own.py",
        "own/new.py",
        "own/src/moved.py",
        "model.pkl",
        "model_training.ipynb",
        "requirements.txt",
    )
    for path in changes:
        own.write(path, "changed")
        if path == "own/src/moved.py":
            (own.directory / "own" / "requirements.txt").unlink()
        ran = own.deploy(code.platform)
        assert ran.code == 2, ran.out
        assert "commit or stash them" in ran.error or "does not exist" in ran.error
        own.git("clean", "--quiet", "-fd")
        own.git("reset", "--quiet", "--hard")


@pytest.mark.parametrize("text", ["modle-path = 'x'\n", "algorithm =\n", "publish = 3\n", "algorithm = ''\n"])
def test_settings_that_are_none_are_refused(code: Line, own: Repository, text: str) -> None:
    own.write("pushpoint.toml", text)
    own.commit()
    ran = own.deploy(code.platform)
    assert ran.code == 2
    assert {"m": "did you mean `model-path`?", "p": "write one of"}.get(text[0], "algorithm") in ran.error or (
        "correct it" in ran.error
    )


def test_no_repository_and_no_commit(platform: Platform, tmp_path: Path) -> None:
    for has_repository in (False, True):
        if has_repository:
            Repository(tmp_path, "none").settings()
        ran = pushpoint("deploy", "--json", directory=tmp_path, platform=platform)
        assert ran.code == 2
        assert ran.error.endswith("`git add .` and `git commit` there")
