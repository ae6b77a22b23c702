"""`algorithmia-api-client` 1.5.1 as it is on PyPI: generated from the old platform's description, it checks answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.clients import load
from tests.clients.front import Front
from tests.clients.table import ALGORITHM, ENDPOINTS, endpoint_of, reaches
from tests.conftest import Platform
from tests.web.support import ask, create, issue_key, push, serve

api_client = load("algorithmia_api_client")
ApiException: type[Exception] = load("algorithmia_api_client.rest").ApiException


def opened(front: Front, key: str = "") -> Any:
    configuration = api_client.Configuration()
    configuration.host = f"{front.url}/v1"
    # as a header of every request: the description wants a cookie, or nothing, where a dozen methods need a key
    return api_client.DefaultApi(api_client.ApiClient(configuration, "Authorization", key or front.platform.key))


@pytest.fixture(scope="module")
def api(front: Front) -> Any:
    return opened(front)


@pytest.fixture(scope="module")
def admin(front: Front) -> Any:
    """With the platform's admin key, which is good for accounts alone."""
    return opened(front, (front.platform.home / "admin-key").read_text().strip())


def page(api: Any, kind: str, ask: Callable[..., Any], *arguments: object, **options: object) -> tuple[list[Any], Any]:
    """Ask for a list, and let the client's own model `kind` read each of its parts.

    The list as a whole it cannot read: its description of lists names types that it has not got.
    """
    found = json.loads(ask(*arguments, **options, _preload_content=False).data)
    read = [api.api_client.deserialize(SimpleNamespace(data=json.dumps(part)), kind) for part in found["results"]]
    return read, found["marker"]


@pytest.fixture(scope="module")
def algorithm(platform: Platform) -> str:
    """An algorithm with a release; its id."""
    serve(platform, "ann/served", "def apply(input): return input\n", algorithm_callability="public")
    return id_of(platform, "ann/served")


def id_of(platform: Platform, name: str) -> str:
    """The id of an algorithm, which the client reads from no answer."""
    return str(ask(platform, "GET", f"/v1/algorithms/{name}").json["id"])


def test_the_client_is_the_one_we_promise() -> None:
    assert version("algorithmia-api-client") == "1.5.1"


