"""An identity for a key: good ones give a short key for one algorithm, bad ones of every kind give nothing."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pushpoint.registry import keys
from tests.conftest import Platform, start_platform, stop_platform
from tests.issuer import EC, RSA, Issuer, encoded, issuing, public
from tests.web.support import JSON, Answer, ask, create, database, issue_key

STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Deal:
    platform: Platform
    issuer: Issuer

    @property
    def audience(self) -> str:
        return self.platform.url

    def exchange(self, token: object, algorithm: str = "ann/sentiment") -> Answer:
        body = json.dumps({"token": token, "algorithm": algorithm}).encode()
        return ask(self.platform, "POST", "/v1/keys/exchange", body, key=None, headers=JSON)

    def trust(self, algorithm: str = "ann/sentiment", *, key: str = "", **values: object) -> Answer:
        asked = {"issuer": self.issuer.url, "repository": "acme/reviews"} | values
        path = f"/v1/algorithms/{algorithm}/publishers"
        return ask(self.platform, "POST", path, json.dumps(asked).encode(), key=key, headers=JSON)

    def count(self, table: str) -> int:
        connection = sqlite3.connect(self.platform.home / "platform.db")
        (found,) = connection.execute(f"select count(*) from {table}").fetchone()
        connection.close()
        return int(found)

    def github(self, **changes: Any) -> str:
        return self.issuer.sign(self.issuer.github(self.audience, **changes))

    def gitlab(self, **changes: Any) -> str:
        return self.issuer.sign(self.issuer.gitlab(self.audience, **changes))


@pytest.fixture(scope="module")
def deal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deal]:
    with issuing() as issuer:
        issuer.key_set.append(public("stranger-for-encryption", STRANGER, "RS256") | {"use": "enc"})
        platform = start_platform(tmp_path_factory.mktemp("home"), "--private-issuer", issuer.url)
        found = Deal(platform, issuer)
        create(platform, "ann/sentiment")
        create(platform, "ann/tagged")
        create(platform, "ann/lonely")
        strict = {"workflow": "deploy.yml", "environment": "production", "repository_id": "4711"}
        assert found.trust(**strict).status == 201
        strict |= {"repository": "acme/ml/reviews", "workflow": ".gitlab-ci.yml", "repository_id": "815"}
        assert found.trust(**strict).status == 201
        assert found.trust("ann/tagged", ref="refs/tags/v*").status == 201
        yield found
        stop_platform(platform)


# -- good ones ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_run_of_github_gets_a_key_of_a_quarter_of_an_hour(deal: Deal, kid: str) -> None:
    answer = deal.exchange(deal.issuer.sign(deal.issuer.github(deal.audience), kid=kid))
    assert answer.status == 200, answer.body
    found = answer.json
    assert found == {
        "key": found["key"],
        "expires": 900.0,
        "scopes": ["call", "data", "manage", "read", "view"],
        "algorithm": "ann/sentiment",
        "collection": "data://ann/sentiment",
    }
    assert ask(deal.platform, "GET", "/v1/account", key=found["key"]).json["name"] == "ann"
    with database(deal.platform) as opened:
        now = datetime.now(UTC)
        for seconds, is_valid in ((880, True), (901, False)):
            actor = keys.authenticate(opened, found["key"], now=now + timedelta(seconds=seconds))
            assert (actor is not None) == is_valid


def test_a_run_of_gitlab_gets_one_too(deal: Deal) -> None:
    assert deal.exchange(deal.gitlab()).status == 200


def test_a_key_that_is_over_opens_nothing(deal: Deal) -> None:
    key = deal.exchange(deal.github()).json["key"]
    assert ask(deal.platform, "GET", "/v1/account", key=key).status == 200
    connection = sqlite3.connect(deal.platform.home / "platform.db")
    over = (datetime.now(UTC) - timedelta(seconds=1)).replace(tzinfo=None).isoformat(" ")
    with connection:
        connection.execute("update keys set expires = ? where expires is not null", (over,))
    connection.close()
    time.sleep(1)  # another process did it
    assert ask(deal.platform, "GET", "/v1/account", key=key).status == 401


@pytest.mark.parametrize(
    ("ref", "is_good"),
    [
        ("refs/tags/v1.2.3", True),
        ("refs/tags/v", True),
        ("refs/tags/v1/evil", False),
        ("refs/tags/1", False),
        ("refs/heads/v1", False),
        ("refs/tags/v1\n", False),
        ("xrefs/tags/v1", False),
    ],
)
def test_a_star_in_a_ref_stands_for_anything_but_a_slash(deal: Deal, ref: str, is_good: bool) -> None:
    answer = deal.exchange(deal.github(ref=ref), "ann/tagged")
    assert answer.status == (200 if is_good else 401), answer.body


def test_the_first_run_pins_the_repositorys_number(deal: Deal) -> None:
    """Whoever takes a name that became free does not inherit its trust."""
    create(deal.platform, "ann/pinned")
    assert deal.trust("ann/pinned").json["repository_id"] is None
    assert deal.exchange(deal.github(repository_id="1"), "ann/pinned").status == 200
    listed = ask(deal.platform, "GET", "/v1/algorithms/ann/pinned/publishers").json
    assert [one["repository_id"] for one in listed] == ["1"]
    assert deal.exchange(deal.github(repository_id="2"), "ann/pinned").status == 401
    assert deal.exchange(deal.github(repository_id="1"), "ann/pinned").status == 200


def test_the_pin_holds_for_every_publisher_of_that_repository(deal: Deal) -> None:
    create(deal.platform, "ann/pinned_twice")
    for ref in ("refs/heads/main", "refs/tags/v*"):
        assert deal.trust("ann/pinned_twice", ref=ref).json["repository_id"] is None
    assert deal.exchange(deal.github(repository_id="1"), "ann/pinned_twice").status == 200
    tag = {"ref": "refs/tags/v1", "ref_type": "tag"}
    assert deal.exchange(deal.github(repository_id="2", **tag), "ann/pinned_twice").status == 401
    assert deal.trust("ann/pinned_twice", ref="refs/heads/later").json["repository_id"] == "1"
    assert deal.exchange(deal.github(repository_id="2", ref="refs/heads/later"), "ann/pinned_twice").status == 401
    assert deal.exchange(deal.github(repository_id="1", **tag), "ann/pinned_twice").status == 200


# -- bad ones: what is wrong, how it is made, and what its sender may be told ---------------------------------

Make = Callable[[Deal], object]
BAD: dict[str, tuple[Make, str]] = {}
"""By name: how it is made, and what the answer says of it; nothing where the issuer has not signed it."""
CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"aud": "https://api.example"}, "aud"),
    "the audience with a slash at its end": ({"aud": "URL/"}, "aud"),
    "the audience cut by one": ({"aud": "URL[:-1]"}, "aud"),
    "the audience and one more": ({"aud": ["URL", "https://api.example"]}, "aud"),
    "the audience twice": ({"aud": ["URL", "URL"]}, "aud"),
    "an empty list of audiences": ({"aud": []}, "aud"),
    "no audience": ({"aud": None}, "aud"),
    "an audience that is an object": ({"aud": {"URL": 1}}, "aud"),
    "the audience in upper case": ({"aud": "HTTP"}, "aud"),
    "over for a minute": ({"iat": -400, "nbf": -400, "exp": -60}, "`exp` is over"),
    "over for days": ({"iat": -99999, "nbf": -99999, "exp": -99000}, "`exp` is over"),
    "not yet": ({"nbf": 120}, "yet to come"),
    "issued tomorrow": ({"iat": 86400, "exp": 86500}, "yet to come"),
    "no end": ({"exp": None}, "exp"),
    "no beginning": ({"nbf": None}, "nbf"),
    "no time of issue": ({"iat": None}, "iat"),
    "an end that is a text": ({"exp": "99999999999"}, "exp"),
    "an end that is true": ({"exp": True}, "exp"),
    "an end that is negative": ({"exp": -99999999999}, "exp"),
    "an end beyond all numbers": ({"exp": 10**400}, "exp"),
    "a life of a day": ({"exp": 86400}, "lives longer"),
    "no name of its own": ({"jti": None}, "jti"),
    "an empty name of its own": ({"jti": ""}, "jti"),
    "a name of its own that is a number": ({"jti": 1}, "jti"),
    "no subject": ({"sub": None}, "sub"),
    "another repository": ({"repository": "acme/review"}, "no trusted publisher"),
    "the repository in another case": ({"repository": "Acme/Reviews"}, "no trusted publisher"),
    "the repository with more before": ({"repository": "xacme/reviews"}, "no trusted publisher"),
    "the repository with more after": ({"repository": "acme/reviews2"}, "no trusted publisher"),
    "the repository in look-alike letters": ({"repository": "acme/r\u0435views"}, "no trusted publisher"),
    "the repository in wide letters": ({"repository": "\uff41cme/reviews"}, "no trusted publisher"),
    "the repository and a line break": ({"repository": "acme/reviews\n"}, "repository"),
    "the repository with a null": ({"repository": "acme/reviews\0"}, "repository"),
    "the repository as a pattern": ({"repository": "*/*"}, "no trusted publisher"),
    "repositories in a list": ({"repository": ["acme/reviews"]}, "repository"),
    "no repository": ({"repository": None}, "pipeline_source"),
    "the name of a repository that was made anew": ({"repository_id": "4712"}, "no trusted publisher"),
    "no number of the repository": ({"repository_id": None}, "repository_id"),
    "another branch": ({"ref": "refs/heads/feature"}, "no trusted publisher"),
    "the branch with more after": ({"ref": "refs/heads/main2"}, "no trusted publisher"),
    "the branch as a folder": ({"ref": "refs/heads/main/x"}, "no trusted publisher"),
    "the branch in another case": ({"ref": "refs/heads/Main"}, "no trusted publisher"),
    "the branch in short": ({"ref": "main"}, "no trusted publisher"),
    "a tag named like the branch": ({"ref": "refs/tags/main"}, "no trusted publisher"),
    "a pull request's ref": ({"ref": "refs/pull/1/merge"}, "no trusted publisher"),
    "no ref": ({"ref": None}, "ref"),
    "another workflow": ({"workflow_ref": "WF/other.yml@MAIN", "job_workflow_ref": None}, "no trusted publisher"),
    "another repository's workflow": (
        {"workflow_ref": "acme/evil/.github/workflows/deploy.yml@MAIN", "job_workflow_ref": None},
        "no trusted publisher",
    ),
    "the workflow at another ref": (
        {"workflow_ref": "WF/deploy.yml@refs/heads/x", "job_workflow_ref": None},
        "no trusted publisher",
    ),
    "the workflow with more before": (
        {"workflow_ref": "x/WF/deploy.yml@MAIN", "job_workflow_ref": None},
        "no trusted publisher",
    ),
    "a workflow that calls another": ({"job_workflow_ref": "acme/evil/.github/workflows/x.yml@v1"}, "no trusted"),
    "no workflow": ({"workflow_ref": None, "job_workflow_ref": None}, "no trusted publisher"),
    "another environment": ({"environment": "staging"}, "no trusted publisher"),
    "no environment": ({"environment": None}, "no trusted publisher"),
    "an environment that is an object": ({"environment": {"name": "production"}}, "environment"),
    "a pull request": ({"event_name": "pull_request"}, "event_name"),
    "a pull request with rights": ({"event_name": "pull_request_target"}, "event_name"),
    "a comment": ({"event_name": "issue_comment"}, "event_name"),
    "what follows another workflow": ({"event_name": "workflow_run"}, "event_name"),
    "an event in another case": ({"event_name": "PUSH"}, "event_name"),
    "no event": ({"event_name": None}, "event_name"),
    "of GitHub and of GitLab": ({"project_path": "acme/ml/reviews"}, "of GitHub and of GitLab"),
}
GITLAB: dict[str, tuple[dict[str, Any], str]] = {
    "another project": ({"project_path": "acme/reviews/ml"}, "no trusted publisher"),
    "another project's number": ({"project_id": "816"}, "no trusted publisher"),
    "a merge request": ({"pipeline_source": "merge_request_event"}, "pipeline_source"),
    "a merge request in disguise": ({"ref_path": "refs/merge-requests/1/head"}, "no branch"),
    "a tag named main": ({"ref_type": "tag", "ref_path": "refs/tags/main"}, "no trusted publisher"),
    "a ref of an unknown kind": ({"ref_type": "heads"}, "no branch"),
    "another project's file": ({"ci_config_ref_uri": "gitlab.com/x/y//.gitlab-ci.yml@MAIN"}, "no trusted"),
    "a file of another host": ({"ci_config_ref_uri": "evil/acme/ml/reviews//.gitlab-ci.yml@MAIN"}, "no trusted"),
}


def fill(deal: Deal, value: Any) -> Any:
    """Put the platform's address, the time and the long names in their places."""
    if isinstance(value, list):
        return [fill(deal, one) for one in value]
    if isinstance(value, str):
        url = deal.audience
        value = {"URL": url, "URL/": f"{url}/", "URL[:-1]": url[:-1], "HTTP": url.upper()}.get(value, value)
        return value.replace("WF", "acme/reviews/.github/workflows").replace("MAIN", "refs/heads/main")
    return value


