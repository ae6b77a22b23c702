"""Every route there is, and what it takes to be let in; the tests of promise 49 walk them.

A scope is one that the key needs, several with ` or ` between them, or `known` where any key will do.
"""

from __future__ import annotations

import re

from pushpoint.web import unoffered

ALGORITHM = "/v1/algorithms/{owner}/{name}"
MANAGEMENT = [
    ("GET", "/metrics", "admin"),
    ("GET", "/v1/account", "known"),
    ("POST", "/v1/algorithms/{owner}", "manage"),
    ("GET", ALGORITHM, "call or view"),
    ("PUT", ALGORITHM, "manage"),
    ("GET", f"{ALGORITHM}/workers", "view"),
    ("GET", f"{ALGORITHM}/source", "view"),
    ("PUT", f"{ALGORITHM}/source", "manage"),
    ("DELETE", f"{ALGORITHM}/source", "manage"),
    ("POST", f"{ALGORITHM}/source/secret", "manage"),
    ("POST", f"{ALGORITHM}/source/reset", "manage"),
    ("GET", f"{ALGORITHM}/scm/status", "view"),
    ("POST", f"{ALGORITHM}/compile", "manage"),
    ("GET", f"{ALGORITHM}/builds", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}/logs", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}/output", "view"),
    ("GET", f"{ALGORITHM}/versions", "call or view"),
    ("GET", f"{ALGORITHM}/versions/{{selector}}", "call or view"),
    ("POST", f"{ALGORITHM}/versions", "manage"),
    ("POST", f"{ALGORITHM}/version", "manage"),
    ("GET", f"{ALGORITHM}/releases", "view"),
    ("GET", f"{ALGORITHM}/live", "view"),
    ("GET", f"{ALGORITHM}/deployments", "view"),
    ("POST", f"{ALGORITHM}/deployments", "manage"),
    ("GET", f"{ALGORITHM}/deployments/{{deployment_id}}", "view"),
    ("GET", f"{ALGORITHM}/publishers", "view"),
    ("POST", f"{ALGORITHM}/publishers", "manage"),
    ("DELETE", f"{ALGORITHM}/publishers/{{publisher_id}}", "manage"),
    ("DELETE", ALGORITHM, "manage"),
    ("GET", f"{ALGORITHM}/log", "view"),
    ("GET", f"{ALGORITHM}/errors", "view"),
    ("GET", f"{ALGORITHM}/insights", "view"),
    ("GET", f"{ALGORITHM}/secrets", "view"),
    ("POST", f"{ALGORITHM}/secrets", "manage"),
    ("PUT", f"{ALGORITHM}/secrets/{{secret_id}}", "manage"),
    ("DELETE", f"{ALGORITHM}/secrets/{{secret_id}}", "manage"),
    ("GET", "/v1/secret-provider", "known"),
    ("POST", "/v1/insights", "call"),
    ("POST", "/v1/users", "admin"),
    ("GET", "/v1/users", "admin"),
    ("GET", "/v1/users/{username}", "view or admin"),
    ("PUT", "/v1/users/{username}", "manage or admin"),
    ("DELETE", "/v1/users/{username}", "admin"),
    ("PUT", "/v1/users/{username}/password", "manage or admin"),
    ("GET", "/v1/users/{username}/algorithms", "call or view"),
    ("GET", "/v1/users/{username}/keys", "manage or admin"),
    ("POST", "/v1/users/{username}/keys", "manage or admin"),
    ("DELETE", "/v1/users/{username}/keys/{key_id}", "manage or admin"),
    ("GET", "/v1/users/{account}/errors", "view"),
    ("GET", "/v1/organizations/{account}/errors", "view"),
    ("GET", "/v1/organization/types", "known"),
    ("POST", "/v1/organizations", "admin"),
    ("GET", "/v1/organizations", "view or admin"),
    ("GET", "/v1/organizations/{organization}", "view or admin"),
    ("PUT", "/v1/organizations/{organization}", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}", "manage or admin"),
    ("GET", "/v1/organizations/{organization}/members", "view or admin"),
    ("PUT", "/v1/organizations/{organization}/members/{username}", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}/members/{username}", "manage or admin"),
    ("GET", "/v1/organizations/{organization}/keys", "manage or admin"),
    ("POST", "/v1/organizations/{organization}/keys", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}/keys/{key_id}", "manage or admin"),
    ("GET", "/v1/scms", "known"),
    ("GET", "/v1/scms/{scm_id}", "known"),
    ("GET", "/v1/scms/{scm_id}/oauth/status", "known"),
    ("GET", "/v1/algorithm-environments/edge/languages", "known"),
    ("GET", "/v1/algorithm-environments/edge/languages/{language}/environments", "known"),
    ("GET", "/webapi/v1/algorithm-environments/languages/{language}/environments", "known"),
    ("GET", "/webapi/v1/algorithm-environments/environments/current", "known"),
    ("GET", "/webapi/v1/algorithm-environments/environments/available", "known"),
]
UNOFFERED = [
    (method, re.sub(r":\w+}", "}", path), "known")
    for path in unoffered.REASONS
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
]
RAW = [
    ("POST", "/v1/algo/{owner}/{name}", "call"),
    ("POST", "/v1/algo/{owner}/{name}/latest", "call"),
    ("POST", "/v1/algo/{owner}/{name}/{commit}", "call"),
    ("POST", "/v1/algo/{owner}/{name}?output=raw", "call"),
    ("POST", "/v1/algo/{owner}/{name}?output=void", "call"),
    ("GET", "/v1/data", "read"),
    ("HEAD", "/v1/data", "read"),
    ("POST", "/v1/data", "data"),
    ("POST", "/v1/data/", "data"),
    ("HEAD", "/v1/data/", "read"),
    ("HEAD", "/v1/data/{owner}", "read"),
    ("GET", "/v1/data/", "read"),
    ("GET", "/v1/data/{owner}", "read"),
    ("POST", "/v1/data/{owner}", "data"),
    ("GET", "/v1/data/{owner}/{collection}", "read"),
    ("HEAD", "/v1/data/{owner}/{collection}", "read"),
    ("PATCH", "/v1/data/{owner}/{collection}", "data"),
    ("DELETE", "/v1/data/{owner}/{collection}", "data"),
    ("GET", "/v1/data/{owner}/{collection}/file.txt", "read"),
    ("HEAD", "/v1/data/{owner}/{collection}/file.txt", "read"),
    ("PUT", "/v1/data/{owner}/{collection}/file.txt", "data"),
    ("DELETE", "/v1/data/{owner}/{collection}/file.txt", "data"),
    ("GET", "/v1/connector/data", "read"),
    ("HEAD", "/v1/connector/data", "read"),
    ("POST", "/v1/connector/data", "data"),
    ("HEAD", "/v1/connector/data/{owner}/{collection}/file.txt", "read"),
    ("GET", "/v1/connector/data/{owner}/{collection}/file.txt", "read"),
    ("PUT", "/v1/connector/data/{owner}/{collection}/file.txt", "data"),
    ("DELETE", "/v1/connector/data/{owner}/{collection}/file.txt", "data"),
    ("GET", "/v1/connector/s3/file.txt", "read"),
    ("OPTIONS", "/v1/uploads", "data"),
    ("GET", "/v1/uploads?path=data://{owner}/{collection}/part.txt", "data"),
    ("POST", "/v1/uploads", "data"),
    ("OPTIONS", "/v1/uploads/{upload_id}", "data"),
    ("HEAD", "/v1/uploads/{upload_id}", "data"),
    ("PATCH", "/v1/uploads/{upload_id}", "data"),
    ("DELETE", "/v1/uploads/{upload_id}", "data"),
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-upload-pack", "view"),
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-receive-pack", "manage"),
    ("GET", "/git/{owner}/{name}.git/info/refs", "view"),
    ("POST", "/git/{owner}/{name}.git/git-upload-pack", "view"),
    ("POST", "/git/{owner}/{name}.git/git-receive-pack", "manage"),
    ("GET", "/git/{owner}/{name}/{commit}.git/info/refs?service=git-upload-pack", "view"),
    ("POST", "/git/{owner}/{name}/{commit}.git/git-upload-pack", "view"),
]
ALL = MANAGEMENT + RAW + UNOFFERED