@reaches("POST /v1/algorithms/{owner}", f"GET {ALGORITHM}", f"PUT {ALGORITHM}", f"DELETE {ALGORITHM}")
@reaches(f"POST {ALGORITHM}/compile", f"POST {ALGORITHM}/versions", f"GET {ALGORITHM}/versions")
@reaches(f"GET {ALGORITHM}/builds", f"GET {ALGORITHM}/builds/{{build}}", f"GET {ALGORITHM}/builds/{{build}}/logs")
@reaches(f"GET {ALGORITHM}/versions/{{commit}}", f"GET {ALGORITHM}/log", f"GET {ALGORITHM}/scm/status")
def test_an_algorithms_whole_life(platform: Platform, api: Any) -> None:
    settings = api_client.SettingsMandatory(
        source_visibility="closed",
        license="apl",
        network_access="full",
        pipeline_enabled=True,
        algorithm_environment="abcd-123",
    )
    request = api_client.CreateRequest(name="lived", details=api_client.Details(label="Lived"), settings=settings)
    created = api.create_algorithm("ann", request)
    assert (created.name, created.details.label, created.source.scm.id) == ("lived", "Lived", "internal")
    assert created.id
    with pytest.raises(ApiException):
        api.create_algorithm("ann", request)

    first = api.compile_algorithm("ann", "lived")
    assert first.compilation.successful
    commit = push(platform, "ann/lived", {"src/lived.py": "def apply(input): return input + '!'\n"})
    compiled = api.compile_algorithm("ann", "lived")
    assert (compiled.version_info.git_hash, compiled.build.status) == (commit, "succeeded")

    builds, marker = page(api, "Build", api.get_algorithm_builds, "ann", "lived", limit=1)
    assert [build.commit_sha for build in builds] == [commit]
    assert builds[0].finished_at >= builds[0].started_at
    older, _ = page(api, "Build", api.get_algorithm_builds, "ann", "lived", limit=1, marker=marker)
    assert [build.commit_sha for build in older] == [first.version_info.git_hash]
    build = api.get_algorithm_build_by_id("ann", "lived", builds[0].build_id)
    assert build == builds[0]
    assert "Beginning container customization" in api.get_algorithm_build_logs("ann", "lived", build.build_id).logs

    published = api.publish_algorithm(
        "ann",
        "lived",
        api_client.VersionRequest(
            details=api_client.Details(label="Lived"),
            settings=api_client.SettingsPublish(algorithm_callability="private"),
            version_info=api_client.VersionInfoPublish(version_type="revision", release_notes="r", sample_input="s"),
        ),
    )
    assert published.version_info.semantic_version == "0.0.1"
    versions, _ = page(
        api, "VersionResponse", api.get_algorithm_versions, "ann", "lived", published=True, callable=False, limit=50
    )
    assert [one.version_info.semantic_version for one in versions] == ["0.0.1"]
    assert api.get_algorithm_versions("ann", "lived", published=True, callable=True).results == []
    assert api.get_algorithm_hash_version("ann", "lived", commit).version_info.release_notes == "r"

    api.update_algorithm(
        "ann",
        "lived",
        api_client.UpdateRequest(
            details=api_client.Details(label="Lived well"), settings=api_client.Settings(license="mit")
        ),
    )
    shown = api.get_algorithm("ann", "lived")
    assert (shown.details.label, shown.settings.license, shown.resource_type) == ("Lived well", "mit", "algorithm")
    assert shown.source.scm.id == "internal"
    assert api.commit_log_for_repository("ann", "lived").commits[0].id == commit
    assert api.get_algorithm_scm_connection_status("ann", "lived").scm_connection_status == "active"

    assert api.delete_algorithm("ann", "lived") is None
    with pytest.raises(ApiException) as caught:
        api.get_algorithm("ann", "lived")
    answered: Any = caught.value
    assert (answered.status, answered.body) == (404, '{"error":"No such algorithm"}')


@reaches(f"GET {ALGORITHM}", f"PUT {ALGORITHM}", f"POST {ALGORITHM}/compile", f"POST {ALGORITHM}/versions")
@reaches(f"GET {ALGORITHM}/builds", f"GET {ALGORITHM}/builds/{{build}}", f"GET {ALGORITHM}/builds/{{build}}/logs")
def test_every_route_that_takes_an_id_is_the_one_that_takes_a_name(platform: Platform, api: Any) -> None:
    create(platform, "ann/by_id")
    key = id_of(platform, "ann/by_id")
    compiled = api.compile_algorithm_by_id(key)
    build = compiled.build.build_id
    assert api.get_algorithm_by_id(key) == api.get_algorithm("ann", "by_id")
    by_id, _ = page(api, "Build", api.get_algorithm_by_id_builds, key)
    assert by_id == page(api, "Build", api.get_algorithm_builds, "ann", "by_id")[0] == [compiled.build]
    assert api.get_algorithm_by_id_build_by_id(key, build) == compiled.build
    assert api.get_algorithm_by_id_build_logs(key, build).logs
    api.update_algorithm_by_id(
        key,
        api_client.UpdateRequest(details=api_client.Details(label="New"), settings=api_client.Settings()),
    )
    assert api.get_algorithm("ann", "by_id").details.label == "New"
    published = api.publish_algorithm_by_id(
        key,
        api_client.VersionRequest(
            details=api_client.Details(label="New"),
            settings=api_client.SettingsPublish(algorithm_callability="private"),
            version_info=api_client.VersionInfoPublish(version_type="minor"),
        ),
    )
    assert published.version_info.semantic_version == "0.1.0"


