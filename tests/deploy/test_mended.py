"""What is deployed is the commit, on every machine; what stands in the way is said before anything is done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pushpoint.deploy.journal import Journal
from pushpoint.digests import describe
from pushpoint.errors import IntegrityError
from pushpoint.names import data_path
from pushpoint.report import printable, quiet
from tests.conftest import Platform
from tests.repositories import checked_in
from tests.web.support import stored


@pytest.mark.parametrize("flag", ["assume-unchanged", "skip-worktree"])
def test_a_model_that_git_was_told_to_overlook_is_looked_at(platform: Platform, tmp_path: Path, flag: str) -> None:
    repository = checked_in(tmp_path / "ml", flag.replace("-", "_"))
    repository.git("update-index", f"--{flag}", "model.pkl")
    repository.write("model.pkl", "other bytes")
    assert repository.git("status", "--porcelain", "--untracked-files=no") == "", "git says nothing of it"
    refused = repository.deploy(platform)
    assert refused.code == 2
    assert "model.pkl" in refused.error
    assert "differ from the commit" in refused.error

    repository.write("model.pkl", "a model")
    assert repository.run(platform, "plan").code == 0, "the commit's bytes are back"


@pytest.mark.parametrize(
    ("habit", "attributes"),
    [("autocrlf = true", ""), ("eol = crlf", "*.py text\n")],
    ids=["autocrlf", "eol"],
)
def test_the_code_that_is_pushed_has_the_line_ends_of_the_commit(
    platform: Platform, tmp_path: Path, habit: str, attributes: str
) -> None:
    name = f"ends_{len(attributes)}"
    repository = checked_in(tmp_path / "ml", name)
    if attributes:
        repository.write(".gitattributes", attributes)
        repository.commit()
    (tmp_path / "gitconfig").write_text(f"[core]\n\t{habit}\n")
    ran = repository.deploy(platform, "--publish", "none", GIT_CONFIG_GLOBAL=str(tmp_path / "gitconfig"))
    assert ran.code == 0, ran.err
    pushed = ["--git-dir", str(repository.pushed(platform)), "ls-tree", "master", f"src/{name}.py"]
    there = repository.git(*pushed).split()[2]
    assert there == repository.git("rev-parse", f"HEAD:{name}/src/{name}.py"), "byte for byte"


@dataclass(frozen=True)
class Made:
    text: str


class Steps:
    """A step that counts how often it is done."""

    def __init__(self) -> None:
        self.done = 0

    def make(self, text: str) -> Made:
        self.done += 1
        return Made(text)


@pytest.mark.parametrize(
    "noted",
    [b"", b"{", b"[1]", b'{"words": "a"}', b'{"text": 1}', b'{"text": "\xff"}', b"\xff\xfe", b'{"text": "\xed"}'],
)
def test_a_step_whose_noted_result_cannot_be_read_is_done_again(tmp_path: Path, noted: bytes) -> None:
    steps, file = Steps(), tmp_path / "journal.jsonl"
    Journal(file, report=quiet()).step(steps.make, "a")
    key, _, _ = file.read_bytes().partition(b" ")
    file.write_bytes(key + b" " + noted + b"\n")

    journal = Journal(file, report=quiet())
    assert journal.step(steps.make, "a") == Made("a")
    assert not journal.replayed
    assert steps.done == 2
    again = Journal(file, report=quiet())
    assert again.step(steps.make, "a") == Made("a")
    assert again.replayed, "what was noted last counts"
    assert steps.done == 2


def test_a_key_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    steps, file = Steps(), tmp_path / "journal.jsonl"
    Journal(file, report=quiet()).step(steps.make, "a")
    file.write_bytes(b'\xff\xfemake:0 {"text": "b"}\n\n \n' + file.read_bytes())
    journal = Journal(file, report=quiet())
    assert journal.step(steps.make, "a") == Made("a")
    assert journal.replayed
    assert steps.done == 1


def test_a_file_in_the_place_of_the_journal_is_refused_with_advice(platform: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "in_the_way")
    repository.write(".pushpoint", "a file")
    refused = repository.deploy(platform)
    assert refused.code == 2
    assert str(repository.directory / ".pushpoint") in refused.error
    assert "cannot be written" in refused.error
    assert "Traceback" not in refused.err
    assert (repository.directory / ".pushpoint").read_text() == "a file"


@pytest.mark.parametrize("content", [b"[{", b"{}", b'["\xff"]'])
def test_test_cases_that_cannot_be_read_are_refused_by_the_plan(
    platform: Platform, tmp_path: Path, content: bytes
) -> None:
    repository = checked_in(tmp_path / "ml", "cases")
    repository.write("cases/TEST_CASES.json", content)
    repository.commit()
    refused = repository.run(platform, "plan", "--json")
    assert refused.code == 2
    assert "TEST_CASES.json" in refused.error


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 2_499_999, 2_500_001, 7_000_000])
def test_a_model_that_changes_its_size_during_the_upload_is_not_stored(
    platform: Platform, tmp_path: Path, size: int
) -> None:
    file, path = tmp_path / "model.pkl", data_path(f"data://ann/changed/model-{size}")
    file.write_bytes(b"x" * 2_500_000)
    blob = describe(file)
    file.write_bytes(b"x" * size)
    before = stored(platform)
    with platform.client() as client:
        client.create_collection(path)
        with pytest.raises(IntegrityError, match=r"model\.pkl was changed while it was uploaded"):
            client.put(path, file, blob)
        assert client.stat(path) is None
        until = time.monotonic() + 5
        while stored(platform) != before and time.monotonic() < until:
            time.sleep(0.05)
        assert stored(platform) == before
        file.write_bytes(b"x" * 2_500_000)
        assert client.link(path, blob) is False, "the platform never had these bytes"


COMMANDS = ["::error::no", "first\n::set-output name=a::b", "  \t::add-mask::x", "a ##[error]no", "##[group]x"]


@pytest.mark.parametrize("text", COMMANDS)
def test_what_strangers_write_commands_no_runner(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert printable(text) == text, "elsewhere it is text like any other"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    shown = printable(text)
    assert not [line for line in shown.splitlines() if line.strip().startswith("::")]
    assert "##[" not in shown
    assert shown.replace("\u200b", "") == text, "and it can still be read"
    assert printable("std::vector and a: :b # #[c]") == "std::vector and a: :b # #[c]"
