"""Code that serves by itself, over the old platform's pipe protocol, with the old packages as they are on PyPI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pushpoint.environments import make_environment
from pushpoint.errors import RolloutFailed
from pushpoint.interpreters import Interpreter, find_interpreters
from pushpoint.runtime.messages import Answer, Failure
from pushpoint.sandbox import Sandbox, installation
from tests.engines.conftest import Platform, eventually, tidy
from tests.engines.test_local import api
from tests.old_packages import PINS

INTERPRETERS = {interpreter.version: interpreter for interpreter in find_interpreters()}
PACKAGES = ("algorithmia==2.0.5", "algorithmia-adk==1.2.4", *PINS)


@pytest.fixture(scope="session", params=["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    if request.param not in INTERPRETERS:
        pytest.skip(f"there is no Python {request.param} here")
    return INTERPRETERS[request.param]


@pytest.fixture(scope="session")
def old_packages(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the old packages."""
    root = tmp_path_factory.mktemp("old")
    return make_environment(None, root=root, python=interpreter.path, extra=PACKAGES, say=print).path


@pytest.fixture
def confined(
    interpreter: Interpreter,
    bubblewrap: Sandbox,
    tmp_path: Path,
    environment: Path,
    bytecode: Path,
    loop: asyncio.AbstractEventLoop,
) -> Iterator[Platform]:
    """A platform whose workers have a /tmp of their own."""
    if bubblewrap.program is None:
        pytest.skip(bubblewrap.reason)
    sandbox = replace(bubblewrap, installations=tuple(installation(interpreter.path)))
    yield from tidy(tmp_path, sandbox, environment, bytecode, loop)


def with_packages(environment: Path, **variables: str) -> dict[str, Any]:
    return {"python": environment / "bin" / "python", "environment": environment, "variables": variables}


def output(platform: Platform, pool: Any, input: Any) -> tuple[Any, str | None]:
    outcome = platform.call(pool, input, stdout=True, timeout=60)
    return (outcome.data if isinstance(outcome, Answer) else outcome), outcome.stdout


def test_the_adk_serves_unchanged(confined: Platform, old_packages: Path) -> None:
    with api(confined.api_socket) as heard:
        pool = confined.start("serves_by_adk", **with_packages(old_packages))
        assert confined.answer(pool, "state") == {"factor": 2, "owner": "Simple the-owners"}
        assert confined.answer(pool, {"a": [1, None, "\u2603\n"]}) == {"a": [1, None, "\u2603\n"]}
        for content_type, data in [("text", "späße\n".encode()), ("binary", bytes(range(256)) * 4000), ("text", b"")]:
            outcome = confined.call(pool, content_type=content_type, data=data)
            assert isinstance(outcome, Answer)
            assert (outcome.content_type, outcome.data) == (content_type, data)
        assert output(confined, pool, 7) == (b"7", "seen 7\n")
        assert confined.call(pool, 8).stdout is None
        for token in ("first", "second"):
            assert confined.answer(pool, "who", token=token) == f"Simple {token}".encode()
        assert {path for path, *_ in heard} == {"/v1/algo/owner/other"}

        failure, printed = output(confined, pool, "raise")
        assert isinstance(failure, Failure)
        assert (failure.error_type, failure.message, printed) == ("AlgorithmError", "'missing'", "seen raise\n")
        assert 'raise KeyError("missing")' in failure.stacktrace
        assert confined.answer(pool, 1) == 1, "it goes on"

        for word, code in (("exit", 3), ("die", 4)):
            failure, printed = output(confined, pool, word)
            assert isinstance(failure, Failure)
            assert (failure.error_type, printed) == ("SystemExit", f"seen {word}\n")
            assert f"exit code {code}" in failure.message
            eventually(lambda: pool.live_replicas == 1, 30)
        confined.run(confined.engine.stop())


def test_an_adk_whose_load_fails_is_never_ready(confined: Platform, old_packages: Path) -> None:
    with pytest.raises(RolloutFailed, match="LoadingError: no weights") as refused:
        confined.start("serves_by_adk", **with_packages(old_packages, FAIL_LOAD="1"))
    assert refused.value.failure
    assert "serves_by_adk" in refused.value.failure.stacktrace


def test_the_older_handler_serves_unchanged(confined: Platform, old_packages: Path) -> None:
    pool = confined.start("serves_by_handler", **with_packages(old_packages))
    assert confined.answer(pool, "state") == {"factor": 2}
    for content_type, data in [("text", "späße\n".encode()), ("binary", bytes(range(256)))]:
        outcome = confined.call(pool, content_type=content_type, data=data)
        assert isinstance(outcome, Answer)
        assert (outcome.content_type, outcome.data) == (content_type, data)
    failure, printed = output(confined, pool, "raise")
    assert isinstance(failure, Failure)
    assert (failure.error_type, printed) == ("AlgorithmError", "seen raise\n")
    confined.run(confined.engine.stop())
    with pytest.raises(RolloutFailed, match="LoadingError: no weights"):
        confined.start("serves_by_handler", **with_packages(old_packages, FAIL_LOAD="1"))


