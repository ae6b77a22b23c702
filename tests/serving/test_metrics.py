"""What `/metrics` tells of calls and workers, and what the log tells of calls that failed."""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from pushpoint.runtime.messages import Answer, Failure
from pushpoint.serving import metrics
from pushpoint.serving.call_log import MOST, CallLog
from pushpoint.serving.lookups import Target
from pushpoint.serving.metrics import Metrics
from pushpoint.serving.pools import Pools
from tests.conftest import Platform, start_platform, stop_platform
from tests.repositories import pushpoint
from tests.web.support import TEXT, ask, issue_key, serve
from tests.web.support import Answer as Response

CODE = """
import time


def apply(input):
    if input == "sleep":
        time.sleep(2)
    if input == "fail":
        raise ValueError("a secret of the caller: " + input)
    return input
"""
ECHO = {"algorithm": "ann/measured", "version": "0.1.0"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/measured", CODE)
    yield running
    stop_platform(running)


def scrape(platform: Platform, **headers: str) -> Response:
    key = (platform.home / "admin-key").read_text().strip()
    return ask(platform, "GET", "/metrics", key=None, headers={"authorization": f"Bearer {key}"} | headers)


def samples(platform: Platform) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = scrape(platform).body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(text)
        for sample in family.samples
    }


def value(platform: Platform, name: str, **labels: str) -> float:
    return samples(platform).get((f"pushpoint_{name}", tuple(sorted(labels.items()))), 0.0)


def call(
    platform: Platform, text: str, name: str = "ann/measured", *, key: str | None = "", query: str = ""
) -> Response:
    return ask(platform, "POST", f"/v1/algo/{name}{query}", text.encode(), key=key, headers=TEXT)


def lines(platform: Platform, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (platform.home / "platform.log").read_text().splitlines()]
    return [line for line in found if line["event"] == event]


def test_calls_are_counted_by_release_and_errors_by_type(platform: Platform) -> None:
    before = samples(platform)
    for text in ("one", "two", "fail"):
        assert call(platform, text).status == 200
    assert call(platform, "fail", query="?output=raw").status == 400
    after = samples(platform)

    def grown(name: str, **labels: str) -> float:
        key = (f"pushpoint_{name}", tuple(sorted(labels.items())))
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert grown("calls_total", **ECHO) == 4
    assert grown("call_errors_total", error_type="AlgorithmError", **ECHO) == 2
    assert grown("call_seconds_count", **ECHO) == grown("call_seconds_bucket", le="+Inf", **ECHO) == 4
    assert 0 < grown("algorithm_seconds_sum", **ECHO) < grown("call_seconds_sum", **ECHO)
    assert not any(name == "pushpoint_refused_calls_total" for name, _ in after)


def test_workers_are_looked_at_when_the_numbers_are_read(platform: Platform) -> None:
    call(platform, "one")
    assert value(platform, "replicas", **ECHO) == 1
    assert value(platform, "load_seconds", **ECHO) > 0
    assert 5e6 < value(platform, "worker_memory_bytes", **ECHO) < 1e9
    slow = threading.Thread(target=call, args=(platform, "sleep"))
    slow.start()
    deadline = time.monotonic() + 10
    while not value(platform, "calls_in_flight", **ECHO) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert value(platform, "calls_in_flight", **ECHO) == 1
    slow.join()
    assert value(platform, "calls_in_flight", **ECHO) == 0
    assert samples(platform)["process_resident_memory_bytes", ()] > 1e7


def test_a_worker_that_ends_by_itself_is_counted_and_noted(platform: Platform) -> None:
    serve(platform, "ann/leaves", "import os\n\ndef apply(input):\n    os._exit(3)\n")
    assert "exit code 3" in call(platform, "x", "ann/leaves").message
    deadline = time.monotonic() + 20
    while not (found := lines(platform, "a worker ended")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(one["algorithm"], one["reason"]) for one in found] == [
        ("ann/leaves", "the algorithm ended its process with exit code 3")
    ]
    assert value(platform, "lost_workers_total", algorithm="ann/leaves", version="0.1.0") == 1


def test_calls_that_reach_no_algorithm_are_counted_and_noted(platform: Platform) -> None:
    assert call(platform, "x", "ann/nothing").status == 404
    assert call(platform, "x", key=None).status == 401
    assert call(platform, "x", key="sim_wrong").status == 401
    assert ask(platform, "GET", "/v1/algo/ann/measured").status == 405
    assert value(platform, "refused_calls_total", error_type="NotFound") == 1
    assert value(platform, "refused_calls_total", error_type="Unauthenticated") == 2
    assert value(platform, "refused_calls_total", error_type="InvalidRequest") == 1
    noted = lines(platform, "a call was refused")
    assert [(one["path"], one["status"], one["error_type"]) for one in noted] == [
        ("/v1/algo/ann/nothing", 404, "NotFound"),
        ("/v1/algo/ann/measured", 401, "Unauthenticated"),
        ("/v1/algo/ann/measured", 401, "Unauthenticated"),
        ("/v1/algo/ann/measured", 405, "InvalidRequest"),
    ]
    assert noted[0]["id"]