def with_claims(shape: str, changes: dict[str, Any]) -> Make:
    def make(deal: Deal) -> str:
        moved = {
            name: int(time.time()) + value
            if name in {"iat", "nbf", "exp"} and type(value) is int and abs(value) < 1e6
            else fill(deal, value)
            for name, value in changes.items()
        }
        made = (deal.issuer.github if shape == "GitHub" else deal.issuer.gitlab)(deal.audience, **moved)
        return deal.issuer.sign(made)

    return make


for _shape, _table in (("GitHub", CLAIMS), ("GitLab", GITLAB)):
    BAD |= {f"{_shape}: {name}": (with_claims(_shape, changes), said) for name, (changes, said) in _table.items()}


def with_header(**header: Any) -> Make:
    return lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience), **header)


def signed_as(algorithm: str, key: Any, kid: str = "rsa") -> Make:
    """Sign by hand, as a library would not."""

    def make(deal: Deal) -> str:
        signed = f"{encoded({'alg': algorithm, 'kid': kid, 'typ': 'JWT'})}.{encoded(deal.issuer.github(deal.audience))}"
        made = jwt.get_algorithm_by_name(algorithm)
        secret = key() if callable(key) else key
        # a secret that is a public key is what the library would refuse
        return f"{signed}.{encoded(made.sign(signed.encode(), secret))}"

    return make


