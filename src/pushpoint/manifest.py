"""`model_manifest.json`: which model, and where it came from.

The seven `model_*` keys are the original Action's, with its types and its time format, so that an inference script
written for it keeps working. Ours stand beside them. Keys of other tools are written back untouched. The worker reads
the same file with `runtime/verify.py`, which knows only the keys it must check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.errors import ConfigError

FILE = "model_manifest.json"
VERSION = 2
_TIME = "%Y-%m-%d %H:%M:%S.%f"

JSON = Any  # what json.loads returns; a recursive alias costs more than it tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model came from: the commit it was trained at."""

    repository: str
    ref: str
    commit: str
    message: str
    committed: datetime
    """The commit's own time, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a model was made; what is unknown is empty. The facts are those of SLSA's build provenance v1.

    Attributes:
        builder: Where it ran: `github-actions`, `gitlab-ci`, `jenkins` or `local`.
        event: What caused the run: `push`, `schedule` ...; `client` where somebody pushed with `pushpoint.Client`.
        workflow_ref: The workflow file and its ref.
        workflow_sha: The workflow file's commit.
        run_id: The run's number at the builder.
        run_attempt: Which try of that run.
        notebook: Path of the notebook.
        lock_sha256: Digest of all versions that were installed for it.
        python: Version of the interpreter.
        code_tree: Git's id of the inference folder.
        started: ISO 8601, UTC.
        finished: ISO 8601, UTC.
    """

    builder: str
    event: str = ""
    workflow_ref: str = ""
    workflow_sha: str = ""
    run_id: str = ""
    run_attempt: str = ""
    notebook: str = ""
    lock_sha256: str = ""
    python: str = ""
    code_tree: str = ""
    started: str = ""
    finished: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The model of one algorithm, and where it came from.

    Attributes:
        algorithm: `OWNER/NAME` this manifest is for, so that it is of no use to another.
        deploy_id: The deploy that wrote it.
        model: What the model file is.
        format: What kind of file it is, for people.
        uri: Where it is stored, `data://OWNER/COLLECTION/FILE`.
        source: The commit of the ML repository; none where nobody knows one.
        created: When the training finished, UTC.
        inputs: Digest of all that the model was made from, if that is known.
        provenance: How it was made.
        notebook: What the executed notebook is, if one was run.
        metrics: What the notebook showed as its metrics, finite numbers by name.
        previous: SHA-256 of the manifest before this one, so that they form a chain.
        extra: Keys of other tools, written back untouched.
    """

    algorithm: str
    deploy_id: str
    model: Descriptor
    format: str
    uri: str
    source: Source | None
    created: datetime
    inputs: Digest | None
    provenance: Provenance
    notebook: Descriptor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    previous: Digest | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)


_OURS = (
    "model_filepath",
    "model_md5_hash",
    "model_origin_commit_SHA",
    "model_origin_commit_msg",
    "model_origin_repo",
    "model_origin_ref",
    "model_uploaded_utc",
    "manifest_version",
    "algorithm",
    "model_sha256_hash",
    "model_size_bytes",
    "model_media_type",
    "model_format",
    "deploy_id",
    "model_provenance",
    "previous_manifest_sha256",
    "model_origin_commit_utc",
    "model_inputs_sha256",
    "notebook_sha256_hash",
    "notebook_size_bytes",
    "notebook_md5_hash",
    "model_metrics",
)


def write(manifest: Manifest) -> str:
    """Print the manifest as the text of its file.

    Returns:
        Indented JSON, other tools' keys first, ending in a newline.
    """
    source = manifest.source
    known: dict[str, JSON] = {
        "model_filepath": manifest.uri.removeprefix("data://"),
        "model_md5_hash": manifest.model.md5,
        "model_origin_commit_SHA": source.commit
        if source
        else "",  # read as texts by every script of the original Action
        "model_origin_commit_msg": source.message if source else "",
        "model_origin_repo": source.repository if source else "",
        "model_origin_ref": source.ref if source else "",
        "model_uploaded_utc": manifest.created.astimezone(UTC).strftime(_TIME),
        "manifest_version": VERSION,
        "algorithm": manifest.algorithm,
        "model_sha256_hash": manifest.model.hex,
        "model_size_bytes": manifest.model.size,
        "model_media_type": manifest.model.media_type,
        "model_format": manifest.format,
        "deploy_id": manifest.deploy_id,
        "model_provenance": {name: value for name, value in asdict(manifest.provenance).items() if value},
    }
    if source:
        known["model_origin_commit_utc"] = source.committed.astimezone(UTC).strftime(_TIME)
    if manifest.inputs:
        known["model_inputs_sha256"] = manifest.inputs.removeprefix("sha256:")
    if manifest.previous:
        known["previous_manifest_sha256"] = manifest.previous.removeprefix("sha256:")
    if manifest.notebook:
        known |= {
            "notebook_sha256_hash": manifest.notebook.hex,
            "notebook_size_bytes": manifest.notebook.size,
            "notebook_md5_hash": manifest.notebook.md5,
        }
    if manifest.metrics:
        known["model_metrics"] = dict(manifest.metrics)
    others = {key: value for key, value in manifest.extra.items() if key not in _OURS}
    return json.dumps(others | known, indent=2, ensure_ascii=True) + "\n"


def read(text: str) -> Manifest | None:
    """Read a manifest that we wrote.

    Args:
        text: Content of the file.

    Returns:
        The manifest, or none where the file is a placeholder (`./model.pkl`) or another tool's alone.

    Raises:
        ConfigError: The text is not a JSON object, or its keys do not fit together.
    """
    found = _object(text)
    if found.get("manifest_version") != VERSION:
        return None
    try:
        return Manifest(
            algorithm=_text(found, "algorithm"),
            deploy_id=_text(found, "deploy_id"),
            model=_descriptor(found, "model", media_type=_text(found, "model_media_type")),
            format=_text(found, "model_format"),
            uri="data://" + _text(found, "model_filepath").removeprefix("data://"),
            source=_source(found),
            created=_time(found, "model_uploaded_utc"),
            inputs=_digest(found, "model_inputs_sha256") if "model_inputs_sha256" in found else None,
            provenance=_provenance(found["model_provenance"]),
            notebook=_descriptor(found, "notebook", media_type="application/x-ipynb+json")
            if "notebook_sha256_hash" in found
            else None,
            metrics=_numbers(found.get("model_metrics", {})),
            previous=_digest(found, "previous_manifest_sha256") if "previous_manifest_sha256" in found else None,
            extra=other_keys(text),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{FILE} is damaged at {error}; deploy again to write it anew") from error


def other_keys(text: str) -> dict[str, JSON]:
    """Read the keys of other tools, which a new manifest must keep.

    Returns:
        All keys that are not ours, in their order.
    """
    return {key: value for key, value in _object(text).items() if key not in _OURS}


def _object(text: str) -> dict[str, JSON]:
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{FILE} is not JSON ({error}); correct or delete it") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{FILE} is not a JSON object; correct or delete it")
    return found


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says a key twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    found = float(text)
    return found if isfinite(found) else _no_number(text)


def _descriptor(found: Mapping[str, JSON], prefix: str, *, media_type: str = OCTETS) -> Descriptor:
    size = found[f"{prefix}_size_bytes"]
    if type(size) is not int or size < 0:
        raise TypeError(f"{prefix}_size_bytes")
    return Descriptor(
        media_type=media_type,
        digest=_digest(found, f"{prefix}_sha256_hash"),
        size=size,
        md5=_hex(found, f"{prefix}_md5_hash", digits=32),
    )


def _source(found: Mapping[str, JSON]) -> Source | None:
    commit = _text(found, "model_origin_commit_SHA")
    if not commit:
        return None
    return Source(
        repository=_text(found, "model_origin_repo"),
        ref=_text(found, "model_origin_ref"),
        commit=commit,
        message=_text(found, "model_origin_commit_msg"),
        committed=_time(found, "model_origin_commit_utc"),
    )


def _provenance(found: JSON) -> Provenance:
    known = {field.name for field in fields(Provenance)}
    return Provenance(**{name: _text(found, name) for name in found if name in known})


def _numbers(found: JSON) -> dict[str, float]:
    if not isinstance(found, dict) or not all(type(number) in {int, float} for number in found.values()):
        raise TypeError("model_metrics")
    return {name: float(number) for name, number in found.items()}


def _text(found: Mapping[str, JSON], key: str) -> str:
    value = found[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _digest(found: Mapping[str, JSON], key: str) -> Digest:
    return Digest("sha256:" + _hex(found, key, digits=64))


def _hex(found: Mapping[str, JSON], key: str, *, digits: int) -> str:
    text = _text(found, key)
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", text):
        raise ValueError(key)
    return text


def _time(found: Mapping[str, JSON], key: str) -> datetime:
    return datetime.strptime(_text(found, key), _TIME).replace(tzinfo=UTC)