def test_a_call_that_failed_is_a_line_and_one_that_went_well_is_none(platform: Platform) -> None:
    before = len((platform.home / "platform.log").read_text().splitlines())
    assert call(platform, "well").status == 200
    failed = call(platform, "fail")
    text = (platform.home / "platform.log").read_text()
    assert len(text.splitlines()) == before + 1
    line = lines(platform, "a call failed")[-1]
    assert line["request_id"] == failed.headers["x-request-id"]
    assert {"algorithm": line["algorithm"], "version": line["version"]} == ECHO
    assert (line["level"], line["error_type"]) == ("info", "AlgorithmError")
    assert line["seconds"] > 0
    for secret in (platform.key, "a secret of the caller"):
        assert secret not in text


def test_only_the_operator_may_read_them(platform: Platform) -> None:
    assert ask(platform, "GET", "/metrics", key=None).status == 401
    assert ask(platform, "GET", "/metrics").status == 403
    assert ask(platform, "GET", "/metrics", key=issue_key(platform, "zoe")).status == 403


def test_they_come_as_openmetrics_too(platform: Platform) -> None:
    plain, modern = scrape(platform), scrape(platform, accept="application/openmetrics-text; version=1.0.0")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.body.endswith(b"# EOF\n")


def test_what_was_deleted_is_not_told_of(platform: Platform) -> None:
    serve(platform, "ann/short", "def apply(input):\n    return input\n")
    call(platform, "x", "ann/short")
    assert value(platform, "calls_total", algorithm="ann/short", version="0.1.0") == 1
    assert ask(platform, "DELETE", "/v1/algorithms/ann/short").status < 300
    assert b"ann/short" not in scrape(platform).body


# -- without a platform -------------------------------------------------------------------------------------


