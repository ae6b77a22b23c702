"""Promise 15: what other people wrote is text: never a command, an option, a structure or another output."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from pushpoint.action import summary
from pushpoint.action.__main__ import _output
from pushpoint.action.outputs import OUTPUTS
from pushpoint.action.summary import Page
from pushpoint.deploy.blame import Place
from pushpoint.deploy.plan import Plan
from pushpoint.deploy.preview import Compared, Tried
from pushpoint.digests import Digest
from pushpoint.manifest import Source
from pushpoint.report import GitHubReport
from tests.conftest import Platform
from tests.promises.machine import Machine, Ran, commands, encodings
from tests.repositories import checked_in, trained

PIECES = (
    "$(touch hijacked)", "`touch hijacked`", "; touch hijacked #", "| touch hijacked", "&& touch hijacked",
    "> hijacked", "'", '"', "\\", "$IFS", "${HOME}", "%s", "{0}", "*", "?", "[a]", "~", "!", "#", "\n", "\r", "\r\n",
    "\t", "\x0b", "\x0c", "\x1b[31m", "\x1b]0;title\x07", "\x07", "\x08", "\x7f", "\x85", "\x9b2J", "\u2028", "\u2029",
    "\u202e", "\u2066", "\u200f", "\ufeff", "\u00a0", "\u3000", "::error::x", "::add-path::/hijacked",
    "::set-env name=A::hijacked", "::set-output name=version::hijacked", "::stop-commands::x",
    "::add-mask::a", "::group::x", "::endgroup::",
    "##[error]x", "##[set-output name=version]hijacked", "%0A::error::x", "%0D%0A", "%25", "::", "##[",
    "--upload-pack=touch hijacked", "--help", "-c core.fsmonitor=x", "-", "--", "EOF", "<<EOF", "version<<EOF",
    "version=hijacked", "```", "````", "~~~", "---", "===", "# heading", "## heading", "- list", "1. list", "> quote",
    "| a | b |", "| --- | --- |", "</details>", "<details open>", "</code>", "</table>", "<!--", "-->", "<img src=x>",
    "<script>alert(1)</script>", "![x](https://evil.example/x.png)", "[x](javascript:alert(1))", "**bold**", "_it_",
    "~~x~~", "&lt;", "&#124;", "&", "@everyone", "Größe", "模型", "🚀", "e\u0301", "a" * 300, " ", "    code",
)  # fmt: skip


def texts(number: int) -> Iterator[str]:
    """Make hostile texts up: each piece alone, at the beginning of a line, and at random with others."""
    yield from PIECES
    yield from (f"first\n{piece}\nlast" for piece in PIECES)
    chance = random.Random(15)
    for _ in range(number - 2 * len(PIECES)):
        yield "".join(chance.choice(PIECES) for _ in range(chance.randint(2, 9)))


def outputs(file: str) -> dict[str, str]:
    """Read GITHUB_OUTPUT as the runner does.

    Source:
        actions/runner, FileCommandManager: `name=value`, or `name<<delimiter`, lines, delimiter.
    """
    found, lines = {}, iter(file.replace("\r\n", "\n").split("\n"))
    for line in lines:
        if not line:
            continue
        name, heredoc, end = line.partition("<<")
        if heredoc and "=" not in name:
            value = []
            for inner in lines:
                if inner == end:
                    break
                value.append(inner)
            else:
                raise ValueError(f"no end of {name}")
            found[name] = "\n".join(value)
        else:
            name, _, found[name] = line.partition("=")
    return found


def structure(markdown: str) -> list[tuple[str, str]]:
    """Tell a page's structure: everything but its text."""
    found = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        found.append((token.type, token.tag))
        if token.type == "html_block":
            found.append((token.type, token.content))
        inline = [child for child in token.children or () if child.type not in {"text", "softbreak"}]
        found += [(child.type, child.content if child.type == "html_inline" else child.tag) for child in inline]
    return found


@pytest.fixture
def at_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")


@pytest.mark.usefixtures("at_github")
def test_a_log_holds_no_command_but_ours() -> None:
    tried = 0
    for text in texts(1000):
        said = io.StringIO()
        report = GitHubReport(Console(file=said, width=400, force_terminal=False, highlight=False))
        report.line(text)
        report.warn(text)
        with report.step(text):
            report.cell(1, text)
        report.command("error", text, file=text, title=text, line=1)
        found = [name for name, _ in commands(said.getvalue())]
        assert found == ["warning", "group", "endgroup", "group", "endgroup", "error"], repr(text)
        assert not set(said.getvalue()) & set("\x1b\x07\x08\x0b\x0c\x7f\x85\x9b\u202e\u2066\u200f"), repr(text)
        tried += 1
    assert tried == 1000


@pytest.mark.usefixtures("at_github")
def test_outputs_are_our_outputs() -> None:
    for text in texts(1000):
        file = "".join(_output(name, text) for name in OUTPUTS)
        assert list(outputs(file)) == list(OUTPUTS), repr(text)
        assert len(set(outputs(file).values())) == 1


