"""Hash while copying, compare, and only then hand out the path.

The bytes that were hashed are the bytes that are loaded: the copy is private, and nobody opens the source again.
Checks are `if`s, never assertions, so they hold under `python -O`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, Optional, Tuple

MANIFEST = "model_manifest.json"
MANIFEST_LIMIT = 16 << 20
CHUNK = 1 << 20
VERSION = 2

_SHA256 = re.compile("[0-9a-f]{64}")
_MD5 = re.compile("[0-9a-f]{32}")


class ModelRefused(Exception):
    """The manifest or the model cannot be trusted."""


def read_manifest(path: str) -> Optional[Dict[str, Any]]:
    """Read a manifest, once.

    Returns:
        The object in the file; None where there is no file.

    Raises:
        ModelRefused: It is larger than 16 MiB, not a regular file, not a JSON object, or says a key twice.
    """
    try:
        descriptor = _open_regular(path)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(MANIFEST_LIMIT + 1)
    if len(text) > MANIFEST_LIMIT:
        raise ModelRefused("{} is larger than {} bytes; deploy again".format(MANIFEST, MANIFEST_LIMIT))
    try:
        manifest = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelRefused("{} cannot be read ({}); deploy again".format(MANIFEST, error))
    if not isinstance(manifest, dict):
        raise ModelRefused("{} is not a JSON object; deploy again".format(MANIFEST))
    return manifest


def stored_model(manifest: Optional[Mapping[str, Any]]) -> Optional[str]:
    """Say which stored model the manifest names.

    Returns:
        Its address as written; None for an algorithm without a model and for a file of the algorithm's repository.

    Raises:
        ModelRefused: `model_filepath` is not a string.
    """
    path = None if manifest is None else manifest.get("model_filepath")
    if path is None:
        return None
    if not isinstance(path, str) or not path:
        raise ModelRefused("`model_filepath` in {} is not a string; deploy again".format(MANIFEST))
    return None if path.startswith("./") else path


def verify(source: str, target: str, manifest: Mapping[str, Any]) -> str:
    """Copy the model at `source` to the new file `target` and compare it with its manifest.

    At most one byte more than the manifest says is read.

    Returns:
        `target`, which holds the bytes that were hashed and can no longer be written.

    Raises:
        ModelRefused: The manifest lacks what is needed, or the bytes are not the ones it names; `target` is gone then.
    """
    name, size, expected = _expectations(manifest)
    try:
        reading = _open_regular(source)
    except OSError as error:
        raise ModelRefused("{} cannot be read ({}); deploy again".format(name, error.strerror))
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(target, flags, 0o600)
        try:
            try:
                found, actual = _copy(reading, writing, size + 1)
                _compare(name, size, expected, found, actual)
                os.fchmod(writing, 0o400)
            finally:
                os.close(writing)
        except BaseException:
            os.unlink(target)
            raise
    finally:
        os.close(reading)
    return target


def _expectations(manifest: Mapping[str, Any]) -> Tuple[str, int, List[str]]:
    name = stored_model(manifest)
    if name is None:
        raise ModelRefused("{} names no stored model".format(MANIFEST))
    sha256, md5 = manifest.get("model_sha256_hash"), manifest.get("model_md5_hash")
    size, version = manifest.get("model_size_bytes"), manifest.get("manifest_version")
    if sha256 is None:
        raise ModelRefused(
            "{} names {} without its SHA-256, and MD5 alone proves nothing; deploy again".format(MANIFEST, name)
        )
    if isinstance(version, bool) or version != VERSION:
        raise ModelRefused("`manifest_version` in {} is {!r}, not {}; deploy again".format(MANIFEST, version, VERSION))
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ModelRefused("`model_sha256_hash` in {} is not 64 hexadecimal digits; deploy again".format(MANIFEST))
    if md5 is not None and (not isinstance(md5, str) or not _MD5.fullmatch(md5)):
        raise ModelRefused("`model_md5_hash` in {} is not 32 hexadecimal digits; deploy again".format(MANIFEST))
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ModelRefused("`model_size_bytes` in {} is not a size; deploy again".format(MANIFEST))
    return name, size, ["sha256:" + sha256] + ([] if md5 is None else ["md5:" + md5])


def _copy(reading: int, writing: int, limit: int) -> Tuple[int, List[str]]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(), 0  # noqa: S324 (SHA-256 is what is trusted)
    with ThreadPoolExecutor(1) as pool:  # the digests side by side: hashlib lets go of the interpreter
        while size < limit:
            chunk = os.read(reading, min(CHUNK, limit - size))
            if not chunk:
                break
            size += len(chunk)
            other = pool.submit(sha256.update, chunk)
            md5.update(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(writing, rest) :]
            other.result()
    return size, ["sha256:" + sha256.hexdigest(), "md5:" + md5.hexdigest()]


def _compare(name: str, size: int, expected: List[str], found: int, actual: List[str]) -> None:
    if found > size:
        raise ModelRefused(
            "{} was changed: it is longer than the {} bytes of its manifest; restore it or deploy again".format(
                name, size
            )
        )
    same = [hmac.compare_digest(one, other) for one, other in zip(expected, actual)]  # noqa: B905 (Python 3.10)
    if found != size or not all(same):
        raise ModelRefused(
            "{} was changed: expected {} ({} bytes), found {} ({} bytes); restore it or deploy again".format(
                name, ", ".join(expected), size, ", ".join(actual[: len(expected)]), found
            )
        )


def _open_regular(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelRefused("{} is not a regular file; deploy again".format(os.path.basename(path)))
    return descriptor


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("the key {!r} stands there twice".format(name))
        found[name] = value
    return found


def _no_constant(word: str) -> Any:
    raise ValueError("{} is not JSON".format(word))
