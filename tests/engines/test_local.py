from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.server
import itertools
import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pushpoint.engines.jobs import STOPPED
from pushpoint.engines.local import LocalEngine, LocalPool
from pushpoint.errors import RolloutFailed, Unavailable
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome
from pushpoint.sandbox import Sandbox
from tests.engines.conftest import MODEL, Platform, child_processes, eventually, is_running, running, tidy


def begin(platform: Platform, pool: LocalPool, input: Any, timeout: float = 20.0) -> Future[Outcome]:
    call = Call("json", json.dumps(input).encode(), "the-callers")
    return asyncio.run_coroutine_threadsafe(pool.call(call, timeout), platform.loop)


# -- what goes in and what comes out ------------------------------------------------------------------------


def test_each_kind_of_input_reaches_apply_as_its_own_type_and_comes_back(platform: Platform) -> None:
    pool = platform.start("echo")
    for content_type, data in [
        ("json", b'{"a":[1,2.5,null,true]}'),
        ("text", "späße".encode()),
        ("binary", bytes(range(256))),
        ("json", b"null"),
        ("json", b'"\\u2603"'),
        ("text", b""),
        ("binary", os.urandom(3 << 20)),
    ]:
        outcome = platform.call(pool, content_type=content_type, data=data)
        assert isinstance(outcome, Answer)
        string = data == b'"\\u2603"'
        assert outcome.content_type == ("text" if string else content_type)
        assert outcome.data == ("\u2603".encode() if string else data)
        assert 0 < outcome.duration < 10
        assert outcome.stdout is None


def test_a_bytearray_is_binary(platform: Platform) -> None:
    pool = platform.start("returns_bytes")
    outcome = platform.call(pool, content_type="binary", data=b"abc")
    assert isinstance(outcome, Answer)
    assert (outcome.content_type, outcome.data) == ("binary", b"cba")


def test_input_that_is_not_what_it_says_is_a_parsing_error(platform: Platform) -> None:
    pool = platform.start("echo")
    for content_type, data in [("json", b"{"), ("text", b"\xff"), ("json", b"[" * 200_000)]:
        failure = platform.failure(pool, content_type=content_type, data=data)
        assert failure.error_type == "ParsingError"
        assert not failure.stacktrace
    assert platform.answer(pool, 1) == 1


def test_results_that_look_like_numpys_are_converted_and_what_json_cannot_hold_is_a_failure(platform: Platform) -> None:
    pool = platform.start("returns_garbage")
    pid = next(iter(child_processes()))
    assert platform.answer(pool, "array") == [1, 2.5]
    assert platform.answer(pool, "arrays") == {"a": [[1], [2]], "b": 7}
    assert platform.answer(pool, "none") is None
    assert platform.call(pool, "unicode").data == b'{"snow":"\\u2603"}'  # type: ignore[union-attr]
    for name in ("object", "nan", "circle", "deep", "bytes inside"):
        failure = platform.failure(pool, name)
        assert failure.error_type == "AlgorithmError"
        assert "JSON cannot hold" in failure.message, name
    assert "UTF-8" in platform.failure(pool, "surrogate").message
    assert platform.answer(pool, "inner surrogate") == ["\ud800"]
    assert platform.failure(pool, "large").error_type == "TooLargeError"
    assert pid in child_processes()


def test_input_that_no_frame_can_hold_is_refused_and_harms_nobody(platform: Platform) -> None:
    pool = platform.start("echo")
    assert platform.failure(pool, data=bytes((64 << 20) + 1)).error_type == "TooLargeError"
    assert platform.answer(pool, 1) == 1


# -- failing in apply ---------------------------------------------------------------------------------------


def test_an_exception_is_a_failure_with_its_type_message_and_its_own_frames(platform: Platform) -> None:
    pool = platform.start("raises_in_apply")
    failure = platform.failure(pool, {"message": "bad", "error_type": "InputError"})
    assert (failure.error_type, failure.message) == ("InputError", "no: bad")
    assert "in deeper" in failure.stacktrace
    assert "worker.py" not in failure.stacktrace
    for odd in ("Nonsense", 7, None, ["InputError"]):
        assert platform.failure(pool, {"message": "", "error_type": odd}).error_type == "AlgorithmError"
    assert platform.failure(pool, "mute").message == "(an error without words)"
    assert "KeyError" in platform.failure(pool, {}).stacktrace


