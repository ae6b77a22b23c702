"""The examples and the template are whole repositories: each is deployed to a real platform and answers."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pushpoint.cli import app
from pushpoint.cli.new import action_reference
from pushpoint.client import Client
from pushpoint.config import FILE, SETTINGS, read_file, resolve
from pushpoint.errors import AlreadyExists, InvalidName
from pushpoint.names import AlgorithmName, reference
from tests.conftest import Platform

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "template": ROOT / "template",
    "sentiment": ROOT / "examples" / "sentiment",
    "sentiment-github": ROOT / "examples" / "sentiment-github",
    "checked-in-model": ROOT / "examples" / "checked-in-model",
}
folders = pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)


def files_of(folder: Path) -> list[str]:
    """The folder's files that belong to the repository, not what a run left there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: nobody says which files belong to the folder")
    return sorted(name for name in done.stdout.split("\0") if name and (folder / name).is_file())


def copy_of(folder: Path, to: Path) -> Path:
    for name in files_of(folder):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, to / name)
    return to


def new(name: str, target: Path, *options: str) -> Path:
    done = CliRunner().invoke(app, ["new", name, *options, "--directory", str(target)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return target


# -- deploys ------------------------------------------------------------------------------------------------


def deploy(platform: Platform, repository: Path) -> dict[str, Any]:
    who = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@localhost"}
    who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
    for arguments in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "-qm", "First"]):
        subprocess.run(["git", *arguments], cwd=repository, env=os.environ | who, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pushpoint", "deploy", "--json"],
        cwd=repository,
        env=platform.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert status.stdout == "", "a deploy leaves the checkout clean"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def answers_its_cases(platform: Platform, algorithm: str, cases: Path) -> None:
    """Send each input of TEST_CASES.json and compare as its type says."""
    with platform.client() as client:
        for case in json.loads(cases.read_text()):
            result = call(client, algorithm, case["input"])
            value = result.value
            if case["type"] == "EXCEPTION":
                assert result.error, case["case_name"]
                assert result.error["error_type"] == "InputError", "the algorithm's own, with advice"
                continue
            assert not result.error, f"{case['case_name']}: {result.error}"
            for key in case.get("tree", []):
                value = value[key]
            match case["type"]:
                case "EXACT_MATCH":
                    assert value == case["expected_output"], case["case_name"]
                case "GREATER_OR_EQUAL":
                    assert value >= case["expected_output"], case["case_name"]
                case kind:
                    assert kind == "NO_EXCEPTION"


def call(client: Client, algorithm: str, value: object) -> Any:
    return client.call(reference(algorithm), json.dumps(value).encode(), content_type="application/json")


def is_live_and_knows_its_model(platform: Platform, deployed: dict[str, Any], value: object) -> None:
    live = deployed["deployment"]
    assert (live["state"], live["generation"], live["release"]["version"]) == ("live", 1, "0.1.0")
    with platform.client() as client:
        result = call(client, deployed["algorithm"], value)
        owner, _, name = deployed["algorithm"].partition("/")
        assert client.live(AlgorithmName(owner, name)) is not None
    assert result.lineage["model-sha256"] == live["release"]["model"]["sha256"]
    assert result.value["model"]["sha256"] == live["release"]["model"]["sha256"]
    assert result.value["model"]["commit"] == live["release"]["source"]["commit"]


def test_the_example_with_a_checked_in_model_is_deployed_and_answers(platform: Platform, tmp_path: Path) -> None:
    repository = copy_of(FOLDERS["checked-in-model"], tmp_path / "repository")
    deployed = deploy(platform, repository)
    assert deployed["algorithm"] == "ann/iris"
    assert not list(repository.rglob("*.ipynb")), "nothing was trained"
    is_live_and_knows_its_model(platform, deployed, [5.1, 3.5, 1.4, 0.2])
    answers_its_cases(platform, "ann/iris", repository / "iris" / "TEST_CASES.json")


def test_what_new_lays_down_is_deployed_and_answers(platform: Platform, tmp_path: Path) -> None:
    repository = new("wine", tmp_path / "repository")
    deployed = deploy(platform, repository)
    assert deployed["algorithm"] == "ann/wine"
    sample = read_file(repository / FILE)["sample-input"]
    is_live_and_knows_its_model(platform, deployed, sample)
    answers_its_cases(platform, "ann/wine", repository / "wine" / "TEST_CASES.json")
    assert list((repository / ".pushpoint").rglob("*.ipynb")), "the executed notebook is kept"
    assert list((repository / ".pushpoint").rglob("*.html")), "and its page"
    assert deployed["deployment"]["release"]["metrics"]["accuracy"] > 0.9


@pytest.mark.slow
def test_the_sentiment_example_is_deployed_and_answers(platform: Platform, tmp_path: Path) -> None:
    repository = copy_of(FOLDERS["sentiment"], tmp_path / "repository")
    deployed = deploy(platform, repository)
    assert deployed["algorithm"] == "ann/sentiment"
    is_live_and_knows_its_model(platform, deployed, "It works great and I love it.")
    answers_its_cases(platform, "ann/sentiment", repository / "sentiment" / "TEST_CASES.json")
    assert set(deployed["deployment"]["release"]["metrics"]) == {"accuracy", "ROC AUC"}
    assert len(list((repository / ".pushpoint").rglob("plot-01-cell-*.png"))) == 1


# -- what is in the folders ---------------------------------------------------------------------------------


@folders
def test_only_settings_that_exist_are_set(folder: Path) -> None:
    config = resolve(file=read_file(folder / FILE), environment={}, flags={})
    assert config.sample_input, "a release must answer something before it gets traffic"
    assert (folder / config.algorithm / "src" / f"{config.algorithm}.py").is_file()
    assert (folder / config.notebook).is_file() or (folder / config.model_path).is_file()


def test_the_template_explains_every_setting_with_its_default(tmp_path: Path) -> None:
    text = (new("wine", tmp_path / "wine") / FILE).read_text()
    (tmp_path / FILE).write_text(re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE))
    shown = read_file(tmp_path / FILE)
    assert list(shown) == [setting.name for setting in SETTINGS]
    for setting in SETTINGS:
        value = tuple(shown[setting.name]) if setting.kind == "list" else shown[setting.name]
        assert value == setting.default or setting.name in {
            "algorithm",
            "inference",
            "collection",
            "repository",
            "sample-input",
        }


