"""The description of the API and the page that shows it; whether the answers are as described is promise 48's test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from pushpoint.web import MOUNTED, ROUTES
from tests.conftest import Platform
from tests.web.routes import RAW
from tests.web.support import JSON, ask, create

METHODS = {"get", "head", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def described(platform: Platform) -> dict[str, Any]:
    answer = ask(platform, "GET", "/openapi.json", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def test_it_is_where_the_old_platform_had_it_and_where_tools_look(platform: Platform) -> None:
    assert ask(platform, "GET", "/v1/openapispec", key=None).body == ask(platform, "GET", "/openapi.json").body


def test_it_describes_every_route_and_no_other(described: dict[str, Any]) -> None:
    served = {
        (re.sub(r":\w+}", "}", path), str(method).lower())
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
    }
    named = {"latest": "{selector}", "{commit}": "{selector}", "{commit}.git": "{selector}.git", "file.txt": "{file}"}
    for method, path, _ in RAW:  # each of them is asked by the walk of promise 49
        if path.startswith("/v1/connector") or method == "OPTIONS":
            continue  # which is said to be `/v1/data`; METHODS has none of these
        parts = [named.get(part, part) for part in path.partition("?")[0].rstrip("/").split("/")]
        served.add(("/".join(parts), method.lower()))
    found = {(path, method) for path, method, _ in operations(described)}
    assert served - found == set()
    assert found - served == set()


def test_uploads_are_described_with_the_methods_that_they_have(platform: Platform, described: dict[str, Any]) -> None:
    for path in ("/v1/uploads", "/v1/uploads/{upload_id}"):
        answer = ask(platform, "TRACE", path.format(upload_id=uuid4()))
        assert answer.status == 405
        allowed = {method.lower() for method in answer.headers["allow"].split(", ")}
        assert allowed == (METHODS | {"options"}) & described["paths"][path].keys()


def test_every_raw_application_is_described(described: dict[str, Any]) -> None:
    begun = {prefix for prefix in MOUNTED for path in described["paths"] if f"{path}/".startswith(prefix)}
    assert set(MOUNTED) - begun == {"/v1/connector/"}, "which is said to be `/v1/data`"


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in described["tags"]}
    for _, _, operation in operations(described):
        assert operation["summary"]
        assert set(operation["tags"]) <= tags


def test_what_it_refers_to_is_there(described: dict[str, Any]) -> None:
    text = json.dumps(described)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        place = described
        for part in reference.split("/"):
            place = place[part]
    every = {operation["operationId"]: path for path, _, operation in operations(described)}
    links = 0
    for _, _, operation in operations(described):
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                links += 1
                assert set(link["parameters"]) == set(re.findall(r"{(\w+)}", every[link["operationId"]]))
    assert links > 50


def test_its_schemas_are_json_schemas(described: dict[str, Any]) -> None:
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_its_keys_are_those_that_the_guard_asks_for(described: dict[str, Any]) -> None:
    assert described["paths"]["/live"]["get"]["security"] == []
    assert described["paths"]["/v1/users"]["post"]["security"] == [{"adminKey": ["admin"]}]
    shown = described["paths"]["/v1/algorithms/{owner}/{name}"]["get"]
    assert shown["security"] == [{"key": ["call"]}, {"key": ["view"]}]
    for scheme in ("key", "adminKey"):
        assert described["components"]["securitySchemes"][scheme]["name"] == "Authorization"


def test_options_names_the_methods_that_are_described(platform: Platform, described: dict[str, Any]) -> None:
    for path, item in described["paths"].items():
        if not f"{path}/".startswith(tuple(MOUNTED)):
            answer = ask(platform, "OPTIONS", path.replace("{", "").replace("}", ""))
            allowed = {method.lower() for method in answer.headers["allow"].split(", ")}
            assert allowed == METHODS & item.keys() | {"options"}, path


def test_the_page_runs_nothing_but_its_own_files(platform: Platform) -> None:
    page = ask(platform, "GET", "/docs", key=None)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in policy
    html = page.body.decode()
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|style=|https?:", html)
    files = re.findall(r'(?:src|href)="([^"]+)"', html)
    files.remove("data:,")  # no icon, and no asking for one
    assert files == ["docs/swagger-ui.css", "openapi.json", "docs/swagger-ui-bundle.js", "docs/show.js"]
    for file in files:
        part = ask(platform, "GET", f"/{file}", key=None)
        assert part.status == 200
        kind = {"css": "text/css", "json": "application/json", "js": "text/javascript"}[file.rpartition(".")[2]]
        assert part.headers["content-type"].partition(";")[0] == kind
        if file.startswith("docs/"):
            assert part.headers["x-content-type-options"] == "nosniff"
    assert b"https:" not in ask(platform, "GET", "/docs/show.js", key=None).body
    assert ask(platform, "GET", "/docs/..%2F__init__.py", key=None).status == 404


def test_a_body_that_is_no_json_is_refused_and_an_empty_one_says_nothing(platform: Platform) -> None:
    create(platform, "ann/asked")
    for body in (b"a=b&c", b"null", b"5", b"true", b"\xff\xfe", b"{", b"[1]", b'"x"'):
        for method, path in (
            ("PUT", "/v1/algorithms/ann/asked"),
            ("POST", "/v1/algorithms/ann/asked/compile"),
            ("POST", "/v1/algorithms/ann/asked/versions"),
            ("POST", "/v1/users/ann/keys"),
            ("PUT", "/v1/users/ann"),
        ):
            answer = ask(platform, method, path, body, headers=JSON)
            assert answer.status == 400, (method, path, body)
            assert "see the HTTP reference" in answer.message
    assert ask(platform, "PUT", "/v1/algorithms/ann/asked").status == 200
    assert ask(platform, "PUT", "/v1/users/ann", b" \n").status == 200


def test_the_python_clients_form_changes_nothing(platform: Platform) -> None:
    create(platform, "ann/formed")
    before = ask(platform, "GET", "/v1/algorithms/ann/formed").json
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = ask(platform, "PUT", "/v1/algorithms/ann/formed", b"details=label&settings=license", headers=form)
    assert (answer.status, answer.json) == (200, before)


def test_what_an_enumeration_does_not_have_is_not_kept(platform: Platform) -> None:
    create(platform, "ann/strict")
    body = json.dumps({"settings": {"license": "mine"}}).encode()
    answer = ask(platform, "PUT", "/v1/algorithms/ann/strict", body, headers=JSON)
    assert answer.status == 400
    assert "$.settings.license" in answer.message
    body = json.dumps({"settings": {"license": None, "algorithm_environment": "abcd-123", "unknown": [1]}}).encode()
    settings = ask(platform, "PUT", "/v1/algorithms/ann/strict", body, headers=JSON).json["settings"]
    assert settings["license"] == "apl"
    assert settings["algorithm_environment"] != "abcd-123", "what it runs with is shown, not what was asked for"
    assert "unknown" not in settings
