"""Deploys to an algorithm whose repository is on a git host: pushed there, built from there, and the token nowhere."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from pushpoint import library
from pushpoint.errors import MissingSetting
from pushpoint.names import algorithm_name
from tests.conftest import Platform, start_platform, stop_platform
from tests.githost import Fault, GitHost, spying_git
from tests.repositories import Ran, Repository, checked_in, pushpoint, trained

WRITE, READ = "ghp_w/r+i%t:e @#?&=é'\"$(id)\\", "glpat-R:e/a+d%20@x"


@dataclass(frozen=True)
class Hosted:
    platform: Platform
    host: GitHost

    def repository(self, folder: Path, name: str, *, notebook: bool = False) -> Repository:
        made = (trained if notebook else checked_in)(folder, name)
        made.settings(repository=self.host.url(f"team/{name}"))
        made.commit("On a git host")
        return made

    def deploy(self, repository: Repository, *flags: str, token: str | None = WRITE, **more: str) -> Ran:
        variables = {"PUSHPOINT_GIT_USER": "ann", **more} | ({"PUSHPOINT_GIT_TOKEN": token} if token else {})
        return repository.deploy(self.platform, *flags, **variables)

    def register(self, name: str, *, token: str = READ, url: str = "", **more: str) -> Ran:
        """Do what DevOps do once: name the repository, and give the platform a token that may read it."""
        return pushpoint(
            *("source", "set", f"ann/{name}", "--repository", url or self.host.url(f"team/{name}"), "--json"),
            directory=self.host.root,
            platform=self.platform,
            PUSHPOINT_GIT_TOKEN=token,
            PUSHPOINT_GIT_USER="reader",
            **more,
        )


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    with GitHost(tmp_path_factory.mktemp("host"), write=WRITE, read=READ) as host:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--git-host", host.address)
        yield Hosted(platform, host)
        stop_platform(platform)


@pytest.fixture(autouse=True)
def healthy(hosted: Hosted) -> Iterator[None]:
    yield
    hosted.host.fault = hosted.host.before_push = None


def test_the_whole_line(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/line", {"README.md": "ours", "model_manifest.json": '{"owner_team": "reviews"}'})
    assert hosted.register("line").code == 0
    repository = hosted.repository(tmp_path / "ml", "line", notebook=True)
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    tip = hosted.host.tip("team/line")
    assert ran.json["deployment"]["release"]["commit"] == tip
    assert hosted.host.git("team/line", "ls-tree", "-r", "--name-only", "main").split() == [
        "model_manifest.json",
        "requirements.txt",
        "src/__init__.py",
        "src/line.py",
    ]
    assert '"owner_team": "reviews"' in hosted.host.read("team/line", "model_manifest.json")
    assert hosted.host.git("team/line", "rev-list", "--count", "main") == "2"
    answer = repository.call(hosted.platform)
    assert answer["commit"] == repository.git("rev-parse", "HEAD")
    assert answer["model"] == ran.model

    assert hosted.deploy(repository).json["up_to_date"] is True
    assert hosted.host.tip("team/line") == tip


def test_an_empty_public_repository_gets_its_first_commit_and_the_platform_is_told_of_it(
    hosted: Hosted, tmp_path: Path
) -> None:
    hosted.host.create("team/fresh", branch="trunk", public=True)
    repository = hosted.repository(tmp_path / "ml", "fresh")
    planned = repository.run(hosted.platform, "plan", PUSHPOINT_GIT_TOKEN=WRITE)
    assert "the platform is told to build from there" in " ".join(planned.out.split()), planned.err
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    assert hosted.host.git("team/fresh", "rev-list", "--count", "trunk") == "1"
    assert repository.call(hosted.platform)["commit"] == repository.git("rev-parse", "HEAD")
    shown = repository.run(hosted.platform, "source", "show", "--json")
    assert shown.json["source"]["url"] == hosted.host.url("team/fresh")
    assert shown.json["status"]["scm_connection_status"] == "active"


def test_a_colleague_who_pushes_at_the_same_moment_loses_nothing(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/raced", {"README.md": "1"}, public=True)
    repository = hosted.repository(tmp_path / "ml", "raced")
    theirs: list[str] = []

    def colleague() -> None:
        theirs.append(hosted.host.commit("team/raced", {"notes.md": "by a colleague"}))

    hosted.host.before_push = colleague
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    assert "someone else pushed meanwhile" in ran.err
    history = hosted.host.git("team/raced", "rev-list", "--first-parent", "main").split()
    assert history[1] == theirs[0]
    assert ran.json["deployment"]["release"]["commit"] == history[0]


def test_in_an_empty_repository_the_first_commit_may_be_raced_too(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/first", public=True)
    repository = hosted.repository(tmp_path / "ml", "first")

    def colleague() -> None:
        hosted.host.commit("team/first", {"notes.md": "first"})

    hosted.host.before_push = colleague
    ran = hosted.deploy(repository)
    assert ran.version == "0.1.0"
    assert hosted.host.git("team/first", "rev-list", "--count", "main") == "2"


def test_a_branch_that_was_registered_is_the_one_that_is_pushed(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/branched", {"README.md": "1"})
    hosted.host.commit("team/branched", {"README.md": "live"}, branch="live/now")
    main = hosted.host.tip("team/branched")
    source = ("source", "set", "ann/branched", "--repository", hosted.host.url("team/branched"))
    token = {"PUSHPOINT_GIT_TOKEN": READ}
    set_ = pushpoint(*source, "--branch", "live/now", directory=tmp_path, platform=hosted.platform, **token)
    assert set_.code == 0, set_.err
    ran = hosted.deploy(hosted.repository(tmp_path / "ml", "branched"))
    assert ran.version == "0.1.0"
    assert hosted.host.tip("team/branched") == main
    assert hosted.host.tip("team/branched", "live/now") == ran.json["deployment"]["release"]["commit"]


def test_where_head_leads_nowhere_the_usual_branch_is_taken(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/usual", branch="gone", public=True)
    hosted.host.commit("team/usual", {"README.md": "1"}, branch="master")
    ran = hosted.deploy(hosted.repository(tmp_path / "ml", "usual"))
    assert ran.version == "0.1.0"
    assert hosted.host.tip("team/usual", "master") == ran.json["deployment"]["release"]["commit"]


def test_the_model_alone_moves_where_there_is_no_inference_code(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/alone", public=True)
    repository = hosted.repository(tmp_path / "ml", "alone")
    assert hosted.deploy(repository).version == "0.1.0"
    code = hosted.host.read("team/alone", "src/alone.py")
    repository.git("rm", "-r", "--quiet", "alone")
    repository.write("model.pkl", "another")
    repository.commit("The model alone")
    assert hosted.deploy(repository).version == "0.2.0"
    assert hosted.host.read("team/alone", "src/alone.py") == code


# -- refused before anything is spent -----------------------------------------------------------------------

REFUSED = {
    # what the setting is, the token, what is done before, exit code, and what is said
    "no token": ("URL", None, 2, "PUSHPOINT_GIT_TOKEN"),
    "a wrong token": ("URL", "ghp_wrong", 5, "set PUSHPOINT_GIT_TOKEN to a token that may push there"),
    "a token that only reads": ("URL", READ, 5, "set PUSHPOINT_GIT_TOKEN to a token that may push there"),
    "no such repository": ("URL-not", WRITE, 10, "does not exist"),
    "a token in the address": (
        f"http://ann:{quote(WRITE, safe='')}@127.0.0.1/team/refused.git",
        WRITE,
        2,
        "take it out",
    ),
    "a user in the address": ("http://ann@127.0.0.1/team/refused.git", WRITE, 2, "take it out"),
    "ssh": ("git@github.com:team/refused.git", WRITE, 2, "https://HOST/OWNER/NAME.git"),
    "a path": ("/srv/git/refused.git", WRITE, 2, "https://HOST/OWNER/NAME.git"),
    "another scheme": ("ext::sh -c id", WRITE, 2, "https://HOST/OWNER/NAME.git"),
    "an option": ("--upload-pack=id", WRITE, 2, "https://HOST/OWNER/NAME.git"),
    "nobody there": ("http://127.0.0.1:1/team/refused.git", WRITE, 11, "try again later"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_done(hosted: Hosted, tmp_path: Path, what: str) -> None:
    url, token, code, said = REFUSED[what]
    name = "refused"
    if not hosted.host.path(f"team/{name}").exists():
        hosted.host.create(f"team/{name}", {"README.md": "1"})
    before = hosted.host.tip(f"team/{name}")
    repository = checked_in(tmp_path / "ml", name)
    repository.settings(
        repository=url.replace("URL-not", hosted.host.url("team/absent")).replace(
            "URL", hosted.host.url(f"team/{name}")
        )
    )
    repository.commit()
    ran = hosted.deploy(repository, token=token)
    assert (ran.code, said in ran.error) == (code, True), ran.out + ran.err
    assert WRITE not in ran.out + ran.err
    assert quote(WRITE, safe="") not in ran.out + ran.err
    assert hosted.host.tip(f"team/{name}") == before
    with hosted.platform.client() as client:
        assert not client.exists(algorithm_name(f"ann/{name}"))


def test_a_private_repository_needs_a_token_of_the_platforms_own(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/private", {"README.md": "1"})
    repository = hosted.repository(tmp_path / "ml", "private")
    refused = hosted.deploy(repository)
    assert refused.code == 2
    assert "pushpoint source set" in refused.error
    assert hosted.host.git("team/private", "rev-list", "--count", "main") == "1", "nothing was pushed"
    assert hosted.register("private").code == 0
    assert hosted.deploy(repository).version == "0.1.0"


def test_setting_and_platform_must_mean_the_same_repository(hosted: Hosted, tmp_path: Path) -> None:
    for name in ("left", "right"):
        hosted.host.create(f"team/{name}", {"README.md": "1"}, public=True)
    assert hosted.register("left", url=hosted.host.url("team/right")).code == 0
    repository = hosted.repository(tmp_path / "ml", "left")
    other = hosted.deploy(repository)
    assert other.code == 2
    assert "built from" in other.error
    repository.settings()
    repository.commit()
    none = hosted.deploy(repository)
    assert none.code == 2
    assert f'set `repository = "{hosted.host.url("team/right")}"`' in none.error


def test_an_algorithm_that_the_platform_hosts_is_moved_on_purpose_alone(hosted: Hosted, tmp_path: Path) -> None:
    hosted.host.create("team/moved", public=True)
    repository = checked_in(tmp_path / "ml", "moved")
    assert repository.deploy(hosted.platform).version == "0.1.0"
    repository.settings(repository=hosted.host.url("team/moved"))
    repository.write("model.pkl", "next")
    repository.commit()
    refused = hosted.deploy(repository)
    assert refused.code == 2
    assert "hosted on the platform" in refused.error
    # its history moves with it, so nothing is rewritten
    repository.git(
        "push", "--quiet", str(hosted.host.path("team/moved")), f"{_fetched(hosted, repository)}:refs/heads/main"
    )
    assert hosted.register("moved").code == 0
    assert hosted.deploy(repository).version == "0.2.0"


def _fetched(hosted: Hosted, repository: Repository) -> str:
    repository.git("fetch", "--quiet", str(repository.pushed(hosted.platform)), "master")
    return repository.git("rev-parse", "FETCH_HEAD")


FAULTS = {
    "an error": (Fault(500), 11),
    "forbidden": (Fault(403), 5),
    "not found": (Fault(404), 10),
    "a redirection": (Fault(302, {"Location": "http://127.0.0.1:1/x.git/info/refs"}), 2),
    "the token, repeated": (
        Fault(400, {"Content-Type": "text/plain"}, b"you said " + base64.b64encode(f"ann:{WRITE}".encode())),
        11,
    ),
    "a page": (Fault(200, {"Content-Type": "text/html"}, b"<html>sign in</html>"), 11),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_host_with_a_bad_day_is_an_error_that_tells_no_secret(hosted: Hosted, tmp_path: Path, what: str) -> None:
    if not hosted.host.path("team/faulty").exists():
        hosted.host.create("team/faulty", {"README.md": "1"})
        assert hosted.register("faulty").code == 0
    repository = hosted.repository(tmp_path / "ml", "faulty")
    hosted.host.fault, code = FAULTS[what]
    ran = hosted.deploy(repository)
    assert ran.code == code, ran.err
    for secret in spellings(WRITE):
        assert secret not in (ran.out + ran.err).encode()


# -- the token is nowhere -----------------------------------------------------------------------------------


def spellings(token: str) -> list[bytes]:
    """Ways in which a token may be found, the ways of Basic authentication among them."""
    found = [token.encode(), quote(token, safe="").encode(), quote(token).encode()]
    found += [base64.b64encode(f"{user}:{token}".encode()) for user in ("ann", "reader", "git", "")]
    return [*found, base64.b64encode(token.encode())]


def test_the_tokens_are_nowhere_but_in_the_header(hosted: Hosted, tmp_path: Path) -> None:
    """In no argument, address, log or file: of the deploy, of the platform, of the notebook, of the git host."""
    spy, arguments = spying_git(tmp_path / "spy")
    path = f"{spy}{os.pathsep}{os.environ['PATH']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        platform = start_platform(tmp_path / "home", "--git-host", hosted.host.address)
    watched = Hosted(platform, hosted.host)
    try:
        hosted.host.create("team/secret", {"README.md": "1"})
        hosted.host.requests.clear()
        registered = watched.register("secret", PATH=path)
        assert registered.code == 0, registered.err
        webhook = registered.json["source"]["webhook_secret"]
        repository = watched.repository(tmp_path / "ml", "secret", notebook=True)
        repository.notebook(
            "import os, pathlib\npathlib.Path('model.pkl').write_text(repr(dict(os.environ)))\nprint(dict(os.environ))"
        )
        repository.commit()
        ran = watched.deploy(repository, PATH=path, TMPDIR=str(tmp_path))
        assert ran.version == "0.1.0"
        shown = repository.run(platform, "source", "show", PUSHPOINT_GIT_TOKEN=READ)
        settings = repository.run(platform, "config", "--json", PUSHPOINT_GIT_TOKEN=WRITE)
    finally:
        stop_platform(platform)

    noted = arguments.read_bytes()
    assert hosted.host.url("team/secret").encode() in noted, "the spy did see the gits of both"
    assert b"fetch" in noted
    assert b"push" in noted
    read_by = {request.headers.get("authorization", "").partition(" ")[2] for request in hosted.host.requests}
    assert {
        base64.b64encode(f"{user}:{token}".encode()).decode() for user, token in (("ann", WRITE), ("reader", READ))
    } <= read_by
    said = [noted, hosted.host.said()]
    said += [text.encode() for one in (ran, registered, shown, settings) for text in (one.out, one.err)]
    said += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink()]
    said += [file.read_bytes() for file in hosted.host.path("team/secret").rglob("*") if file.is_file()]
    with sqlite3.connect(platform.home / "platform.db") as database:
        said.append("\n".join(database.iterdump()).encode())
    database.close()
    for secret in (*spellings(WRITE), *spellings(READ)):
        assert not [text[:200] for text in said if secret in text]
    assert not [text for text in said[2:] if webhook.encode() in text and text != registered.out.encode()]
    assert (platform.home / "vault-key").stat().st_mode & 0o777 == 0o600
    seals = (platform.home / "platform.db").read_bytes()
    assert (platform.home / "vault-key").read_bytes() not in seals


def test_a_push_from_python_goes_to_the_git_host_too(
    hosted: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.host.create("team/byhand", {"README.md": "ours"})
    assert hosted.register("byhand").code == 0
    (tmp_path / "code" / "src").mkdir(parents=True)
    (tmp_path / "code" / "src" / "byhand.py").write_text("def apply(input):\n    return input\n")
    with library.Client(hosted.platform.url, hosted.platform.key) as client:
        algorithm = client.algorithm("byhand")
        with pytest.raises(MissingSetting, match="PUSHPOINT_GIT_TOKEN"):
            algorithm.push(tmp_path / "code")
        monkeypatch.setenv("PUSHPOINT_GIT_TOKEN", WRITE)
        release = algorithm.push(tmp_path / "code").publish()
        assert algorithm("hello") == "hello"
    assert release.commit == hosted.host.tip("team/byhand")