def page(text: str, status: str) -> Page:
    """Make a page on which everything that others can choose is one text."""
    source = Source(
        repository=text, ref=f"refs/heads/{text}", commit="1" * 40, message=text, committed=datetime.now(UTC)
    )
    plan = Plan(
        url="https://example.com",
        algorithm="ann/named",
        root="/nowhere",
        source=source,
        notebook=text,
        model_path=text,
        requirements=text,
        inference=text,
        code_tree="",
        data=(text,),
        collection="data://ann/named",
        repository=None,
        branch=None,
        publish="minor",
        sample_input=text,
        commit_email="a@b",
        cell_timeout=0.0,
        notebook_timeout=0.0,
        inputs=Digest("sha256:" + "0" * 64),
        force=False,
        retrain=False,
    )
    return Page(
        status=status,
        why=f"why {text} why",
        plan=plan,
        place=Place(file=f"x{text}", line=3),
        metrics={f"m{text}": Compared(new=1.0, live=2.0, difference=-1.0)},
        cases=[Tried(name=f"x{text}", wrong=f"x{text}", seconds=0.1), Tried(name=f"y{text}", wrong=None, seconds=0.1)],
        files=[f"a{text}.ipynb", f"b{text}"],
        plots=[Path(f"plot-{text.replace('/', ' ')}.png")],
        seconds={"plan": 1.0},
    )


@pytest.mark.usefixtures("at_github")
@pytest.mark.parametrize("status", ["failed", "planned", "previewed"])
def test_a_page_keeps_its_structure(status: str) -> None:
    expected = structure(summary.write(page("harmless", status)))
    assert ("table_open", "table") in expected
    for text in texts(350):
        written = summary.write(page(f"a{text}", status))
        assert structure(written) == expected, repr(text)
        assert len(written.encode()) < summary.LIMIT


@pytest.mark.usefixtures("at_github")
def test_a_megabyte_of_it_fits() -> None:
    written = summary.write(page("| a `` # \n" * 110_000, "failed"))
    assert len(written.encode()) < summary.LIMIT
    assert structure(written) == structure(summary.write(page("harmless", "failed")))


# -- whole runs -----------------------------------------------------------------------------------------------------

MESSAGES = {
    "everything": "".join(piece for piece in PIECES if "\r" not in piece),
    "a megabyte": "::error::x\n" + "x" * (1 << 20) + "\n##[error]x",
    "an option and returns": "--upload-pack=touch hijacked\r\n::error::x\r##[error]x\r::add-path::/hijacked",
}
REFS = ("refs/heads/--upload-pack=$(touch${IFS}hijacked)", "refs/tags/;touch${IFS}hijacked;#`id`|<b>&%0A::error::x")
SHIM = """#!/bin/sh
{{ printf '%s\\0' "$@"; printf '\\n\\0'; }} >> '{log}'
/bin/cat /proc/$PPID/environ >> '{log}.environment'
exec {real} "$@"
"""


@pytest.fixture
def logged(platform: Platform, tmp_path: Path) -> tuple[Machine, dict[str, str], Path]:
    """A machine whose git writes down how it is started, and by what environment."""
    place = tmp_path / "m"
    place.mkdir()
    repository = checked_in(place / "runner" / "_work" / "x" / "x", f"hostile_{os.urandom(4).hex()}")
    machine = Machine(place, repository, platform)
    machine.furnish()
    log, real = place / "executed", shutil.which("git")
    shim = machine.write(place / "bin" / "git", SHIM.format(log=log, real=real))
    shim.chmod(0o755)
    environment = machine.environment(machine.inputs(), PATH=f"{shim.parent}:{os.environ['PATH']}")
    return machine, environment, log


def executed(log: Path) -> list[list[str]]:
    """List the arguments of each program that was started."""
    runs = log.read_bytes().decode("utf-8", "surrogateescape").split("\n\0")
    return [run.split("\0")[:-1] for run in runs if run]


def assert_harmless(machine: Machine, ran: Ran, log: Path, hostile: list[str]) -> None:
    for arguments in executed(log):
        separated = False
        for argument in arguments:
            separated = separated or argument in {"--", "--end-of-options"}
            assert separated or argument not in hostile or not argument.startswith("-"), arguments
    secrets = {name: machine.canaries[name] for name in ("git token", "github token")} | {"key": machine.platform.key}
    seen = log.read_bytes() + log.with_name(f"{log.name}.environment").read_bytes()
    assert [name for name, secret in secrets.items() if any(form in seen for form in encodings(secret))] == []
    assert list(machine.place.rglob("hijacked")) == []
    ours = {"add-mask", "group", "endgroup", "notice", "warning", "error"}
    assert {name for name, _ in commands(ran.log)} <= ours
    assert not [text for name, text in commands(ran.log) if name == "add-mask" and text == "a"]
    assert list(outputs(ran.files["output"])) == list(OUTPUTS)
    assert {name: text for name, text in ran.files.items() if name in {"env", "path", "state"} and text} == {}
    assert not set(ran.log) & set("\x1b\x07\x08\x0b\x7f\x9b\u202e\u2066")
    assert len(ran.log) < 100_000


