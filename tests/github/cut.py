"""Cut what the stand-in needs out of GitHub's published API description, without its prose.

npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
python -m tests.github.cut package/generated/api.github.com.json > tests/github/description.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATIONS = {
    "/repos/{owner}/{repo}/deployments": "post",
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses": "post",
}
PROSE = {"description", "summary", "example", "examples", "externalDocs", "tags", "title"}


def facts(node: Any) -> Any:
    """Drop sentences and vendors' keys, and say OpenAPI 3.0's `nullable` as JSON Schema does.

    Below `properties` the keys are names, not words of the description.
    """
    if isinstance(node, list):
        return [facts(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: {inner: facts(value) for inner, value in value.items()} if name == "properties" else facts(value)
        for name, value in node.items()
        if name not in PROSE and not name.startswith("x-")
    }
    if kept.pop("nullable", False):
        kept = {"anyOf": [kept, {"type": "null"}]}
    return kept


def named(node: Any) -> Iterator[str]:
    """Name what a node refers to."""
    yield from re.findall(r'"#/components/([^"]+)"', json.dumps(node))


def cut(whole: Any) -> Any:
    """Take our operations and everything they refer to."""
    paths = {path: {verb: facts(whole["paths"][path][verb])} for path, verb in OPERATIONS.items()}
    components: dict[str, Any] = {}
    waiting = list(named(paths))
    while waiting:
        kind, name = waiting.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = facts(whole["components"][kind][name])
            waiting += named(components[kind][name])
    origin = "npm @octokit/openapi {version}, api.github.com.json, MIT: {owner}; cut by tests/github/cut.py"
    return {
        "origin": origin.format(version=whole["info"]["version"], owner="Copyright (c) 2020 Octokit contributors"),
        "paths": paths,
        "components": components,
    }


if __name__ == "__main__":
    print(json.dumps(cut(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), indent=1, sort_keys=True))