# -- the protocol itself ------------------------------------------------------------------------------------


with_own_tmp = pytest.mark.parametrize("sandbox", ["confined"], indirect=True)
without_own_tmp = pytest.mark.parametrize("sandbox", ["unconfined"], indirect=True)


@pytest.fixture
def by_hand(platform: Platform) -> Any:
    return platform.start("serves_by_hand")


@with_own_tmp
def test_requests_and_answers_are_lines(platform: Platform, by_hand: Any) -> None:
    for content_type, data, line in [
        ("json", b'"raw"', b'{"content_type":"json","data":"raw"}\n'),
        ("text", b"raw", b'{"content_type":"text","data":"raw"}\n'),
    ]:
        outcome = platform.call(by_hand, content_type=content_type, data=data)
        assert isinstance(outcome, Answer)
        assert outcome.data == line
    large = {"a": ["\u2603 x" * 10] * 100_000}
    assert platform.answer(by_hand, large) == large
    outcome = platform.call(by_hand, "json string")
    assert isinstance(outcome, Answer)
    assert (outcome.content_type, outcome.data) == ("json", b'"x"')
    assert platform.failure(by_hand, content_type="json", data=b"{").error_type == "ParsingError"
    failure = platform.failure(by_hand, "old form")
    assert (failure.error_type, failure.message, failure.stacktrace) == ("InputError", "no", "here")


@with_own_tmp
@pytest.mark.parametrize("word", ["twice", "twice at once"])
def test_what_is_written_after_an_answer_is_dropped(platform: Platform, by_hand: Any, word: str) -> None:
    assert platform.answer(by_hand, word) == b"first"
    time.sleep(0.2)
    assert platform.answer(by_hand, 5) == 5


@with_own_tmp
@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "[]",
        "{}",
        "5",
        '{"result": 1}',
        '{"result": 1, "metadata": {"content_type": "text"}}',
        '{"result": "\u2603", "metadata": {"content_type": "binary"}}',
        '{"result": 1, "metadata": {"content_type": "picture"}}',
        '{"error": 7}',
        "[" * 100_000,
    ],
)
def test_what_is_no_answer_fails_the_call_alone(platform: Platform, by_hand: Any, line: str) -> None:
    failure = platform.failure(by_hand, [line])
    assert failure.error_type == "AlgorithmError"
    assert "has to be one line" in failure.message
    assert platform.answer(by_hand, 5) == 5


@with_own_tmp
def test_an_answer_that_is_too_large_fails_the_call_alone(platform: Platform, by_hand: Any) -> None:
    assert platform.failure(by_hand, "large").error_type == "TooLargeError"
    assert platform.answer(by_hand, 5) == 5


@with_own_tmp
@pytest.mark.parametrize(("word", "code"), [("enough", 0), ("removed", 0), ("crash", 1)])
def test_code_that_ends_fails_its_call_and_is_started_again(
    platform: Platform, by_hand: Any, word: str, code: int
) -> None:
    failure = platform.failure(by_hand, word)
    assert (failure.error_type, f"exit code {code}" in failure.message) == ("SystemExit", True)
    assert ("the runner has a bug" in failure.stacktrace) == (word == "crash")
    assert platform.answer(by_hand, 5) == 5


@with_own_tmp
def test_calls_are_cut_in_time(platform: Platform, by_hand: Any) -> None:
    assert platform.failure(by_hand, "nothing at all", timeout=0.3).error_type == "TimeoutError"
    assert platform.answer(by_hand, 5) == 5


@without_own_tmp
def test_code_that_serves_says_on_a_platform_without_a_sandbox_that_it_cannot(platform: Platform) -> None:
    with pytest.raises(RolloutFailed, match="this platform has no sandbox"):
        platform.start("serves_by_hand")


def test_the_adk_says_so_too(tmp_path: Path, old_packages: Path, bytecode: Path, loop: Any) -> None:
    for platform in tidy(tmp_path, Sandbox(reason="the test wants none"), old_packages, bytecode, loop):
        with api(platform.api_socket), pytest.raises(RolloutFailed, match="this platform has no sandbox"):
            platform.start("serves_by_adk")


def test_an_import_that_reads_its_input_finds_none(platform: Platform) -> None:
    pool = platform.start("reads_in_import")
    assert platform.answer(pool, 1) == [["", "", ""], "", False]