@pytest.mark.parametrize("name", MESSAGES)
def test_a_commits_message_reaches_the_manifest_and_nothing_else(
    logged: tuple[Machine, dict[str, str], Path], name: str
) -> None:
    machine, environment, log = logged
    repository, message = machine.repository, MESSAGES[name]
    repository.git("commit", "--quiet", "--amend", "--cleanup=verbatim", "--file=-", stdin=message.encode())
    head = repository.git("rev-parse", "HEAD")
    ran = machine.run(
        environment | {"GITHUB_SHA": head, "GITHUB_REF": REFS[len(name) % 2], "GITHUB_REPOSITORY": "$(id)/|"}
    )
    assert ran.code == 0, ran.log[-3000:]
    found = outputs(ran.files["output"])
    assert (found["status"], found["version"], found["commit"]) == ("deployed", "0.1.0", head)
    bare = str(repository.pushed(machine.platform))
    manifest = json.loads(repository.git("--git-dir", bare, "show", "master:model_manifest.json"))
    assert manifest["model_origin_commit_msg"] == message
    assert manifest["model_origin_ref"] == REFS[len(name) % 2]
    assert_harmless(machine, ran, log, [message, *REFS])


def test_names_of_files_are_only_names(logged: tuple[Machine, dict[str, str], Path]) -> None:
    """Planned, because a plan reads every name, and the deploy with such names is `test_hostile`'s."""
    machine, environment, log = logged
    repository = machine.repository
    names = {
        "notebook": "--upload-pack=$(touch hijacked)/;`touch hijacked`|<b>::error::.ipynb",
        "model_path": "-m ##[error] $(touch hijacked).pkl",
        "requirements": "--help;touch hijacked.txt",
        "data": ["-c core.fsmonitor=touch hijacked", "*", "</details>| x `y` & %0A"],
        "inference": "--output=$(touch hijacked) ```",
    }
    (repository.directory / repository.name).rename(repository.directory / str(names["inference"]))
    repository.notebook("print(1)", path=str(names["notebook"]))
    for path in (names["requirements"], *names["data"]):
        repository.write(f"./{path}", "")
    repository.settings(**names)
    repository.commit()
    harmless = structure(summary.write(page("harmless", "planned")))
    about = {"GITHUB_SHA": repository.git("rev-parse", "HEAD")}
    ran = machine.run(environment | about | {"PUSHPOINT_INPUTS": json.dumps(machine.inputs(mode="plan"))})
    assert ran.code == 0, ran.log
    assert outputs(ran.files["output"])["status"] == "planned"
    assert [part for part in structure(ran.files["step_summary"]) if part[0] in {"heading_open", "table_open"}] == [
        ("heading_open", "h2"), ("table_open", "table"), ("heading_open", "h3"), ("table_open", "table")
    ]  # fmt: skip
    assert {part for part in structure(ran.files["step_summary"]) if "html" in part[0]} <= set(harmless)
    flat = [name for value in names.values() for name in ([value] if isinstance(value, str) else value)]
    assert_harmless(machine, ran, log, flat)


def test_what_a_cell_prints_and_how_it_fails_is_only_text(platform: Platform, tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir()
    repository = trained(place / "runner" / "_work" / "x" / "x", f"hostile_{os.urandom(4).hex()}")
    machine = Machine(place, repository, platform)
    machine.furnish()
    said = "".join(piece if piece != "\r" else "\n" for piece in PIECES)
    error = f"class Odd(Exception): pass\nOdd.__name__ = {PIECES[44]!r}\nraise Odd({said!r})"
    prints = f"import sys\nfor piece in {PIECES!r}:\n    print(piece)\n    print(piece, file=sys.stderr)"
    shows = f"from IPython.display import HTML, display\ndisplay(HTML({said!r}))\n{said[:3]!r}"
    repository.notebook(prints, shows, f"# {said.splitlines()[0]}\n{error}")
    repository.commit()
    environment = machine.environment(machine.inputs())
    ran = machine.run(environment)
    assert ran.code == 3
    found = commands(ran.log)
    assert {name for name, _ in found} <= {"add-mask", "group", "endgroup", "warning", "error"}
    assert len([name for name, _ in found if name == "error"]) == 1
    assert list(outputs(ran.files["output"])) == list(OUTPUTS)
    assert outputs(ran.files["output"])["version"] == ""
    headings = [part for part in structure(ran.files["step_summary"]) if part[0] in {"heading_open", "table_open"}]
    assert headings == [
        ("heading_open", "h2"), ("table_open", "table"), ("heading_open", "h3"), ("table_open", "table")
    ]  # fmt: skip
    assert list(machine.place.rglob("hijacked")) == []