def pem() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return RSA.public_key().public_bytes(serialization.Encoding.PEM, form)


def own_key() -> dict[str, Any]:
    return public("rsa", STRANGER, "RS256")


def text(value: object) -> Make:
    return lambda _deal: value


def reshaped(change: Callable[[str], object]) -> Make:
    return lambda deal: change(deal.github())


UNSIGNED: dict[str, Make] = {
    "alg none and no signature": lambda deal: (
        f"{encoded({'alg': 'none', 'kid': 'rsa'})}.{deal.github().split('.')[1]}."
    ),
    "alg none and a signature": with_header(alg="none"),
    "alg None": with_header(alg="None"),
    "alg nOnE": with_header(alg="nOnE"),
    "no alg": with_header(alg=None),
    "an alg that is a list": with_header(alg=["RS256"]),
    "HS256 with the public key as secret": signed_as("HS256", pem),
    "HS256 with the modulus as secret": signed_as("HS256", lambda: public("rsa", RSA, "RS256")["n"].encode()),
    "HS256 with nothing as secret": signed_as("HS256", b""),
    "HS512 with the public key as secret": signed_as("HS512", pem),
    "RS512 with the right key": signed_as("RS512", RSA),
    "PS256 with the right key": signed_as("PS256", RSA),
    "ES384 named for an RSA key": with_header(alg="ES384"),
    "ES256 named for an RSA key": with_header(alg="ES256"),
    "RS256 named for an elliptic key": with_header(kid="ec", alg="RS256"),
    "EdDSA named for an elliptic key": with_header(kid="ec", alg="EdDSA"),
    "another's key under the issuer's name": signed_as("RS256", STRANGER),
    "another's elliptic key": signed_as("ES256", ec.generate_private_key(ec.SECP256R1()), "ec"),
    "another's Ed25519 key": signed_as("EdDSA", ed25519.Ed25519PrivateKey.generate(), "ed"),
    "the issuer's other key under this one's name": signed_as("ES256", EC),
    "a key that is for encryption": signed_as("RS256", STRANGER, "stranger-for-encryption"),
    "no kid": with_header(kid=None),
    "a kid that is a number": with_header(kid=1),
    "a kid that is empty": with_header(kid=""),
    "a kid of the issuer's in another case": signed_as("RS256", RSA, "RSA"),
    "a kid that is a path": signed_as("RS256", RSA, "../../../../dev/null"),
    "a kid that is a file": signed_as("RS256", RSA, "/etc/hostname"),
    "a kid that is an address": signed_as("RS256", RSA, "https://evil.example/keys"),
    "a kid that is SQL": signed_as("RS256", RSA, "x' UNION SELECT 'rsa"),
    "a kid that is a command": signed_as("RS256", RSA, "rsa|id"),
    "a kid with a null": signed_as("RS256", RSA, "rsa\0"),
    "a very long kid": signed_as("RS256", RSA, "k" * 5000),
    "a key set's address (jku)": with_header(jku="https://evil.example/keys"),
    "its own key (jwk)": lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience), key=STRANGER, jwk=own_key()),
    "a certificate's address (x5u)": with_header(x5u="https://evil.example/cert"),
    "its own certificate (x5c)": with_header(x5c=["MIIB"]),
    "what must be understood (crit)": with_header(crit=["exp"]),
    "a body that is not encoded (b64)": with_header(b64=False, crit=["b64"]),
    "a token within (cty)": with_header(cty="JWT"),
    "packed (zip)": with_header(zip="DEF"),
    "another type": with_header(typ="at+jwt"),
    "a type that is a list": with_header(typ=["JWT"]),
    "another issuer": lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience, iss="https://evil.example")),
    "the issuer with a slash": lambda deal: deal.issuer.sign(
        deal.issuer.github(deal.audience, iss=deal.issuer.url + "/")
    ),
    "the issuer in upper case": lambda deal: deal.issuer.sign(
        deal.issuer.github(deal.audience, iss=deal.issuer.url.upper())
    ),
    "the issuer over https": lambda deal: deal.issuer.sign(
        deal.issuer.github(deal.audience, iss=deal.issuer.url.replace("http:", "https:"))
    ),
    "the issuer cut by one": lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience, iss=deal.issuer.url[:-1])),
    "no issuer": lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience, iss=None)),
    "issuers in a list": lambda deal: deal.issuer.sign(deal.issuer.github(deal.audience, iss=[deal.issuer.url])),
    "an issuer within our own walls": lambda deal: deal.issuer.sign(
        deal.issuer.github(deal.audience, iss="http://169.254.169.254")
    ),
    "the true GitHub, which nobody here trusts": lambda deal: deal.issuer.sign(
        deal.issuer.github(deal.audience, iss="https://token.actions.githubusercontent.com")
    ),
    "empty": text(""),
    "a word": text("token"),
    "dots alone": text(".."),
    "huge": text("a" * 20000),
    "a little too large": lambda deal: deal.github(padding="x" * 16384),
    "cut in the signature": reshaped(lambda token: token[:-10]),
    "without its signature": reshaped(lambda token: token.rpartition(".")[0] + "."),
    "two segments": reshaped(lambda token: token.rpartition(".")[0]),
    "four segments": reshaped(lambda token: token + ".x"),
    "five segments, as if encrypted": reshaped(lambda token: token + ".x.y"),
    "a space before": reshaped(lambda token: " " + token),
    "a line break after": reshaped(lambda token: token + "\n"),
    "with padding": reshaped(lambda token: token.replace(".", "=.", 1)),
    "in the other alphabet": reshaped(lambda token: token.replace("_", "/").replace("-", "+") + "+/"),
    "another spelling of the signature": reshaped(
        lambda token: token[:-1] + chr(ord(token[-1]) + 1 if token[-1] not in "Zz9_-" else ord("!"))
    ),
    "claims changed afterwards": lambda deal: ".".join(
        [
            (parts := deal.github().split("."))[0],
            encoded(deal.issuer.github(deal.audience, repository="acme/other")),
            parts[2],
        ]
    ),
    "a name twice in the claims": lambda deal: deal.issuer.sign(
        json.dumps(deal.issuer.github(deal.audience))[:-1].encode() + b',"repository":"acme/reviews"}'
    ),
    "a name twice in the header": lambda deal: twice_in_header(deal),
    "claims that are a list": lambda deal: deal.issuer.sign([deal.issuer.github(deal.audience)]),  # type: ignore[arg-type]
    "claims that are a text": lambda deal: deal.issuer.sign(b'"claims"'),
    "claims that are not JSON": lambda deal: deal.issuer.sign(b"{'iss': 1}"),
    "claims with NaN": lambda deal: deal.issuer.sign(b'{"exp": NaN}'),
    "claims that are not UTF-8": lambda deal: deal.issuer.sign(b'{"iss": "\xff"}'),
    "claims as deep as they go": lambda deal: deal.issuer.sign(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "a number of thousands of digits": lambda deal: deal.issuer.sign(b'{"exp":' + b"9" * 5000 + b"}"),
    "a token in a token": lambda deal: deal.issuer.sign(encoded(deal.github().encode()).encode()),
}
BAD |= {f"unsigned: {name}": (make, "") for name, make in UNSIGNED.items()}


