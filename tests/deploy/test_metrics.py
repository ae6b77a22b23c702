"""What a notebook shows as its metrics goes along with the model, and its page is there whatever happened."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Platform
from tests.repositories import TRAINING, trained

METRIC = "import pushpoint\npushpoint.metric('accuracy', {})"


def test_metrics_reach_manifest_releases_and_inference_code(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "measured")
    assert repository.deploy(platform).json["deployment"]["release"]["metrics"] == {}
    assert "model_metrics" not in repository.git(
        "--git-dir", str(repository.pushed(platform)), "show", "master:model_manifest.json"
    )

    repository.notebook(TRAINING, METRIC.format(0.973), METRIC.format(0.5).replace("accuracy", "f1 (macro)"))
    repository.inference(
        "from pushpoint.runtime import model\n\n\ndef apply(input):\n    return model.manifest['model_metrics']\n"
    )
    repository.commit("Measure")
    ran = repository.deploy(platform)
    expected = {"accuracy": 0.973, "f1 (macro)": 0.5}
    assert ran.json["deployment"]["release"]["metrics"] == expected
    assert "accuracy = 0.973" in ran.err
    text = repository.git("--git-dir", str(repository.pushed(platform)), "show", "master:model_manifest.json")
    assert json.loads(text)["model_metrics"] == expected
    assert repository.call(platform) == expected
    listed = repository.run(platform, "releases", "--json").json
    assert [release["metrics"] for release in listed] == [expected, {}]
    assert "accuracy 0.973, f1 (macro) 0.5" in repository.run(platform, "releases").out


def test_the_page_of_a_failed_training_is_kept_and_clean_in_git(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "unmeasured")
    repository.notebook(TRAINING, METRIC.format("float('nan')"))
    commit = repository.commit("Measure badly")
    ran = repository.deploy(platform)
    assert ran.code == 3
    assert "'accuracy' is nan; find out why, or leave it out" in ran.error
    kept = repository.directory / ".pushpoint" / commit[:12]
    assert {path.name for path in kept.iterdir()} == {"model_training.ipynb", "model_training.html"}
    assert "find out why" in (kept / "model_training.html").read_text()
    assert repository.git("status", "--porcelain") == ""