def test_sys_exit_is_a_failure_and_the_worker_goes_on(platform: Platform) -> None:
    pool = platform.start("exits_in_apply")
    before = child_processes()
    failure = platform.failure(pool, "exit")
    assert failure.error_type == "SystemExit"
    assert "3" in failure.message
    assert platform.answer(pool, "on") == b"on"
    assert child_processes() == before


def test_a_worker_that_dies_fails_its_call_by_name_and_is_replaced_within_a_second(platform: Platform) -> None:
    pool = platform.start("dies_in_apply")
    for input, kind, words in [
        ("exit", "SystemExit", "exit code 3"),
        ("kill", "SystemError", "SIGKILL; it was likely out of memory"),
        ("abort", "SystemError", "SIGABRT"),
    ]:
        platform.answer(pool, "live")
        failure = platform.failure(pool, input)
        assert failure.error_type == kind
        assert words in failure.message
        assert 0 < failure.duration < 10
        eventually(lambda: pool.live_replicas == 1, 3)


def test_the_other_replicas_answer_while_one_is_replaced(platform: Platform) -> None:
    pool = platform.start("dies_in_apply", replicas=2)
    dying = begin(platform, pool, "kill")
    answers = [platform.answer(pool, "live") for _ in range(20)]
    assert len(answers) == 20
    assert isinstance(dying.result(10), Failure)
    eventually(lambda: pool.live_replicas == 2)


def test_a_call_that_hangs_is_cut_in_time_and_its_worker_replaced(platform: Platform) -> None:
    pool = platform.start("hangs")
    for input in ("busy", 60):
        started = time.monotonic()
        failure = platform.failure(pool, input, timeout=0.3)
        assert time.monotonic() - started < 1.5
        assert failure.error_type == "TimeoutError"
        assert "0.3 s" in failure.message
    assert platform.answer(pool, 0.01) == 0.01


def test_a_stopped_process_is_cut_as_well(platform: Platform) -> None:
    pool = platform.start("echo")
    for pid in child_processes():
        os.kill(pid, signal.SIGSTOP)
    assert platform.failure(pool, 1, timeout=0.3).error_type == "TimeoutError"
    assert platform.answer(pool, 1) == 1


def test_a_quiet_worker_that_no_longer_answers_pings_is_replaced(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("supervisor", "worker"):
        monkeypatch.setattr(f"pushpoint.engines.{module}.PING_SECONDS", 0.2)
    pool = platform.start("echo")
    healthy = child_processes()
    time.sleep(0.8)
    assert child_processes() == healthy
    for pid in healthy:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: pool.live_replicas == 1 and not child_processes() & healthy)
    assert platform.answer(pool, 1) == 1


def test_calls_wait_in_the_order_they_came_and_their_waiting_counts(platform: Platform) -> None:
    pool = platform.start("hangs")
    first = begin(platform, pool, 1.0)
    time.sleep(0.1)
    impatient = begin(platform, pool, 0, timeout=0.2)
    later = [begin(platform, pool, number / 1000) for number in range(5)]
    ended: list[int] = []
    for number, future in enumerate(later):
        future.add_done_callback(lambda _, number=number: ended.append(number))  # type: ignore[misc]
    refused = impatient.result(10)
    assert isinstance(refused, Failure)
    assert "no replica was free" in refused.message
    assert not first.done()
    assert pool.in_flight == 6
    assert isinstance(first.result(10), Answer)
    assert [json.loads(future.result(10).data) for future in later] == [n / 1000 for n in range(5)]  # type: ignore[union-attr]
    assert ended == [0, 1, 2, 3, 4]
    assert pool.in_flight == 0
    assert time.monotonic() - pool.last_used < 5


def test_a_caller_that_goes_away_does_not_free_the_worker_early(platform: Platform) -> None:
    pool = platform.start("hangs")
    healthy = child_processes()
    gone = begin(platform, pool, 0.5)
    waiting = begin(platform, pool, 0.0)
    time.sleep(0.1)
    assert gone.cancel()
    waiting.cancel()
    started = time.monotonic()
    assert platform.answer(pool, 0.01) == 0.01
    assert time.monotonic() - started > 0.2
    assert child_processes() == healthy


# -- what is printed ----------------------------------------------------------------------------------------