def twice_in_header(deal: Deal) -> str:
    header = b'{"alg":"none","alg":"RS256","kid":"rsa"}'
    signed = f"{encoded(header)}.{encoded(deal.issuer.github(deal.audience))}"
    return f"{signed}.{encoded(jwt.get_algorithm_by_name('RS256').sign(signed.encode(), RSA))}"


def test_there_are_more_than_sixty_kinds_of_bad_token() -> None:
    assert len(BAD) >= 60


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_gives_no_key(deal: Deal, name: str) -> None:
    make, told = BAD[name]
    token = make(deal)
    before = deal.count("keys"), deal.count("used_tokens")
    asked = len(deal.issuer.asked)

    answer = deal.exchange(token)

    assert answer.status == 401, answer.body
    assert answer.json["error"]["error_type"] == "Unauthenticated"
    if told:
        assert told in answer.message
    else:
        assert answer.message == "this token is not accepted; see the how-to on deploying without a key"
    assert (deal.count("keys"), deal.count("used_tokens")) == before
    assert len(deal.issuer.asked) - asked <= 2, "a bad token makes the platform ask its issuer once at most"
    log = (deal.platform.home / "platform.log").read_text()
    assert "token refused" in log.splitlines()[-1]
    if isinstance(token, str) and len(token) > 100:
        assert token not in log
        assert token not in answer.body.decode()