@folders
def test_a_folder_holds_what_it_needs_and_nothing_that_was_made(folder: Path) -> None:
    names = files_of(folder)
    assert {"README.md", FILE, ".gitignore"} <= set(names)
    assert not [name for name in names if re.search(r"__pycache__|\.pushpoint|checkpoints|\.DS_Store|\.venv", name)]
    if "model_training.ipynb" in names:
        assert "model.pkl" not in names
        for cell in json.loads((folder / "model_training.ipynb").read_text())["cells"]:
            assert not cell.get("outputs"), "a notebook is committed without its outputs"
            assert not cell.get("execution_count")


@folders
def test_the_placeholder_names_the_local_model(folder: Path) -> None:
    (placeholder,) = folder.glob("*/model_manifest.json")
    assert json.loads(placeholder.read_text()) == {"model_filepath": "./model.pkl"}


@pytest.mark.parametrize("folder", [FOLDERS["template"], FOLDERS["sentiment"]], ids=["template", "sentiment"])
def test_the_notebook_and_the_endpoint_agree_on_versions(folder: Path) -> None:
    (inference,) = folder.glob("*/requirements.txt")

    def pins(file: Path) -> set[str]:
        lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
        return {line for line in lines if line}

    assert pins(inference) <= pins(folder / "requirements.txt")
    assert all("==" in pin for pin in pins(inference))


WORKFLOWS = sorted(
    [
        *FOLDERS["template"].rglob(".github/workflows/*.yml"),
        *FOLDERS["sentiment"].rglob(".github/workflows/*.yml"),
        *FOLDERS["sentiment-github"].rglob(".github/workflows/*.yml"),
        *(ROOT / ".github").rglob("*.yml"),
        *ROOT.glob("action.y*ml"),
    ]
)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_workflow_is_yaml_and_pins_what_it_uses(file: Path) -> None:
    found = importlib.import_module("yaml").safe_load(file.read_text())
    jobs = found.get("jobs", {"action": found.get("runs")})
    assert "permissions" in found or "runs" in found
    for job in jobs.values():
        for step in job["steps"]:
            if "uses" in step and not step["uses"].startswith("./"):
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|PUSHPOINT_ACTION", step["uses"]), step["uses"]
            assert "${{" not in step.get("run", ""), "a value in a script is a command waiting to happen; use env"


def test_there_are_workflows_to_check() -> None:
    assert len(WORKFLOWS) >= 2
    template, sentiment = (FOLDERS[name] / ".github/workflows/deploy.yml" for name in ("template", "sentiment"))
    for name in ("PUSHPOINT_URL", "PUSHPOINT_API_KEY", "fetch-depth: 0"):
        assert name in template.read_text()
        assert name in sentiment.read_text()


