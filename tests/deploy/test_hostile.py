"""Repositories that are odd, by accident or by intent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.repositories import INFERENCE, checked_in, trained

MESSAGES = {
    "large": "A large one\n\n" + "x" * (1 << 20),
    "quoted": 'It\'s "quoted" `id` $(id) ; rm -rf /tmp/none & \\ %s {0} #',
    "lines": "\n\nfirst\n\n\nsecond\r\n::error file=x::third\n::set-output name=a::b\n",
    "escapes": "red \x1b[31m \x1b]0;title\x07 \x9b2J back\x08space \u202ereversed",
    "markup": "[bold]not bold[/bold] [link=http://x]x[/link] [/]",
    "unicode": "Größe 模型 🚀 e\u0301 \ufeff",
    "options": "--help",
    "trailer": "Change\n\nPushpoint-Deploy-Id: " + "0" * 64,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_only_a_message(platform: Platform, tmp_path: Path, name: str) -> None:
    repository = checked_in(tmp_path / "ml", f"message_{name}")
    repository.git("commit", "--quiet", "--amend", "--cleanup=verbatim", "--file=-", stdin=MESSAGES[name].encode())
    ran = repository.deploy(platform)
    assert ran.version == "0.1.0"
    assert ran.json["deployment"]["release"]["source"]["message"].strip() == MESSAGES[name].strip()
    assert repository.call(platform)["commit"] == repository.git("rev-parse", "HEAD")

    for command in (["releases", f"ann/message_{name}"], ["plan"], ["deploy"], ["logs", f"ann/message_{name}"]):
        shown = repository.run(platform, *command)
        assert shown.code == 0, shown.err
        said = shown.out + shown.err
        assert not set(said) & set("\x1b\x07\x08\x9b\u202e")
        assert not [line for line in said.splitlines() if line.startswith("::")]
        assert len(said) < 20_000


def test_files_of_any_name(platform: Platform, tmp_path: Path) -> None:
    names = [
        "with space.txt",
        "-leading",
        "--help",
        "Größe 模型.txt",
        "a\nb",
        "quo'te\"s",
        "*",
        "[x]",
        "a" * 200,
        ".hidden",
    ]
    repository = checked_in(tmp_path / "ml", "named")
    for name in names:
        repository.write(f"named/{name}", name)
    repository.write("named/-rf/src", "x")
    listing = "import os\nfound = sorted(os.listdir())\n" + INFERENCE.replace("{**found,", "{**found, 'files': names,")
    repository.inference(listing.replace("found = sorted", "names = sorted"))
    repository.commit()
    assert repository.deploy(platform).version == "0.1.0"
    answer = repository.call(platform)
    assert set(names) <= set(answer["files"])
    assert repository.deploy(platform).json["up_to_date"] is True


def test_settings_of_any_name(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "m l", "settings")
    repository.settings(
        notebook="no te-books/-träining.ipynb",
        model_path="no te-books/-mödel v1.tar.gz",
        requirements="-require ments.txt",
        inference="in ference",
        data=["-da ta", "*"],
        collection="data://ann/models_of_mine",
        sample_input=['it\'s "$(id)"'],
    )
    source = "open('-mödel v1.tar.gz', 'w').write('model')\nassert open('../-da ta/x').read() == 'x'"
    repository.notebook(source, path="no te-books/-träining.ipynb")
    for path, text in {"-require ments.txt": "", "-da ta/x": "x", "*": "star"}.items():
        repository.write(path, text)
    (repository.directory / "settings").rename(repository.directory / "in ference")
    (repository.directory / ".gitignore").write_text("*.gz\n")
    repository.commit()
    ran = repository.deploy(platform)
    assert ran.version == "0.1.0"
    name = ran.json["deployment"]["release"]["model"]["uri"].removeprefix("data://ann/models_of_mine/")
    assert name.endswith(".tar.gz")
    assert name.startswith("-mödel v1_")
    assert repository.run(platform, "verify").code == 0
    assert repository.deploy(platform).json["up_to_date"] is True


def test_links_in_the_inference_folder_lead_nowhere(platform: Platform, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary of the host")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("canary of the host")
    repository = checked_in(tmp_path / "ml", "links")
    targets = {"to_file": str(secret), "to_folder": str(tmp_path / "folder"), "up": "../../secret"}
    for name, target in (targets | {"key": str(platform.home / "api-key")}).items():
        os.symlink(target, repository.directory / "links" / name)
    os.symlink(secret, repository.directory / "links" / "model_manifest.json")
    read = """