def test_what_a_call_prints_is_returned_only_when_asked_for_and_always_logged(platform: Platform) -> None:
    pool = platform.start("prints_a_lot")
    outcome = platform.call(pool, "one", stdout=True)
    assert outcome.stdout == "python says one\nand complains\nthe shell says one\n"
    assert platform.call(pool, "two").stdout is None
    assert platform.call(pool, "three", stdout=True).stdout == outcome.stdout.replace("one", "three")
    log = platform.log.read_text()
    assert [f"the shell says {word}" in log for word in ("one", "two", "three")] == [True] * 3


def test_a_flood_of_output_is_returned_up_to_a_mebibyte(platform: Platform) -> None:
    pool = platform.start("prints_a_lot")
    outcome = platform.call(pool, 1500, stdout=True)
    assert isinstance(outcome, Answer)
    assert outcome.stdout == "x" * (1 << 20)
    assert platform.log.stat().st_size == 1500 * 1024


def test_what_was_printed_before_a_death_is_in_the_failure_and_in_the_log(platform: Platform) -> None:
    pool = platform.start("dies_in_apply")
    failure = platform.failure(pool, "print and exit", stdout=True)
    assert failure.stdout == "going now\n"
    eventually(lambda: "going now" in platform.log.read_text())


# -- failing to start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises_in_import", "the import went wrong"),
        ("exits_in_import", "sys.exit(4)"),
        ("raises_in_load", "the load went wrong"),
        ("dies_in_load", "exit code 5 while it was starting"),
        ("has_no_apply", "no function `apply(input)`"),
        ("has_two_inputs", "apply(input, state) is called with the input alone"),
        ("has_no_input", "apply() is called with the input alone"),
        ("has_async_batches", "apply_batch is asynchronous; make it `def`"),
        ("has_odd_batches", "apply_batch(one, two) is called with the list of inputs alone"),
    ],
)
def test_an_algorithm_that_cannot_start_says_why_and_its_calls_are_answered_with_that(
    platform: Platform, name: str, words: str
) -> None:
    pool = platform.engine.start(platform.launch(name))
    with pytest.raises(RolloutFailed) as caught:
        pool.ready(20)
    failure = caught.value.failure
    assert failure is not None
    assert failure.error_type == "LoadingError"
    assert words in failure.message
    assert words in str(caught.value)
    assert "worker.py" not in failure.stacktrace
    assert "importlib" not in failure.stacktrace
    assert platform.failure(pool) == failure
    assert pool.live_replicas == 0
    if name == "dies_in_load":
        assert failure.stacktrace == "last words\n"
    eventually(lambda: not child_processes())


def test_an_environment_without_an_interpreter_is_a_failed_rollout(platform: Platform) -> None:
    pool = platform.engine.start(platform.launch("echo", python=platform.environment / "bin" / "none"))
    with pytest.raises(RolloutFailed, match=r"none"):
        pool.ready(20)


def test_a_start_that_takes_too_long_is_a_failed_rollout(platform: Platform) -> None:
    pool = platform.engine.start(platform.launch("hangs", module="hangs_in_load"))
    with pytest.raises(RolloutFailed, match=r"not ready within 0.5 s"):
        pool.ready(0.5)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 5


def test_a_replacement_that_cannot_start_is_tried_again_ever_more_slowly_until_it_can(platform: Platform) -> None:
    code = platform.home / "flaky"
    (code / "src").mkdir(parents=True)
    (code / "src" / "__init__.py").touch()
    attempts = platform.bytecode / "attempts"
    attempts.write_text("")
    (code / "src" / "flaky.py").write_text(
        "import os, time\n"
        f"with open({str(attempts)!r}, 'a') as file:\n    file.write(f'{{time.time()}}\\n')\n"
        "if os.path.exists('broken'):\n    raise RuntimeError('broken')\n"
        "def apply(input):\n    os._exit(1)\n"
    )
    pool = platform.start("flaky", code=code)
    (code / "broken").touch()
    platform.failure(pool)
    eventually(lambda: len(attempts.read_text().split()) >= 5, 20)
    assert "broken" in platform.failure(pool, timeout=5).message
    times = [float(line) for line in attempts.read_text().split()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times[:5])]
    assert all(pause > least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True))
    (code / "broken").unlink()
    eventually(lambda: pool.live_replicas == 1, 20)


# -- the model ----------------------------------------------------------------------------------------------