@reaches("POST /v1/algo/{algorithm}/{version}")
def test_calls(api: Any, algorithm: str) -> None:
    """The client cannot read their answers itself: it names a type that it has not got."""
    by_name = api.algo_username_algoname_algo_callable_version_post(
        "ann", "served", "0.1.0", {"a": 1}, stdout=True, timeout=10, _preload_content=False
    )
    by_id = api.algo_algorithm_id_algo_callable_version_post(algorithm, "0.1.0", {"a": 1}, _preload_content=False)
    for answer in (by_name, by_id):
        assert json.loads(answer.data)["result"] == {"a": 1}


@reaches(
    "GET /v1/connector/{connector}/{path}",
    "HEAD /v1/connector/{connector}/{path}",
    "PUT /v1/connector/{connector}/{path}",
    "POST /v1/connector/{connector}/{path}",
    "PATCH /v1/connector/{connector}/{path}",
    "DELETE /v1/connector/{connector}/{path}",
)
def test_data(api: Any) -> None:
    made = api.create_directory("data", "ann", unknown_base_type={"name": "kept"})
    assert made.result == "data://ann/kept"
    api.upload_file("data", "ann/kept/f.txt")
    api.verify_file_existence("data", "ann/kept/f.txt")
    found = api.get_file_or_directory("data", "ann/kept", acl=True)
    assert [file.filename for file in found.files] == ["f.txt"]
    assert found.files[0].size == 0
    assert found.acl.read == ["algo://.my/*"]
    api.update_directory_acl("data", "ann/kept", unknown_base_type={"acl": api_client.DirectoryAcl(read=["user://*"])})
    assert api.get_file_or_directory("data", "ann/kept", acl=True).acl.read == ["user://*"]
    with pytest.raises(ApiException):
        api.connector_connector_id_connector_path_delete("data", "ann/kept")
    assert api.connector_connector_id_connector_path_delete("data", "ann/kept", force=True).result.deleted == 1
    with pytest.raises(ApiException):
        api.verify_file_existence("data", "ann/kept")


@reaches("POST /v1/users", "GET /v1/users", "GET /v1/users/{user}", "PUT /v1/users/{user}", "DELETE /v1/users/{user}")
@reaches("POST /v1/users/{user}/keys")
def test_users_and_their_keys(front: Front, admin: Any) -> None:
    wanted = api_client.User(username="carl", email="carl@example.com", fullname="Carl", resource_type="user")
    made = admin.create_user(wanted)
    assert (made.username, made.email) == ("carl", "carl@example.com")
    assert admin.get_user("carl") == admin.get_user_by_id(made.id) == made
    listed = json.loads(admin.get_users(limit=50, _preload_content=False).data)["results"]
    assert {"ann", "carl"} <= {user["username"] for user in listed}
    made.fullname = "Carl the Second"
    admin.update_user("carl", made)
    assert admin.get_user("carl").fullname == "Carl the Second"
    made.company_name = "Example"
    admin.update_user_by_id(made.id, made)
    assert admin.get_user("carl").company_name == "Example"

    permissions = api_client.AuthPermissions(
        allow_data=True, allow_data_write=False, allow_algo=True, allow_web_algo=False, algo_acl=["algo://*"]
    )
    key = admin.create_key_for_user(
        "carl", api_client.ApiKeyCreation(key_label="one", key_type="ManagementKey", permissions=permissions)
    )
    assert (key.username, key.key_label, len(key.api_key)) == ("carl", "one", 28)
    assert key.api_key not in key.api_key_mask
    carls = opened(front, key.api_key)
    root = carls.get_file_or_directory("data", "")
    assert [folder.name for folder in root.folders] == ["carl"]
    with pytest.raises(ApiException):
        carls.create_directory("data", "carl", unknown_base_type={"name": "refused"})

    assert admin.delete_user_by_id(made.id) is None
    with pytest.raises(ApiException):
        carls.get_file_or_directory("data", "")
    again = admin.create_user(api_client.User(username="carla", email="carla@example.com", resource_type="user"))
    assert admin.delete_user(again.username) is None
    with pytest.raises(ApiException):
        admin.get_user("carla")