def test_the_same_claims_without_a_fault_are_good(deal: Deal) -> None:
    """The table above proves nothing if nothing is accepted."""
    assert deal.exchange(deal.github()).status == 200
    assert deal.exchange(deal.gitlab()).status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"token": 1, "algorithm": "ann/sentiment"}', b"\xff", b"x" * 40000]
)
def test_what_is_no_exchange_is_a_bad_request(deal: Deal, body: bytes) -> None:
    answer = ask(deal.platform, "POST", "/v1/keys/exchange", body, key=None, headers=JSON)
    assert answer.status in {400, 413}
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize("algorithm", ["ann/lonely", "ann/absent", "nobody/sentiment"])
def test_a_token_is_good_for_the_algorithm_that_trusts_it_alone(deal: Deal, algorithm: str) -> None:
    """One that exists and trusts nobody looks like one that does not exist."""
    answer = deal.exchange(deal.github(), algorithm)
    assert answer.status == 401
    assert answer.message.startswith(f"this token is not accepted: no trusted publisher of algo://{algorithm} is acme/")


def test_a_token_is_exchanged_once(deal: Deal) -> None:
    token = deal.github()
    assert deal.exchange(token).status == 200
    before = deal.count("keys")
    for algorithm in ("ann/sentiment", "ann/sentiment"):
        again = deal.exchange(token, algorithm)
        assert again.status == 401
        assert "it was used before" in again.message
    assert deal.count("keys") == before


