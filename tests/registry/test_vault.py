"""What is sealed opens with the same key, for the same row, unchanged; else not."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pushpoint.errors import IntegrityError
from pushpoint.registry.vault import KEY_FILE, Vault

SECRET = "ghp_\u00fc p@ss\n"


def test_a_secret_opens_for_its_row_and_is_not_in_the_seal(tmp_path: Path) -> None:
    vault = Vault(tmp_path / KEY_FILE)
    assert not (tmp_path / KEY_FILE).exists(), "made at first need"
    sealed = vault.seal(SECRET, "sources/1/token")
    assert SECRET.encode() not in base64.b64decode(sealed)
    assert Vault(tmp_path / KEY_FILE).open(sealed, "sources/1/token") == SECRET
    assert vault.seal(SECRET, "sources/1/token") != sealed, "the same secret twice is not seen to be the same"
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_it_does_not_open_otherwise(tmp_path: Path) -> None:
    vault, other = Vault(tmp_path / KEY_FILE), Vault(tmp_path / "other")
    sealed = vault.seal(SECRET, "sources/1/token")
    other.seal(SECRET, "x")
    raw = base64.b64decode(sealed)
    changed = [base64.b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode() for at in range(len(raw))]
    wrong = [(vault, one, "sources/1/token") for one in (*changed, "", "x", "\u00fc", sealed[:-4], sealed + sealed)]
    wrong += [(vault, sealed, "sources/2/token"), (vault, sealed, "sources/1/webhook_secret")]
    wrong += [(other, sealed, "sources/1/token"), (Vault(tmp_path / "absent"), sealed, "sources/1/token")]
    for which, text, row in wrong:
        with pytest.raises(IntegrityError, match="set the secret again"):
            which.open(text, row)
    assert not (tmp_path / "absent").exists()


def test_of_two_that_need_the_first_key_at_once_both_use_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        sealed = list(threads.map(lambda _: Vault(tmp_path / KEY_FILE).seal(SECRET, "row"), range(32)))
    assert {Vault(tmp_path / KEY_FILE).open(one, "row") for one in sealed} == {SECRET}