def test_a_verified_model_is_a_private_copy(platform: Platform) -> None:
    launch = platform.with_model()
    pool = platform.engine.start(launch)
    pool.ready(20)
    answer = platform.answer(pool)
    assert answer["content"] == MODEL.decode()
    assert answer["manifest"]["model_md5_hash"] == hashlib.md5(MODEL).hexdigest()
    assert Path(answer["path"]).parent.parent == platform.home / "scratch"
    assert answer["path"].endswith(".pkl")


def test_one_flipped_byte_stops_the_rollout_and_both_digests_are_named(platform: Platform) -> None:
    flipped = bytes([MODEL[0] ^ 1]) + MODEL[1:]
    pool = platform.engine.start(platform.with_model(flipped))
    with pytest.raises(RolloutFailed) as caught:
        pool.ready(20)
    for text in (
        hashlib.sha256(MODEL).hexdigest(),
        hashlib.sha256(flipped).hexdigest(),
        "owner/collection/model_1.pkl",
    ):
        assert text in str(caught.value)
    assert caught.value.failure is not None
    assert "the model" not in caught.value.failure.stacktrace


@pytest.mark.parametrize("content", [MODEL[:-1], MODEL + b"!", b""])
def test_a_model_of_another_length_stops_the_rollout(platform: Platform, content: bytes) -> None:
    with pytest.raises(RolloutFailed, match=r"owner/collection/model_1\.pkl was changed"):
        platform.engine.start(platform.with_model(content)).ready(20)


def test_a_manifest_without_sha256_asks_for_another_deploy(platform: Platform) -> None:
    with pytest.raises(RolloutFailed, match=r"without its SHA-256.*deploy again"):
        platform.engine.start(platform.with_model(model_sha256_hash=None)).ready(20)


# -- calling back -------------------------------------------------------------------------------------------