@reaches("POST /v1/organizations", "GET /v1/organizations", "GET /v1/organization/types")
@reaches(
    "GET /v1/organizations/{organization}",
    "PUT /v1/organizations/{organization}",
    "DELETE /v1/organizations/{organization}",
    "GET /v1/organizations/{organization}/members",
    "PUT /v1/organizations/{organization}/members/{user}",
    "DELETE /v1/organizations/{organization}/members/{user}",
    "POST /v1/organizations/{organization}/keys",
    "GET /v1/organizations/{organization}/keys",
)
def test_organizations_their_members_and_keys(front: Front, admin: Any) -> None:
    issue_key(front.platform, "bob")
    kinds = {kind.name: kind.id for kind in admin.get_all_organization_types()}
    wanted = api_client.Organization(
        org_name="guild",
        org_label="The guild",
        org_contact_name="Ann",
        org_email="guild@example.com",
        type_id=kinds["basic"],
        resource_type="organization",
    )
    made = admin.create_organization(wanted)
    assert (made.org_name, made.org_label) == ("guild", "The guild")
    assert admin.get_organization("guild") == made
    assert "guild" in {one.org_name for one in page(admin, "Organization", admin.get_organizations)[0]}
    made.org_label = "Our guild"
    assert admin.edit("guild", made) is None
    assert admin.get_organization("guild").org_label == "Our guild"

    assert admin.add_organization_member("guild", "bob") is None
    members, _ = page(admin, "OrganizationMember", admin.list_members, "guild")
    assert {member.username: member.role for member in members} == {"ann": "owner", "bob": "member"}
    permissions = api_client.AuthPermissions(
        allow_data=True, allow_data_write=True, allow_algo=True, allow_web_algo=False, algo_acl=["algo://*"]
    )
    key = admin.create_key_for_organization(
        "guild", api_client.OrganizationApiKeyCreation(key_label="whole", permissions=permissions)
    )
    root = opened(front, key.api_key).get_file_or_directory("data", "")
    assert [folder.name for folder in root.folders] == ["guild"]
    assert [one.key_label for one in page(admin, "ApiKey", admin.list_keys, "guild")[0]] == ["whole"]

    assert admin.remove_organization_member("guild", "bob") is None
    assert len(page(admin, "OrganizationMember", admin.list_members, "guild")[0]) == 1
    with pytest.raises(ApiException):
        admin.remove_organization_member("guild", "ann")
    assert admin.delete_organization("guild") is None
    with pytest.raises(ApiException):
        admin.get_organization("guild")


@reaches("GET /v1/scms", "GET /v1/scms/{scm}", "GET /v1/scms/{scm}/oauth/status")
def test_git_hosts(api: Any) -> None:
    """The client knows two providers, and refuses a list that names another one."""
    assert "internal" in {scm.id for scm in api.list_scms().results}
    found = api.get_scm("internal")
    assert (found.provider, found.default, found.enabled) == ("internal", True, True)
    assert api.get_scm_status("internal").authorization_status == "unauthorized"


@reaches(f"POST {ALGORITHM}/scm/webhook", refused=401)
def test_a_webhook_that_nobody_signed_is_refused(api: Any, algorithm: str) -> None:
    with pytest.raises(ApiException, match=r"\(401\)"):
        api.receive_scm_repository_event("ann", "served", {})
    with pytest.raises(ApiException, match=r"\(401\)"):
        api.receive_algorithm_by_id_scm_repository_event(algorithm, {})


