"""What kind of file a model is, found by its first bytes. For people to read; nothing is decided by it."""

from __future__ import annotations

from pathlib import Path

_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PK\x03\x04", "zip"),  # PyTorch, NumPy archives, Keras
    (b"GGUF", "gguf"),
    (b"PAR1", "parquet"),
    (b"\x93NUMPY", "numpy"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"SQLite format 3\x00", "sqlite"),
)


def format_of(path: Path) -> str:
    r"""Say what kind of file `path` is.

    Returns:
        A word, `unknown` where the first bytes tell nothing.

    Source:
        The formats' own specifications; for safetensors the length of the header and its first brace.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile() as file:
        ...     _ = file.write(b"PK\x03\x04..."), file.flush()
        ...     format_of(Path(file.name))
        'zip'
    """
    with path.open("rb") as file:
        start = file.read(64)
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5:
        return "pickle"
    if start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") < 100_000_000:
        return "safetensors"
    if start.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "unknown"