# what a deploy asks for, and what its own algorithm answers; everything else is refused
DEPLOYS = {
    ("GET", "/v1/account"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/compile"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}/logs"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}/output"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/log"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/source"): 404,  # the platform hosts it
    ("GET", "/v1/algorithms/{owner}/{name}/scm/status"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/versions"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/versions/{selector}"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/versions"): 409,  # published already
    ("POST", "/v1/algorithms/{owner}/{name}/version"): 409,
    ("GET", "/v1/algorithms/{owner}/{name}/releases"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/live"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/deployments"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/deployments"): 202,
    ("GET", "/v1/algorithms/{owner}/{name}/deployments/{deployment_id}"): 200,
    ("POST", "/v1/algo/{owner}/{name}"): 200,
    ("POST", "/v1/algo/{owner}/{name}/latest"): 200,
    ("POST", "/v1/algo/{owner}/{name}/{commit}"): 200,
    ("POST", "/v1/algo/{owner}/{name}?output=raw"): 200,
    ("POST", "/v1/algo/{owner}/{name}?output=void"): 200,
    ("POST", "/v1/data"): 400,  # its own collection is there
    ("POST", "/v1/data/"): 400,
    ("POST", "/v1/connector/data"): 400,
    ("POST", "/v1/data/{owner}"): 400,
    ("HEAD", "/v1/data/{owner}/{collection}/file.txt"): 200,
    ("HEAD", "/v1/connector/data/{owner}/{collection}/file.txt"): 200,
    ("PUT", "/v1/connector/data/{owner}/{collection}/file.txt"): 200,  # by now it holds the same
    ("OPTIONS", "/v1/uploads"): 204,
    ("GET", "/v1/uploads?path=data://{owner}/{collection}/part.txt"): 200,
    ("POST", "/v1/uploads"): 201,
    ("OPTIONS", "/v1/uploads/{upload_id}"): 204,
    ("PUT", "/v1/data/{owner}/{collection}/file.txt"): 409,  # it holds other bytes, and a deploy only adds
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-upload-pack"): 200,
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-receive-pack"): 200,
    ("GET", "/git/{owner}/{name}.git/info/refs"): 400,  # without a service that is git's old protocol
    ("GET", "/git/{owner}/{name}/{commit}.git/info/refs?service=git-upload-pack"): 200,
    ("POST", "/git/{owner}/{name}/{commit}.git/git-upload-pack"): 200,
    ("POST", "/git/{owner}/{name}.git/git-upload-pack"): 200,
    ("POST", "/git/{owner}/{name}.git/git-receive-pack"): 200,
}

OPEN = {
    ("GET", "/live"),
    ("GET", "/ready"),
    *(("GET", path) for path in ("/openapi.json", "/v1/openapispec", "/docs", "/docs/show.js")),
    *(("GET", path) for path in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")),
    ("POST", "/v1/keys/exchange"),  # shows the identity of a run of CI instead
    ("POST", "/v1/algorithms/{owner}/{name}/scm/webhook"),  # signed instead
    ("GET", "/v1/algorithm-environments/edge/environment-specifications/{specification}/template"),  # of anybody's
}
"""What answers without a key."""