# -- pushpoint new ------------------------------------------------------------------------------------------


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def of_the_template() -> set[str]:
    """All modules that the template imports, in the notebook or in the inference code."""
    cells = json.loads((FOLDERS["template"] / "model_training.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code = [source for source in code if not source.startswith("%")]
    code += [file.read_text() for file in FOLDERS["template"].rglob("*.py")]
    return {name for source in code for name in imported(source)}


@pytest.mark.parametrize("name", sorted(of_the_template() | {"json", "random", "types", "numpy", "scipy", "IPython"}))
def test_an_algorithm_cannot_be_named_like_a_module_it_would_hide(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName, match="Python has a module of that name"):
        CliRunner().invoke(app, ["new", name, "-C", str(tmp_path / "x")], catch_exceptions=False, standalone_mode=False)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["", "a-b", "../up", "1st", "a" * 31])
def test_an_algorithm_cannot_be_named_otherwise_than_the_platform_allows(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName, match="use a letter"):
        CliRunner().invoke(app, ["new", name, "-C", str(tmp_path / "x")], catch_exceptions=False, standalone_mode=False)


def test_new_puts_the_name_everywhere_and_keeps_everything_else(tmp_path: Path) -> None:
    made = new("wine", tmp_path / "wine")
    expected = [name.replace("ALGORITHM", "wine") for name in files_of(FOLDERS["template"])]
    found = sorted(str(file.relative_to(made)) for file in made.rglob("*") if file.is_file())
    assert found == sorted(expected)
    for file in files_of(FOLDERS["template"]):
        text = (made / file.replace("ALGORITHM", "wine")).read_text()
        kept = {line for line in text.splitlines() if "uses: " not in line and "repository" not in line}
        there = (FOLDERS["template"] / file).read_text().replace("ALGORITHM", "wine").splitlines()
        assert kept <= {line.replace("PUSHPOINT_ACTION", action_reference()) for line in there}
        assert not re.search(r"ALGORITHM|PUSHPOINT_ACTION|GITHUB_OWNER|--github|--platform|--end", text)


def test_new_for_github_differs_in_what_that_hosting_needs_alone(tmp_path: Path) -> None:
    platform, github = new("wine", tmp_path / "platform"), new("wine", tmp_path / "github", "--github")
    differing = {
        str(file.relative_to(github))
        for file in github.rglob("*")
        if file.is_file() and file.read_text() != (platform / file.relative_to(github)).read_text()
    }
    assert differing == {"README.md", FILE, ".github/workflows/deploy.yml"}
    assert read_file(github / FILE)["repository"] == "https://github.com/OWNER/wine.git"
    assert "repository" not in read_file(platform / FILE)
    assert "git-token: ${{ secrets.REPOSITORY_TOKEN }}" in (github / ".github/workflows/deploy.yml").read_text()
    assert "git-token" not in (platform / ".github/workflows/deploy.yml").read_text()
    assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action_reference())


def test_the_twin_differs_from_the_sentiment_example_in_its_hosting_alone() -> None:
    twins = [FOLDERS["sentiment"], FOLDERS["sentiment-github"]]
    assert files_of(twins[0]) == files_of(twins[1])
    differing = {
        name for name in files_of(twins[0]) if (twins[0] / name).read_bytes() != (twins[1] / name).read_bytes()
    }
    assert differing == {"README.md", FILE, ".github/workflows/deploy.yml"}


def test_new_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(AlreadyExists, match="choose another folder"):
        CliRunner().invoke(app, ["new", "wine", "-C", str(tmp_path)], catch_exceptions=False, standalone_mode=False)
    assert [file.name for file in tmp_path.iterdir() if file.name != "config"] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


# -- the wheel ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the repository's files and what a careless run leaves among them."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = copy_of(ROOT, folder / "copy")
    for place in ("src/pushpoint", "template/ALGORITHM/src", "examples/sentiment/sentiment/src"):
        (copy / place / "__pycache__").mkdir(exist_ok=True)
        (copy / place / "__pycache__" / "stray.cpython-311.pyc").write_bytes(b"stray")
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder / "dist"), str(copy)], check=True)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_the_template_and_the_example_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    expected = {f"pushpoint/{name}" for name in files_of(ROOT / "src" / "pushpoint")}
    expected |= {f"pushpoint/_laid_down/template/{name}" for name in files_of(FOLDERS["template"])}
    expected |= {f"pushpoint/_laid_down/sentiment/{name}" for name in files_of(FOLDERS["sentiment"])}
    info = {name for name in found if ".dist-info/" in name}
    assert found - info == expected
    assert {name.partition("/")[2] for name in info} >= {"METADATA", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    for name in (".gitignore", ".github/workflows/deploy.yml"):
        assert f"pushpoint/_laid_down/template/{name}" in found
        assert f"pushpoint/_laid_down/sentiment/{name}" in found


@pytest.mark.slow
def test_new_works_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "fresh")], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), str(wheel)], check=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = python.parent / "pushpoint"
    subprocess.run([program, "new", "wine"], cwd=tmp_path, env=clean, check=True, capture_output=True)
    found = {str(file.relative_to(tmp_path / "wine")) for file in (tmp_path / "wine").rglob("*") if file.is_file()}
    assert found == {name.replace("ALGORITHM", "wine") for name in files_of(FOLDERS["template"])}
    where = "from pushpoint.cli.new import _shipped; print(_shipped('sentiment'))"
    shipped = subprocess.run([python, "-c", where], cwd=tmp_path, env=clean, check=True, capture_output=True, text=True)
    assert str(tmp_path / "fresh") in shipped.stdout
    assert (Path(shipped.stdout.strip()) / "model_training.ipynb").is_file()
