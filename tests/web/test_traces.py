"""Spans of calls, as a collector gets them."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import TEXT, address, ask, serve

CODE = "def apply(input):\n    if input == 'fail':\n        raise ValueError('a secret')\n    return {'error': input}\n"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        taken = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                asked = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
                for one in asked.resource_spans:
                    named = {item.key: item.value.string_value for item in one.resource.attributes}
                    taken.services.add(named["service.name"])
                    taken.spans.extend(span for scope in one.scope_spans for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    def of(self, request_id: str, seconds: float = 20.0) -> Span:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for span in list(self.spans):
                if told(span).get("pushpoint.request_id") == request_id:
                    return span
            time.sleep(0.05)
        raise AssertionError(f"no span of {request_id}")


def told(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def platform(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/traced", CODE)
    yield running
    stop_platform(running)


def call(platform: Platform, text: str, query: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    answer = ask(platform, "POST", f"/v1/algo/ann/traced{query}", text.encode(), headers=TEXT | headers)
    return answer.status, answer.headers


def test_a_call_is_a_span_below_that_of_its_caller(platform: Platform, collector: Collector) -> None:
    status, headers = call(platform, "well", traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    assert status == 200
    span = collector.of(headers["x-request-id"])
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "vendor=1")
    assert (span.name, span.kind) == ("POST /v1/algo/{owner}/{name}", Span.SPAN_KIND_SERVER)
    assert told(span) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "pushpoint.request_id": headers["x-request-id"],
        "pushpoint.algorithm": "ann/traced",
        "pushpoint.version": "0.1.0",
        "pushpoint.commit": headers["x-pushpoint-commit"],
    }
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 20e9
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert collector.services == {"pushpoint"}


@pytest.mark.parametrize("header", [None, "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01-more"])
def test_without_a_trace_context_a_call_begins_one(
    platform: Platform, collector: Collector, header: str | None
) -> None:
    _, headers = call(platform, "well", **({"traceparent": header} if header else {}))
    span = collector.of(headers["x-request-id"])
    assert not span.parent_span_id
    assert span.trace_id.hex() != TRACE


def test_a_caller_that_is_not_sampled_is_not_traced(platform: Platform, collector: Collector) -> None:
    _, quiet = call(platform, "well", traceparent=f"00-{TRACE}-{PARENT}-00")
    _, loud = call(platform, "well", traceparent=f"00-{TRACE}-{PARENT}-01")
    collector.of(loud["x-request-id"])
    assert quiet["x-request-id"] not in [told(span).get("pushpoint.request_id") for span in collector.spans]


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?output=raw", 400)])
def test_a_call_that_failed_is_an_error(platform: Platform, collector: Collector, query: str, status: int) -> None:
    got, headers = call(platform, "fail", query)
    assert got == status
    span = collector.of(headers["x-request-id"])
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert told(span)["error.type"] == "AlgorithmError"
    assert b"a secret" not in span.SerializeToString()
    assert platform.key.encode() not in span.SerializeToString()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_stream_that_failed_is_an_error(platform: Platform, collector: Collector, accept: str) -> None:
    connection = http.client.HTTPConnection(*address(platform), timeout=20)
    with contextlib.closing(connection):
        headers = TEXT | {"accept": accept, "authorization": platform.key}
        connection.request("POST", "/v1/algo/ann/traced", b"fail", headers)
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    span = collector.of(response.headers["x-request-id"])
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert told(span)["error.type"] == "AlgorithmError"


def test_a_result_that_looks_like_an_error_is_none(platform: Platform, collector: Collector) -> None:
    for query in ("", "?output=raw"):
        _, headers = call(platform, "well", query)
        assert collector.of(headers["x-request-id"]).status.code == Status.STATUS_CODE_UNSET


def test_a_refused_call_is_an_error_too(platform: Platform, collector: Collector) -> None:
    parent = "c7ad6b7169203331"
    context = {"traceparent": f"00-{TRACE}-{parent}-01"}
    assert ask(platform, "POST", "/v1/algo/ann/nothing", b"x", headers=TEXT | context).status == 404
    deadline = time.monotonic() + 20
    while not (found := [span for span in collector.spans if span.parent_span_id.hex() == parent]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    known = told(found[0])
    assert known.pop("pushpoint.request_id")
    assert known == {
        "http.request.method": "POST",
        "http.response.status_code": 404,
        "error.type": "NotFound",
    }


def test_a_platform_ends_soon_although_nobody_takes_its_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    running = start_platform(tmp_path / "home")
    assert ask(running, "POST", "/v1/algo/ann/nothing", b"x", headers=TEXT).status == 404
    began = time.monotonic()
    stop_platform(running)
    assert time.monotonic() - began < 10


def test_without_an_endpoint_none_of_it_is_loaded() -> None:
    program = (
        "import sys, pushpoint.web, pushpoint.cli.serve; print(any('opentelemetry' in one for one in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_endpoint_without_the_extra_is_told(tmp_path: Path) -> None:
    program = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; from pushpoint.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--home", str(tmp_path / "home"), "--port", "0", "--no-profile"],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in done.stderr
    assert "install pushpoint[otel]" in done.stderr
