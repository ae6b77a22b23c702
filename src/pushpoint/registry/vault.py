"""Secrets of an algorithm, sealed at rest: who reads the database or its backup alone reads none of them.

AES-256-GCM under a key in a file of the home, mode 0600, made at first need. What is sealed is bound to the row that
it was sealed for: moved to another row, it does not open.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pushpoint.errors import IntegrityError

KEY_FILE = "vault-key"
_NONCE = 12  # bytes; random ones collide after some 2**48 seals


class Vault:
    """Seals and opens texts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, text: str, row: str) -> str:
        """Seal a text.

        Args:
            text: The secret.
            row: What it belongs to; needed again to open it.

        Returns:
            Base64.
        """
        nonce = secrets.token_bytes(_NONCE)
        return base64.b64encode(nonce + AESGCM(self._key()).encrypt(nonce, text.encode(), row.encode())).decode()

    def open(self, sealed: str, row: str) -> str:
        """Open what was sealed for the same row.

        Returns:
            The secret.

        Raises:
            IntegrityError: It was sealed under another key or for another row, or was changed.
        """
        try:
            whole = base64.b64decode(sealed, validate=True)
            return AESGCM(self._path.read_bytes()).decrypt(whole[:_NONCE], whole[_NONCE:], row.encode()).decode()
        except (InvalidTag, ValueError, FileNotFoundError) as error:
            why = f"a secret does not open with the platform's {self._path.name}"
            advice = "restore that file from the backup that the database is from, or set the secret again"
            raise IntegrityError(f"{why}; {advice}") from error

    def _key(self) -> bytes:
        if not self._path.exists():
            draft = self._path.with_suffix(f".{secrets.token_hex(4)}")
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(AESGCM.generate_key(256))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # someone else was faster, and theirs counts
                os.link(draft, self._path)
            draft.unlink()
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return self._path.read_bytes()