day, USER = "2026-01-01", "00000000-0000-0000-0000-000000000000"
NOT_OFFERED: dict[str, Callable[[Any], object]] = {
    "GET /v1/scms/{scm}/oauth/start": lambda api: api.initiate_scm_authorization("github"),
    "GET /v1/scms/{scm}/oauth/finish": lambda api: api.complete_scm_authorization("code", "github"),
    "POST /v1/scms/{scm}/oauth/revoke": lambda api: api.revoke_scm_authorization("github"),
    "DELETE /v1/organization/types/{type}": lambda api: api.delete_by_name("basic"),
    "POST /v1/organizations/{organization}/members/{user}/keys": lambda api: api.add_organization_api_key(
        "ann",
        "ann",
        api_client.ApiKeyCreation(key_label="x", key_type="ManagementKey"),
    ),
    "GET /v1/organizations/{organization}/utility-algorithms": lambda api: api.get_utility_algorithms("ann"),
    "GET /v1/users/{user}/event-listeners": lambda api: api.get_event_listeners_for_user_by_id(USER),
    "POST /v1/users/{user}/event-listeners": lambda api: api.post_event_listeners_for_user_by_id(USER, {}),
    "GET /v1/users/{user}/event-listeners/{listener}": lambda api: api.get_event_listener_by_id_for_user_by_id(
        USER, USER
    ),
    "PUT /v1/users/{user}/event-listeners/{listener}": lambda api: api.update_event_listener_for_user_by_id(USER, USER),
    "DELETE /v1/users/{user}/event-listeners/{listener}": lambda api: api.delete_event_listener_for_user_by_id(
        USER, USER
    ),
    "POST /v1/admin/scms": lambda api: api.create_scm({}),
    "PATCH /v1/admin/scms/{scm}": lambda api: api.update_scm("github", {}),
    "DELETE /v1/admin/scms/{scm}": lambda api: api.delete_scm("github"),
    "POST /v1/admin/scms/{scm}/default": lambda api: api.set_default_scm("github"),
    "GET /v1/admin/usage": lambda api: api.get_full_usage(day, day, 10),
    "GET /v1/admin/usage/algorithms": lambda api: api.get_algorithm_usage_result(day, day, 10),
    "GET /v1/admin/usage/users": lambda api: api.get_user_usage_result(day, day, 10),
    "GET /v1/config/{what}": lambda api: api.get_frontend_config_entries(),
    "POST /v1/config/{what}": lambda api: api.update_logo(),
    "DELETE /v1/config/{what}": lambda api: api.delete_favicon(),
    "GET /v1/config/frontend/{key}": lambda api: api.get_config_entry("x"),
    "PUT /v1/config/frontend/{key}": lambda api: api.update_config_entry("x", {}),
    "DELETE /v1/config/frontend/{key}": lambda api: api.delete_config_entry("x"),
}


@reaches(*NOT_OFFERED, refused=501)
def test_what_is_not_offered_says_so(front: Front) -> None:
    api = opened(front)
    api.api_client.client_side_validation = False  # Python refuses one of its patterns
    wrong = {}
    for endpoint, call in NOT_OFFERED.items():
        with pytest.raises(ApiException) as caught:
            call(api)
        answered: Any = caught.value
        if answered.status != 501 or json.loads(answered.body)["error"]["code"] != 5005:
            wrong[endpoint] = (answered.status, answered.body)
    assert wrong == {}


@reaches("POST /v1/organization/types", refused=405)
def test_types_of_organizations_are_what_they_are(api: Any) -> None:
    with pytest.raises(ApiException, match="405"):
        api.create(api_client.OrganizationType(id="x", name="y"))


def test_the_table_of_endpoints_has_all_that_the_client_knows() -> None:
    """Its addresses are literals in its source; no list of them exists elsewhere."""
    source = Path(load("algorithmia_api_client.api.default_api").__file__ or "").read_text()
    known = re.findall(r"'(/[^']*)', '([A-Z]+)',", source)
    assert len(known) > 80
    id_ = "00000000-0000-0000-0000-000000000000"
    for path, method in known:
        target = "/v1" + path.replace("{algorithmId}", id_)
        target = target.replace("{algoCallableVersion}", "0.1.0").replace("{connectorPath}", "ann")
        endpoint = endpoint_of(method, re.sub(r"\{\w+\}", "x", target))
        assert endpoint in ENDPOINTS, (method, path)
