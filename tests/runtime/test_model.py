from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pushpoint.runtime import model

PROGRAM = "from pushpoint.runtime import model\nprint(model.path)\nprint(model.manifest['note'])\n"


def repository(folder: Path, path: object = "./model.pkl") -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "algorithm.py").write_text(PROGRAM)
    (folder / "model_manifest.json").write_text(json.dumps({"model_filepath": path, "note": "here"}))
    return folder


def run(program: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(program)], cwd=directory, capture_output=True, text=True, check=False)


def test_run_by_hand_the_model_is_found_beside_the_working_folder_or_the_manifest(tmp_path: Path) -> None:
    code = repository(tmp_path / "notebooks" / "algorithm")
    (code / "model.pkl").touch()
    for directory in (code, code / "src", tmp_path / "notebooks", tmp_path):
        found = run(code / "src" / "algorithm.py", directory)
        assert found.stdout == f"{code / 'model.pkl'}\nhere\n", found.stderr
    (tmp_path / "notebooks" / "model.pkl").touch()  # the one the notebook has just written
    found = run(code / "src" / "algorithm.py", tmp_path / "notebooks")
    assert found.stdout == f"{tmp_path / 'notebooks' / 'model.pkl'}\nhere\n"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    code = repository(tmp_path / "a")
    assert "run the notebook that writes it" in run(code / "src" / "algorithm.py", code).stderr
    code = repository(tmp_path / "b", "data://owner/c/model.pkl")
    assert "which is on the platform" in run(code / "src" / "algorithm.py", code).stderr
    code = repository(tmp_path / "c", None)
    assert "has no `model_filepath`" in run(code / "src" / "algorithm.py", code).stderr
    (code / "model_manifest.json").unlink()
    assert "there is no model_manifest.json in" in run(code / "src" / "algorithm.py", code).stderr


def test_in_a_worker_it_is_what_the_worker_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_given", None)
    model.give("/a/model.pkl", {"a": 1})
    assert model.path == "/a/model.pkl"
    assert model.manifest == {"a": 1}
    model.give(None, None)
    assert model.manifest == {}
    with pytest.raises(model.ModelNotFound, match="has no model"):
        _ = model.path
    with pytest.raises(AttributeError):
        _ = model.nothing