def target(build_id: str) -> Target:
    build = SimpleNamespace(id=build_id, commit="c" * 40)
    return cast("Target", SimpleNamespace(build=build, version="0.1.0", algorithm=SimpleNamespace(name="ann/echo")))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Metrics of a platform where every build is of the algorithm that has its name."""
    monkeypatch.setattr(
        "pushpoint.registry.releases.names", lambda _, ids: {one: (f"ann/{one}", "0.1.0") for one in ids}
    )
    return Metrics(cast("Any", None), cast("Pools", SimpleNamespace(all=dict)), {"refused": 2})


def read(counted: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in families(counted.exposition("")[0].decode())
        for sample in family.samples
    }


def test_an_algorithm_cannot_make_types_of_errors_without_end(counted: Metrics) -> None:
    for number in range(1000):
        counted.answered(target("one"), Failure(f"Error{number}" + "x" * 1000, "m", "", 0.1), 0.2)
    for odd in ('"\n\\', "\ud800", "Error0" + "x" * 1000):
        counted.answered(target("one"), Failure(odd, "m", "", 0.1), 0.2)
    counted.answered(target("two"), Failure("\ud800", "m", "", float("nan")), 0.2)
    found = {name: value for name, value in read(counted).items() if name.startswith("pushpoint_call_errors_total")}
    assert found.pop("pushpoint_call_errors_total['0.1.0', '?', 'ann/two']") == 1
    assert len(found) == metrics.ERROR_TYPES + 1
    assert found["pushpoint_call_errors_total['0.1.0', 'ann/one', 'other']"] == 1002 - metrics.ERROR_TYPES
    assert max(map(len, found)) < 200
    assert read(counted)["pushpoint_algorithm_seconds_sum['0.1.0', 'ann/two']"] == 0.2


def test_releases_are_counted_up_to_a_number(counted: Metrics) -> None:
    for number in range(metrics.MOST + 10):
        counted.answered(target(f"b{number}"), Answer("json", b"1", 0.1), 0.2)
    found = {name for name in read(counted) if name.startswith("pushpoint_calls_total")}
    assert len(found) == metrics.MOST
    assert "pushpoint_calls_total['0.1.0', 'ann/b0']" not in found


def test_cold_starts_and_batches_are_histograms(counted: Metrics) -> None:
    counted.cold_start(target("one"), 2.0)
    for size in (8, 1000, 0):  # the others of a batch say nothing of it
        counted.answered(target("one"), Answer("json", b"1", 0.1, batch=size), 0.1)
    found = read(counted)
    assert found["pushpoint_cold_start_seconds_bucket['0.1.0', '1.0', 'ann/one']"] == 0
    assert found["pushpoint_cold_start_seconds_bucket['0.1.0', '2.5', 'ann/one']"] == 1
    assert found["pushpoint_batch_size_sum['0.1.0', 'ann/one']"] == 1008
    assert found["pushpoint_batch_size_bucket['+Inf', '0.1.0', 'ann/one']"] == 2
    assert found["pushpoint_batch_size_bucket['0.1.0', '8.0', 'ann/one']"] == 1


def test_to_count_a_call_costs_it_next_to_nothing(counted: Metrics) -> None:
    one, answer = target("one"), Answer("json", b"1", 0.1)

    def seconds() -> float:
        began = time.perf_counter()
        for _ in range(1000):
            counted.answered(one, answer, 0.012)
        return (time.perf_counter() - began) / 1000

    assert min(seconds() for _ in range(50)) < 3e-6


def test_a_flood_of_bad_calls_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "pushpoint.serving.call_log.log", SimpleNamespace(info=lambda _, **facts: written.append(facts))
    )
    now = 100.0
    monkeypatch.setattr("pushpoint.serving.call_log.time", SimpleNamespace(monotonic=lambda: now))
    kept = CallLog()
    for _ in range(1000):
        kept.refused("/v1/algo/" + "x" * 10_000, 401, "Unauthenticated", 0.001, "id")
    assert len(written) == MOST
    assert max(len(str(one)) for one in written) < 400
    now = 101.0
    kept.refused("/v1/algo/x", 401, "Unauthenticated", 0.001, "id")
    assert written[-1]["left_out_before"] == 1000 - MOST


# -- what is told of them elsewhere -------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "src" / "pushpoint" / "web" / "static" / "grafana.json"
GUIDE = ROOT / "docs" / "how-to" / "watch-the-platform.md"
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "summary": ["_sum", "_count"]}
ASKED = re.compile(r"\b(?:pushpoint|process)_[a-z_]+")
LABELS = {"algorithm", "version", "error_type", "outcome", "le", "job", "instance"}


def exposed(platform: Platform) -> set[str]:
    found = families(scrape(platform).body.decode())
    return {family.name + suffix for family in found for suffix in SUFFIXES.get(family.type, [""])}


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked += [one["definition"] for one in board["templating"]["list"] if one["type"] == "query"]
    _, _, rules = GUIDE.read_text().partition("# rules.yml")
    return asked + re.findall(r"expr: (?:\|\n)?(.+(?:\n {12,}.+)*)", rules.partition("```")[0])


def test_the_dashboard_and_the_alerts_ask_for_what_there_is(platform: Platform) -> None:
    call(platform, "one")
    there, asked = exposed(platform), queries()
    assert len(asked) > 25
    for query in asked:
        names = ASKED.findall(query)
        assert names or query.startswith("up{"), query
        assert set(names) <= there, query
        labels = re.findall(r"(\w+)=~?\"", query)
        labels += [name for by in re.findall(r"by \(([^)]*)\)", query) for name in by.split(", ")]
        assert set(labels) <= LABELS, query
        assert all(query.count(one) == query.count(other) for one, other in ("()", "[]", "{}")), query
    ours = {name for name in there if name.startswith("pushpoint_")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in ours} - {
        re.sub("_(bucket|sum|count)$", "", name) for query in asked for name in ASKED.findall(query)
    } == set(), "the dashboard shows everything"


def test_the_guide_explains_every_metric(platform: Platform) -> None:
    told = set(re.findall(r"^\| `(pushpoint_\w+)` \|", GUIDE.read_text(), re.MULTILINE))
    assert told == {re.sub("_(bucket|sum|count)$", "", name) for name in exposed(platform) if "pushpoint_" in name}


def test_the_panels_of_the_dashboard_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_gets_a_key_as_the_guide_says(platform: Platform, tmp_path: Path) -> None:
    admin = (platform.home / "admin-key").read_text().strip()
    made = pushpoint(
        *shlex.split(re.search(r"^pushpoint (keys add .*) >", GUIDE.read_text(), re.MULTILINE)[1]),  # type: ignore[index]
        directory=tmp_path,
        platform=platform,
        PUSHPOINT_ADMIN_KEY=admin,
    )
    assert made.code == 0, made.err
    answer = ask(platform, "GET", "/metrics", key=None, headers={"authorization": f"Bearer {made.out.strip()}"})
    assert answer.status == 200