def test_of_many_at_once_one_gets_the_key(deal: Deal) -> None:
    from concurrent.futures import ThreadPoolExecutor

    token = deal.github()
    with ThreadPoolExecutor(12) as threads:
        found = sorted(answer.status for answer in threads.map(deal.exchange, [token] * 12))
    assert found == [200] + [401] * 11


def test_a_token_that_was_used_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    with issuing() as issuer:
        address, home = "https://models.example", tmp_path / "home"
        options = ("--private-issuer", issuer.url, "--url", address, "--port", str(free_port()))
        local = f"http://127.0.0.1:{options[-1]}"
        platform = start_platform(home, *options)
        try:
            assert platform.url == address, "what callers use is what tokens must be made out to"
            create(replace(platform, url=local), "ann/sentiment")
            deal = Deal(replace(platform, url=local), issuer)
            assert deal.trust().status == 201
            token = issuer.sign(issuer.github(address))
            assert deal.exchange(token).status == 200
            stop_platform(platform)
            platform = start_platform(home, *options)
            again = deal.exchange(token)
            assert again.status == 401
            assert "it was used before" in again.message
            assert deal.exchange(issuer.sign(issuer.github(address))).status == 200
        finally:
            stop_platform(platform)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# -- publishers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"repository": "acme"},
        {"repository": "acme/reviews\n"},
        {"repository": "acme/*"},
        {"repository": "a/" + "b" * 300},
        {"ref": "main"},
        {"ref": "refs/heads/"},
        {"ref": "refs/pull/1/merge"},
        {"ref": "refs/heads/a b"},
        {"workflow": "../x.yml\0"},
        {"workflow": ""},
        {"environment": ""},
        {"environment": "a\nb"},
        {"repository_id": "4711x"},
        {"collection": "../other"},
        {"issuer": "ftp://x"},
        {"issuer": "https://user@host"},
        {"issuer": "https://host?x=1"},
        {"issuer": "https://HOST"},
        {"issuer": "http://host.example"},
        {"issuer": "http://127.0.0.1:1"},
        {"issuer": "https://[::1]"},
        {"issuer": ""},
    ],
)
def test_a_publisher_that_no_token_could_be_is_refused(deal: Deal, values: dict[str, str]) -> None:
    before = deal.count("publishers")
    answer = deal.trust(**values)
    assert answer.status == 400, answer.body
    assert deal.count("publishers") == before


