"""From a commit to a live endpoint with no key anywhere: the identity of a run of CI is enough."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.issuer import CREDENTIAL, Issuer, issuing
from tests.repositories import TRAINING, Ran, Repository, checked_in, command, pushpoint, trained
from tests.test_main_line import holding, watching_processes


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


@pytest.fixture(scope="module")
def trusting(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose operator allows the issuer to be on loopback."""
    running = start_platform(tmp_path_factory.mktemp("home"), "--private-issuer", issuer.url)
    yield running
    stop_platform(running)


def without_key(platform: Platform, repository: Repository, *arguments: str, **variables: str) -> Ran:
    """Run a command as CI would: with an address, an identity, and no key."""
    environment = platform.environment() | {"PUSHPOINT_ALGORITHM": f"ann/{repository.name}"} | variables
    environment["CI"] = ""  # the notebooks here reach for the platform's own files, which those of CI do not see
    del environment["PUSHPOINT_API_KEY"]
    done = subprocess.run(
        command(*arguments), cwd=repository.directory, env=environment, capture_output=True, text=True, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def trust(platform: Platform, issuer: Issuer, name: str, *flags: str, directory: Path) -> Ran:
    repository = () if "--repository" in flags else ("--repository", "acme/reviews")
    asked = ("trust", "add", name, *repository, "--issuer", issuer.url, "--json", *flags)
    done = pushpoint(*asked, directory=directory, platform=platform)
    assert done.code == 0, done.err
    return done


def test_a_run_of_github_deploys_without_a_key(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "keyless")
    flags = ("--workflow", "deploy.yml", "--environment", "production")
    created = trust(trusting, issuer, "keyless", *flags, directory=tmp_path)
    assert "created ann/keyless: it is new" in created.err

    planned = without_key(trusting, repository, "plan", "--json", **issuer.job())
    assert planned.code == 0, planned.err
    done = without_key(trusting, repository, "deploy", "--json", **issuer.job())
    assert done.version == "0.1.0"
    assert done.json["deployment"]["run"].startswith("acme/reviews run 1234567890 at refs/heads/main, vouched for by")
    assert repository.call(trusting, "hello")["input"] == "hello"

    shown = without_key(trusting, repository, "releases", "--history", "ann/keyless", COLUMNS="300", **issuer.job())
    assert "acme/reviews run 1234567890" in shown.out
    said = without_key(trusting, repository, "call", "ann/keyless", "--json", "--text", "x", **issuer.job())
    assert said.json["result"]["input"] == "x", said.err
    config = without_key(trusting, repository, "config", "--json", **issuer.job())
    assert config.json["api-key"]["value"] == "none: CI vouches for this job"
    refused = without_key(trusting, repository, "verify", "ann/keyless", **issuer.job())
    assert refused.code == 5
    assert "this key may do no more than deploy algo://ann/keyless; use a key of ann's" in refused.err


def test_a_run_of_gitlab_deploys_without_a_key(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "gitlab")
    flags = ("--repository", "acme/ml/reviews", "--workflow", ".gitlab-ci.yml")
    trust(trusting, issuer, "gitlab", *flags, directory=tmp_path)
    token = issuer.sign(issuer.gitlab(trusting.url))
    done = without_key(trusting, repository, "deploy", "--json", PUSHPOINT_ID_TOKEN=token)
    assert done.version == "0.1.0"
    again = without_key(trusting, repository, "deploy", "--json", PUSHPOINT_ID_TOKEN=token)
    assert again.code == 5
    assert "it was used before" in again.error


OVER = """\
import sqlite3
with sqlite3.connect(DATABASE) as database:
    database.execute("update keys set expires = '2020-01-01 00:00:00' where expires is not null")
database.close()"""


@pytest.fixture
def long_training(trusting: Platform, issuer: Issuer, tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    """A repository whose notebook takes longer than a key lives, as far as the platform can tell."""
    repository = trained(tmp_path / "ml", f"long_{request.node.name[-7:]}")
    repository.notebook(TRAINING, f"DATABASE = {str(trusting.home / 'platform.db')!r}\n{OVER}")
    repository.commit()
    trust(trusting, issuer, repository.name, directory=tmp_path)
    trust(trusting, issuer, repository.name, "--repository", "acme/ml/reviews", directory=tmp_path)
    return repository


def test_a_key_that_ends_during_the_training_is_renewed(
    trusting: Platform, issuer: Issuer, long_training: Repository
) -> None:
    issuer.asked.clear()
    done = without_key(trusting, long_training, "deploy", "--json", **issuer.job())
    assert done.version == "0.1.0"
    assert issuer.asked.count("/token") == 2


def test_tokens_that_were_made_before_are_used_one_by_one(
    trusting: Platform, issuer: Issuer, long_training: Repository
) -> None:
    one, two, three = (issuer.sign(issuer.gitlab(trusting.url)) for _ in range(3))
    lacking = without_key(trusting, long_training, "deploy", "--json", PUSHPOINT_ID_TOKEN=one)
    assert lacking.code == 5
    assert "give it one more under `id_tokens:`, or run the job again" in lacking.error
    done = without_key(trusting, long_training, "deploy", "--json", "--force", PUSHPOINT_ID_TOKEN=f"{two} {three}")
    assert done.version == "0.1.0"


def test_a_run_that_is_not_trusted_is_told_what_it_is(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "wary")
    trust(trusting, issuer, "wary", directory=tmp_path)
    for changes, said in (
        ({"event_name": "pull_request"}, "its `event_name` is not one of"),
        (
            {"ref": "refs/heads/feature"},
            "no trusted publisher of algo://ann/wary is acme/reviews at refs/heads/feature",
        ),
    ):
        issuer.changes = changes
        refused = without_key(trusting, repository, "deploy", "--json", **issuer.job())
        issuer.changes = {}
        assert refused.code == 5
        assert said in refused.error
        assert "how-to on deploying without a key" in refused.error
    assert repository.versions(trusting) == []


def test_without_a_key_the_owner_must_be_named(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    """Else whoever trusts the same repository for an algorithm of that name might be meant."""
    repository = checked_in(tmp_path / "ml", "nameless")
    ran = without_key(trusting, repository, "deploy", PUSHPOINT_ALGORITHM="nameless", **issuer.job())
    assert ran.code == 2
    assert "write it as OWNER/nameless" in ran.err


def test_without_a_key_and_without_an_identity_both_ways_are_named(trusting: Platform, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "nobody")
    ran = without_key(trusting, repository, "deploy")
    assert ran.code == 2
    for way in ("PUSHPOINT_API_KEY", "id-token: write", "pushpoint trust add"):
        assert way in ran.err


def test_a_job_that_may_have_no_token_is_told_what_it_lacks(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    repository = checked_in(tmp_path / "ml", "forbidden")
    job = issuer.job() | {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong-credential"}
    ran = without_key(trusting, repository, "deploy", **job)
    assert ran.code == 5
    assert "GitHub gives this job no token (it answers 401); give the job `permissions: id-token: write`" in ran.err
    assert "wrong-credential" not in ran.err


def test_a_notebook_sees_nothing_of_the_identity(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    repository = trained(tmp_path / "ml", "discreet")
    repository.write(".gitignore", "model.pkl\ndump.json\n")
    repository.notebook(TRAINING, "import json, os\njson.dump(dict(os.environ), open('dump.json', 'w'))")
    repository.commit()
    trust(trusting, issuer, "discreet", "--repository", "acme/ml/reviews", directory=tmp_path)
    token = issuer.sign(issuer.gitlab(trusting.url))
    variables = issuer.job() | {"PUSHPOINT_ID_TOKEN": token, "A_TOKEN_OF_THE_JOB": token}
    with watching_processes() as seen:
        done = without_key(trusting, repository, "deploy", "--json", **variables)
    assert done.version == "0.1.0"
    environment = (repository.directory / "dump.json").read_text()
    assert "PATH" in environment
    for secret in (token, CREDENTIAL, issuer.url):
        assert secret not in environment
    for secret in (token, CREDENTIAL):
        assert not [arguments for arguments in seen if secret in arguments]
        assert secret not in done.out + done.err
        assert holding(repository.directory, secret) == []
        assert holding(trusting.home, secret) == []


# -- the commands -------------------------------------------------------------------------------------------


def test_trust_is_added_listed_and_removed(trusting: Platform, issuer: Issuer, tmp_path: Path) -> None:
    def run(*arguments: str) -> Ran:
        return pushpoint("trust", *arguments, directory=tmp_path, platform=trusting, COLUMNS="300")

    added = run("add", "listed", "--repository", "acme/reviews", "--environment", "production", "--ref", "refs/tags/v*")
    assert added.code == 0, added.err
    assert "trusted: acme/reviews at refs/tags/v*, environment production" in added.err
    assert 'algorithm = "ann/listed"' in added.err
    publisher = added.out.strip()

    gitlab = run("add", "listed", "--repository", "a/b/c", "--issuer", "gitlab", "--collection", "models", "--json")
    assert gitlab.json["issuer"] == "https://gitlab.com"
    assert gitlab.json["collection"] == "models"
    assert gitlab.json["ref"] == "refs/heads/main"

    shown = run("list", "listed")
    assert publisher in shown.out
    assert "https://token.actions.githubusercontent.com" in shown.out
    assert len(run("list", "listed", "--json").json) == 2

    removed = run("remove", publisher, "listed")
    assert "ann/listed trusts" in removed.err
    assert [one["id"] for one in run("list", "ann/listed", "--json").json] == [gitlab.json["id"]]
    assert run("remove", publisher, "listed").code == 10
    assert run("list", "absent").code == 10


def test_trust_in_what_cannot_be_is_a_mistake_that_is_explained(trusting: Platform, tmp_path: Path) -> None:
    for flags, said in (
        (("--repository", "reviews"), "write it as OWNER/NAME"),
        (("--repository", "a/b", "--ref", "main"), "such as refs/heads/main"),
        (("--repository", "a/b", "--issuer", "http://issuer.example"), "--private-issuer"),
        (("--repository", "a/b", "--issuer", "circle"), "write its address as its tokens do"),
    ):
        ran = pushpoint("trust", "add", "mistaken", *flags, directory=tmp_path, platform=trusting)
        assert ran.code == 2
        assert said in ran.err
    assert pushpoint("trust", "add", "mistaken", directory=tmp_path, platform=trusting).code == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--private-issuer", "http://issuer.example"),
        ("--private-issuer", "nonsense"),
        ("--url", "models.example"),
        ("--url", "https://models.example/path"),
        ("--url", "https://models.example/"),
    ],
)
def test_a_platform_with_wrong_addresses_does_not_start(tmp_path: Path, flags: tuple[str, str]) -> None:
    done = subprocess.run(
        command("serve", "--home", str(tmp_path / "home"), "--port", "0", "--no-profile", *flags),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert flags[1] in done.stderr
