"""`examples/from-a-notebook.ipynb`, run by a real kernel against a platform that really runs; what it shows counts."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pushpoint.environments import make_environment
from pushpoint.names import algorithm_name
from pushpoint.notebooks import execute
from tests.conftest import Platform

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "from-a-notebook.ipynb"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment made as the notebook's first cell says."""
    folder = tmp_path_factory.mktemp("environment")
    (command,) = re.findall(r"pip install (.*)", "".join(json.loads(EXAMPLE.read_text())["cells"][0]["source"]))
    asked = [str(ROOT) if name == "pushpoint" else name for name in command.split() if name != "notebook"]
    (folder / "requirements.txt").write_text("\n".join(asked))
    return make_environment(folder / "requirements.txt", root=folder / "made", extra=("ipykernel",), say=print).python


class Executed:
    """A notebook, run to its end in a folder."""

    def __init__(self, notebook: Path, folder: Path, python: Path, platform: Platform) -> None:
        output = folder / "executed.ipynb"
        variables = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(folder)}
        variables |= {"PUSHPOINT_URL": platform.url, "PUSHPOINT_API_KEY": platform.key}
        execute(notebook, output=output, python=python, directory=folder, variables=variables, say=lambda _event: None)
        assert platform.key not in output.read_text()
        node = nbformat.read(str(output), as_version=4)  # type: ignore[no-untyped-call]
        self.cells = {cell.source: list(cell.outputs) for cell in node.cells if cell.cell_type == "code"}

    def outputs(self, text: str) -> list[Any]:
        (found,) = (outputs for source, outputs in self.cells.items() if text in source)
        return found

    def printed(self, text: str) -> str:
        assert {output.name for output in self.outputs(text) if output.output_type == "stream"} <= {"stdout"}
        return "".join(output.text for output in self.outputs(text) if output.output_type == "stream")

    def drawn(self, text: str) -> str:
        (found,) = (output.data for output in self.outputs(text) if "data" in output)
        return str(found["text/html"])


@pytest.mark.slow
def test_the_example_goes_from_a_notebook_to_an_endpoint_and_changes_nothing_the_second_time(
    platform: Platform, tmp_path: Path, python: Path
) -> None:
    first = Executed(EXAMPLE, tmp_path, python, platform)
    assert re.search(r"accuracy on unseen digits: 0\.9\d\d", first.printed("joblib.dump"))
    assert "ann/digits was created" in first.printed("client.algorithm")
    assert "bytes sent to data://ann/digits/digits_" in first.printed("client.algorithm")
    assert "sha256:" in first.drawn("client.algorithm")
    assert "in no commit of a git repository" in first.printed("algorithm.push")
    assert "build succeeded" in first.printed("algorithm.push")
    assert "<caption>ann/digits 0.1.0</caption>" in first.drawn("build.publish")
    assert "accuracy" in first.drawn("build.publish")
    assert re.search(r"'digit': 0, 'score': 0\.\d+", str(first.outputs("algorithm(sample)")))
    assert "&quot;digit&quot;: 1" in first.drawn("algorithm.call")
    assert "InputError: send 64 numbers from 0 to 16; correct the input" in first.printed("CallFailed")
    assert ">0.1.0<" in first.drawn("algorithm.releases")

    again = Executed(EXAMPLE, tmp_path, python, platform)
    assert "0 bytes sent" in again.printed("client.algorithm")
    assert "holds the same already" in again.printed("algorithm.push")
    assert "<caption>ann/digits 0.1.0</caption>" in again.drawn("build.publish")
    with platform.client() as wire:
        assert [one.version for one in wire.releases(algorithm_name("ann/digits"))] == ["0.1.0"]


@pytest.mark.slow
def test_a_large_upload_draws_a_bar_that_ends_as_a_line(platform: Platform, tmp_path: Path, python: Path) -> None:
    source = """
import os, pushpoint
from IPython import get_ipython

seen = []
publish = get_ipython().display_pub.publish
def noting(data, *rest, **more):
    seen.append(data)
    return publish(data, *rest, **more)
get_ipython().display_pub.publish = noting

open("large.bin", "wb").write(os.urandom(32 << 20))
client = pushpoint.Client()
client.algorithm("large").upload("large.bin");
assert any('<progress value="0" max="33554432">' in data.get("text/html", "") for data in seen), seen
"""
    cells: list[Any] = [{"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}]
    notebook = tmp_path / "large.ipynb"
    notebook.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    outputs = Executed(notebook, tmp_path, python, platform).outputs("large.bin")
    bars = [output.data for output in outputs if output.output_type == "display_data"]
    assert [re.sub(r"\d+\.\d s", "N s", bar["text/plain"]) for bar in bars] == [
        "hashing: 33.6 MB in N s",
        "uploading: 33.6 MB in N s",
    ]
    assert not any("text/html" in bar for bar in bars)


def test_the_example_is_committed_without_its_outputs() -> None:
    for cell in json.loads(EXAMPLE.read_text())["cells"]:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