class Api(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = True


@contextlib.contextmanager
def api(path: Path) -> Iterator[list[tuple[str, str, bytes]]]:
    heard: list[tuple[str, str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard.append((self.path, self.headers["Authorization"], body))
            text = json.dumps(
                {"result": self.headers["Authorization"], "metadata": {"content_type": "text", "duration": 0.1}}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def address_string(self) -> str:
            return "worker"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with Api(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown()
            thread.join()


def test_an_algorithm_calls_the_platform_as_its_caller_and_while_loading_as_its_owner(platform: Platform) -> None:
    with api(platform.api_socket) as heard:
        pool = platform.start("calls_back")
        answer = platform.answer(pool, content_type="text", data=b"x=1", token="first")
        platform.answer(pool, content_type="text", data=b"x=2", token="second")
        assert heard == [
            ("/v1/whoami", "Simple the-owners", b""),
            ("/v1/whoami?x=1", "Simple first", b""),
            ("/v1/whoami?x=2", "Simple second", b""),
        ]
        assert json.loads(answer["called"][1])["result"] == "Simple first"
        platform.answer(pool, content_type="text", data=b"later", token="third")
        eventually(lambda: len(heard) == 4)
        assert heard[3] == ("/v1/later", "Simple the-owners", b"")
        platform.run(platform.engine.stop())


def test_without_a_platform_the_algorithm_hears_that_it_cannot_be_reached(platform: Platform) -> None:
    pool = platform.start("calls_back")
    status, text = platform.answer(pool, content_type="text", data=b"")["called"]
    assert status == 502
    assert "cannot be reached" in json.loads(text)["error"]["message"]


def test_the_unmodified_client_works_inside_an_algorithm(platform: Platform) -> None:
    pytest.importorskip("Algorithmia")
    with api(platform.api_socket) as heard:
        pool = platform.start("calls_back_by_client", python=Path(sys.executable), environment=Path(sys.prefix))
        assert platform.answer(pool, {"a": 1}, timeout=60) == b"Simple the-callers"
        assert [(path, json.loads(body)) for path, _, body in heard] == [("/v1/algo/owner/other", {"a": 1})]
        platform.run(platform.engine.stop())


# -- the end ------------------------------------------------------------------------------------------------


def test_draining_waits_for_the_call_under_way_and_takes_no_other(platform: Platform) -> None:
    pool = platform.start("hangs", replicas=2)
    running_call = begin(platform, pool, 0.5)
    time.sleep(0.1)
    drain = threading.Thread(target=pool.drain, args=(10,))
    drain.start()
    time.sleep(0.1)
    with pytest.raises(Unavailable, match="being stopped"):
        platform.call(pool, 0)
    drain.join()
    assert isinstance(running_call.result(0), Answer)
    assert pool.live_replicas == 0
    assert not child_processes()
    pool.drain(10)
    pool.close()


def test_a_call_that_outlasts_the_drain_fails(platform: Platform) -> None:
    pool = platform.start("hangs")
    lasting = begin(platform, pool, 60)
    queued = begin(platform, pool, 60)
    time.sleep(0.1)
    started = time.monotonic()
    pool.drain(0.2)
    assert time.monotonic() - started < 5
    for future in (lasting, queued):
        outcome = future.result(5)
        assert outcome == STOPPED


def test_a_pool_can_be_closed_before_it_has_begun(platform: Platform) -> None:
    async def both() -> LocalPool:
        pool = platform.engine.start(platform.launch("echo"))
        await pool.stop(0)
        return pool

    with pytest.raises(RolloutFailed, match="stopped before it was ready"):
        platform.run(both()).ready(5)


def test_an_algorithm_may_lock_its_scratch_folder_and_leave_processes_and_all_is_gone_afterwards(
    platform: Platform,
) -> None:
    pool = platform.start("looks_around")
    platform.answer(pool, ["os.makedirs(os.environ['TMPDIR'] + '/a/b') or os.chmod(os.environ['TMPDIR'] + '/a', 0)"])
    started = platform.answer(pool, ["fork"])
    left = child_processes()  # in a sandbox it is still below us, and its number is another one
    if platform.engine._sandbox.program is None:
        left.add(started)
    assert len(left) >= 2
    pool.drain(5)
    eventually(lambda: not any(is_running(pid) for pid in left))


# -- what a worker sees -------------------------------------------------------------------------------------


def test_a_worker_sees_the_owners_variables_its_own_folder_and_nothing_of_the_platforms_environment(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "hidden")
    pool = platform.start("looks_around", replicas=2, variables={"OWNERS": "seen", "OMP_NUM_THREADS": "7"})
    seen = platform.answer(pool, ["environment"])
    assert seen["OWNERS"] == "seen"
    assert seen["OMP_NUM_THREADS"] == "7"
    assert seen["MKL_NUM_THREADS"] == str(max((os.cpu_count() or 1) // 2, 1))
    assert "PLATFORM_SECRET" not in seen
    assert "the-owners" not in json.dumps(seen)
    assert seen["HOME"] == seen["TMPDIR"]
    assert Path(seen["HOME"]).parent == platform.home / "scratch"
    assert platform.answer(pool, ["directory"]) == str(platform.launch("looks_around").code).encode()
    command_lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in child_processes()]
    assert command_lines
    assert not [line for line in command_lines if "seen" in line or "the-owners" in line]


def test_a_confined_worker_cannot_leave_its_sandbox(platform: Platform, bubblewrap: Sandbox, tmp_path: Path) -> None:
    if platform.engine._sandbox.program is None:
        pytest.skip("this worker is not confined")
    (tmp_path / "database").write_text("secret")
    pool = platform.start("looks_around")
    assert platform.answer(pool, ["read", str(tmp_path / "database")]) == b"FileNotFoundError"
    assert platform.answer(pool, ["read", "/etc/shadow"]) == b"FileNotFoundError"
    assert platform.answer(pool, ["write", "mine"]) == b"OSError"
    assert platform.answer(pool, ["kill", os.getpid()]) in {b"ProcessLookupError", b"PermissionError"}
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        port = server.server_address[1]
        assert platform.answer(pool, ["connect", port]) == b"ConnectionRefusedError"


def test_another_event_loop_will_do(tmp_path: Path, sandbox: Sandbox, environment: Path, bytecode: Path) -> None:
    for loop in running(uvloop.new_event_loop()):
        for platform in tidy(tmp_path, sandbox, environment, bytecode, loop):
            pool = platform.start("dies_in_apply")
            assert platform.failure(pool, "exit").error_type == "SystemExit"
            assert isinstance(platform.answer(pool, "live"), int)
            pool.drain(5)


def test_an_engine_removes_what_one_before_it_left(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "left").mkdir(parents=True)
    loop = asyncio.new_event_loop()
    LocalEngine(tmp_path, Sandbox(), tmp_path / "api.sock", loop)
    loop.close()
    assert list((tmp_path / "scratch").iterdir()) == []
