"""What runs beside the algorithm, in the algorithm's own environment.

The rule: the standard library only, nothing else of ours, and Python 3.8 or newer. The algorithm's environment needs no
package of ours; `lay_down` copies these files to a folder that goes on the worker's path.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import tempfile

FLOOR = (3, 8)
EXPORTS = (
    '"""Pushpoint, as far as notebooks and algorithms need it."""\n\nfrom pushpoint.runtime.metrics import metric\n'
)
"""Text of the `pushpoint/__init__.py` that is laid down."""


def lay_down(directory: pathlib.Path) -> pathlib.Path:
    """Copy this package below `directory`, as an importable `pushpoint` that has nothing but it.

    The copy appears at once and whole (temporary folder, rename), and is made once for the same sources.

    Returns:
        The folder to put on `PYTHONPATH`.

    Raises:
        OSError: The folder cannot be written.
    """
    sources = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    texts = [(source.name, source.read_bytes()) for source in sources]
    digest = hashlib.sha256(repr([EXPORTS, texts]).encode()).hexdigest()[:16]
    target = directory / digest
    if target.is_dir():
        return target
    directory.mkdir(parents=True, exist_ok=True)
    draft = pathlib.Path(tempfile.mkdtemp(prefix=".draft-", dir=str(directory)))
    try:
        draft.chmod(0o755)
        package = draft / "pushpoint" / "runtime"
        package.mkdir(parents=True)
        (draft / "pushpoint" / "__init__.py").write_text(EXPORTS)
        for name, text in texts:
            (package / name).write_bytes(text)
        try:
            os.rename(str(draft), str(target))
        except OSError:
            if not target.is_dir():  # somebody else was first: theirs is the same
                raise
    finally:
        shutil.rmtree(str(draft), ignore_errors=True)
    return target
