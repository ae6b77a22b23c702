"""The ADK's part of the manifest: where its `ModelData` finds the model that was just stored.

The ADK reads the same file as we do, for other keys: `required_files` and `optional_files`. Of these, one entry is the
deploy's: the one that names the model file of the ML repository (`./model.pkl`) or the model of the last deploy, else
the one called like the model file (`model`), else a new one. The others are the user's.

Source: platform API, section 5.6; algorithmia-adk 1.2.4, modeldata.py; algorithmia 2.0.5, client.py, `freeze`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pushpoint import manifest as manifests
from pushpoint.errors import ConfigError
from pushpoint.manifest import JSON, Manifest

MARKER = ".adk"
FROZEN = manifests.FILE + ".freeze"
LISTS = ("required_files", "optional_files")


def name_model(
    keys: Mapping[str, JSON], manifest: Manifest, model_path: str, before: Manifest | None
) -> dict[str, JSON]:
    """Let the ADK's keys name the model.

    An entry has the model's MD5 too, which the ADK compares: not for our sake, since workers check SHA-256, but because
    the ADK fails on `fail_on_tamper` without it.

    Args:
        keys: Those of a manifest, or of a frozen one.
        manifest: Says where the model is.
        model_path: Where it is in the ML repository.
        before: The manifest of the last deploy.

    Returns:
        The keys, with both lists.

    Raises:
        ConfigError: A list is none, or an entry has no name.
    """
    found = {key: [_entry(key, entry) for entry in _list(keys, key)] for key in LISTS}
    entries = [entry for key in LISTS for entry in found[key]]
    stem = PurePosixPath(model_path).name.partition(".")[0] or "model"
    uris = {model_path, f"./{model_path}"} | ({before.uri, before.uri.removeprefix("data://")} if before else set())
    ours = next((entry for entry in entries if entry.get("source_uri") in uris), None)
    ours = ours or next((entry for entry in entries if entry["name"] == stem), None)
    if ours is None:
        ours = {"name": stem}
        found["required_files"].append(ours)
    ours |= {"source_uri": manifest.uri, "md5_checksum": manifest.model.md5}
    ours.setdefault("fail_on_tamper", True)
    ours.setdefault("metadata", {})
    return {**keys, **found}


def freeze_again(file: Path, manifest: Manifest, model_path: str, before: Manifest | None) -> None:
    """Let a frozen manifest name the model, and seal it anew.

    The ADK prefers it to the plain one, so it would go on naming the model of the day it was frozen. It is not removed,
    because it also holds the digests of the user's other files.

    Raises:
        ConfigError: It was changed since it was frozen: we do not seal what its author did not.
    """
    try:
        frozen = None if file.is_symlink() else json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        frozen = None
    seal = frozen.pop("lock_checksum", None) if isinstance(frozen, dict) else None
    if not isinstance(frozen, dict) or seal != _seal(frozen):
        raise ConfigError(f"{FROZEN} is not as `algo freeze` left it; freeze the manifest again, or delete that file")
    keys = name_model(frozen, manifest, model_path, before)
    keys["timestamp"] = str(manifest.created.timestamp())
    file.write_text(json.dumps({**keys, "lock_checksum": _seal(keys)}), encoding="utf-8")


def _seal(frozen: dict[str, JSON]) -> str:
    # of what Python prints for the dictionary, in the order of its keys: that is how the ADK checks it
    return hashlib.md5(str(frozen).encode()).hexdigest()  # noqa: S324


def _list(keys: Mapping[str, JSON], key: str) -> list[JSON]:
    found = keys.get(key, [])
    if not isinstance(found, list):
        raise ConfigError(f"`{key}` in {manifests.FILE} is not a list; correct it")
    return found


def _entry(key: str, entry: JSON) -> dict[str, JSON]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ConfigError(f"an entry of `{key}` in {manifests.FILE} has no `name`; correct it")
    return dict(entry)