def read(name):
    try:
        return open(name).read()
    except OSError as error:
        return type(error).__name__
"""
    code = INFERENCE.replace("{**found,", "{**found, 'read': [read(name) for name in input],")
    repository.inference(read + code)
    repository.commit()
    assert repository.deploy(platform).version == "0.1.0"
    assert secret.read_text() == "canary of the host", "the manifest was not written through a link"
    asked = ["to_file", "to_folder/inside", "up", "key", str(platform.home / "platform.db"), str(secret)]
    found = repository.call(platform, asked)["read"]
    if "sandbox: bubblewrap" in repository.run(platform, "logs", "ann/links").out:
        assert set(found) <= {"FileNotFoundError", "PermissionError"}
    listed = repository.git("--git-dir", str(repository.pushed(platform)), "ls-tree", "master", "to_file")
    assert listed.startswith("120000"), "a link stays a link"
    content = repository.git("--git-dir", str(repository.pushed(platform)), "log", "-p", "master")
    assert "canary" not in content


def test_a_manifest_that_is_a_link_is_replaced(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "linked")
    os.symlink("/etc/hostname", repository.directory / "linked" / "model_manifest.json")
    repository.commit()
    assert repository.deploy(platform).version == "0.1.0"
    bare = str(repository.pushed(platform))
    assert repository.git("--git-dir", bare, "ls-tree", "master", "model_manifest.json").startswith("100644")
    written = json.loads(repository.git("--git-dir", bare, "show", "master:model_manifest.json"))
    assert written["algorithm"] == "ann/linked"


def test_what_git_ignores_stays_where_it_is(platform: Platform, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "ignoring")
    repository.write(".gitignore", "model.pkl\n.env\n*.log\n")
    repository.write("ignoring/.gitignore", "kept.log\n")
    repository.write("ignoring/kept.log", "tracked although it is ignored")
    repository.git("add", "--force", "ignoring/kept.log")
    repository.write("ignoring/.env", "canary")
    repository.write("ignoring/notes.log", "canary")
    tidy = "open('model.pkl', 'w').write('x')\nopen('ignoring/src/ignoring.py', 'a').write('raise OSError')"
    repository.notebook(tidy)
    repository.commit()
    assert repository.deploy(platform).version == "0.1.0", "what the notebook wrote to the code is not in the commit"
    listed = repository.git("--git-dir", str(repository.pushed(platform)), "ls-tree", "-r", "--name-only", "master")
    assert "kept.log" in listed.splitlines()
    assert ".env" not in listed
    assert "notes.log" not in listed


def test_files_that_are_gone_from_the_folder_disappear_and_the_keys_of_others_stay(
    platform: Platform, tmp_path: Path
) -> None:
    repository = checked_in(tmp_path / "ml", "mirror")
    repository.write("mirror/old.txt", "old")
    repository.write("mirror/model_manifest.json", '{"theirs": {"kept": [1, null]}, "model_filepath": "./model.pkl"}')
    repository.commit()
    assert repository.deploy(platform).version == "0.1.0"
    bare = str(repository.pushed(platform))
    first = repository.git("--git-dir", bare, "ls-tree", "-r", "--name-only", "master").splitlines()
    assert {"old.txt", "algorithmia.conf", "model_manifest.json", "src/mirror.py"} <= set(first)
    assert not any(name.startswith(".git") for name in first)
    (repository.directory / "mirror" / "old.txt").unlink()
    repository.commit()
    assert repository.deploy(platform).version == "0.2.0"
    second = repository.git("--git-dir", bare, "ls-tree", "-r", "--name-only", "master").splitlines()
    assert set(first) - set(second) == {"old.txt"}
    written = json.loads(repository.git("--git-dir", bare, "show", "master:model_manifest.json"))
    assert written["theirs"] == {"kept": [1, None]}
    assert written["model_filepath"].startswith("ann/mirror/model_")


def test_a_link_in_place_of_the_folder_for_what_a_deploy_leaves_is_refused(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (repository.directory / ".pushpoint").symlink_to(tmp_path / "elsewhere")
    ran = repository.deploy(platform)
    assert ran.code == 2
    assert ".pushpoint is a link, and a deploy writes there; remove it" in ran.error
    repository.commit()
    ran = repository.deploy(platform)
    assert ran.code == 2
    assert "the commit holds one; remove it: git rm -r .pushpoint" in ran.error
    assert list((tmp_path / "elsewhere").iterdir()) == []