def test_the_same_publisher_again_is_the_same(deal: Deal) -> None:
    create(deal.platform, "ann/again")
    first, second = deal.trust("ann/again"), deal.trust("ann/again")
    assert first.json == second.json
    other = deal.trust("ann/again", ref="refs/heads/next")
    listed = ask(deal.platform, "GET", "/v1/algorithms/ann/again/publishers").json
    assert listed == [first.json, other.json]


def test_a_publisher_that_is_removed_takes_its_keys_along(deal: Deal) -> None:
    create(deal.platform, "ann/left")
    made = deal.trust("ann/left").json["id"]
    key = deal.exchange(deal.github(), "ann/left").json["key"]
    path = f"/v1/algorithms/ann/left/publishers/{made}"
    assert ask(deal.platform, "GET", "/v1/account", key=key).status == 200
    assert ask(deal.platform, "DELETE", path).status == 204
    assert ask(deal.platform, "GET", "/v1/account", key=key).status == 401
    assert deal.exchange(deal.github(), "ann/left").status == 401
    assert ask(deal.platform, "DELETE", path).status == 404


def test_another_tenants_publishers_look_absent(deal: Deal) -> None:
    bob = issue_key(deal.platform, "bob")
    assert deal.trust(key=bob).status == 404
    assert ask(deal.platform, "GET", "/v1/algorithms/ann/sentiment/publishers", key=bob).status == 404
    create(deal.platform, "bob/own", key=bob)
    made = deal.trust("bob/own", key=bob).json["id"]
    assert ask(deal.platform, "DELETE", f"/v1/algorithms/ann/sentiment/publishers/{made}").status == 404
    assert deal.exchange(deal.github(), "bob/own").json["collection"] == "data://bob/own"
