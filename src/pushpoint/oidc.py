"""Tokens of CI systems: was this one signed by the issuer it names, for us, for now, and by which run.

The consumer's half of OpenID Connect: discovery, key set, signature, claims. What a run may do is
`registry/publishers.py`'s affair.

The rules of the game: nothing in a token decides where its key comes from. An issuer is asked only if a trusted
publisher names it, over https, at addresses of the public internet; those the operator named may also be private ones.
Documents, waiting and the number of questions are bounded, so a bad token costs little.

Source:
    RFC 7515 and 7519 (JWS, JWT), RFC 8725 (JWT best practices), OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2
import jwt

from pushpoint.addresses import is_public
from pushpoint.errors import InvalidRequest, Unavailable

LARGEST_TOKEN = 16 << 10
"""Bytes; GitHub's have some 2,000."""
LEEWAY = 30.0
"""Seconds that clocks may differ."""
LONGEST_LIFE = 3600.0
"""Seconds between `iat` and `exp`. GitHub's tokens live for minutes, GitLab's as long as the job may last."""

_KINDS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""The signatures that are believed, by the kind of key: nothing symmetric, and never `none`."""
_MISLEADING = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64", "cty", "zip", "enc"})
"""Header fields that bring a key, name a place to fetch one from, or change what is signed."""
_RSA_SIZES = range(2048, 8193)
_MOST_KEYS, _LARGEST_DOCUMENT = 100, 256 << 10
_DEADLINE = 10.0  # seconds for one document, all in all
_KEYS_LIFE = 3600.0  # seconds after which a key set is read again
_PAUSE = 30.0  # seconds between two questions to one issuer, however many tokens ask for them
_AT_ONCE = 4  # issuers that are asked at a time
_MOST_ISSUERS = 1000  # whose keys are remembered

_NEVER = 1e11  # seconds since 1970

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_ISSUER = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")
_GITHUB_EVENTS = frozenset({"push", "schedule", "workflow_dispatch", "repository_dispatch", "release"})
_GITLAB_EVENTS = frozenset({"push", "schedule", "web", "api", "trigger"})
"""What only those who may write to the repository can cause. A pull request is anybody's, and so are comments, issues
and what follows on other workflows."""


class Rejected(Exception):
    """This token is not believed.

    Attributes:
        is_signed: Whether its issuer signed it, so that whoever sent it may be told what is in it.
    """

    def __init__(self, check: str, *, is_signed: bool = False) -> None:
        self.is_signed = is_signed
        super().__init__(check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of CI, as its issuer vouches for it.

    Attributes:
        issuer: Address of who vouches.
        token_id: The token's own name, to use it once.
        expires: When the token is over.
        repository: Its name there.
        repository_id: Its number there, which no other repository of that name will have.
        ref: Full, such as `refs/heads/main`.
        workflow: File of the workflow; empty where it is not the repository's own at this very ref.
        environment: The environment of the job, or empty.
        number: Of the run, for people who look it up.
    """

    issuer: str
    token_id: str
    expires: datetime
    repository: str
    repository_id: str
    ref: str
    workflow: str
    environment: str
    number: str

    def __str__(self) -> str:
        parts = [f"{self.repository} at {self.ref}"]
        parts += [f"workflow {self.workflow}"] if self.workflow else []
        parts += [f"environment {self.environment}"] if self.environment else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What an issuer said when it was asked last."""

    keys: Mapping[str, jwt.PyJWK]
    fetched: float
    asked: float
    failure: str = ""


class Issuers:
    """Issuers of tokens, and their keys as far as they are known."""

    def __init__(self, *, private: Collection[str] = (), clock: Callable[[], float] = time.time) -> None:
        """Know no keys yet.

        Args:
            private: Issuers that may be at addresses of our own network, and on loopback without TLS.
            clock: Seconds since 1970.
        """
        self._private, self._clock = frozenset(private), clock
        self._known: dict[str, _Known] = {}
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._tls = httpx2.create_ssl_context()

    def check(self, issuer: str) -> str:
        """Check the address of an issuer, without asking it.

        Returns:
            The same address.

        Raises:
            InvalidRequest: It is none that may ever be asked.
        """
        if len(issuer) > 255 or not _ISSUER.fullmatch(issuer):
            raise InvalidRequest(f"{issuer[:255]!r} is not an issuer; write its address as its tokens do, https://HOST")
        if issuer.startswith("https://"):
            return issuer
        if issuer not in self._private or not _is_loopback(urlsplit(issuer)):
            why = "without TLS, an issuer must be on loopback and be named to `pushpoint serve --private-issuer`"
            raise InvalidRequest(f"{issuer} is not an https address; {why}")
        return issuer

    def identify(self, token: str, *, is_trusted: Callable[[str], bool], audience: str) -> Run:
        """Say which run of CI a token vouches for.

        Args:
            token: A JSON Web Token, as it came.
            is_trusted: Whether any publisher names an issuer; others are not asked.
            audience: The platform's address, which the token must be made out to.

        Returns:
            The run; whether its token was used before is for the caller to look up.

        Raises:
            Rejected: The token is not believed.
            Unavailable: Its issuer does not answer.
        """
        header, claims = _parts(token)
        issuer, kid = claims.get("iss"), header.get("kid")
        if not isinstance(issuer, str) or not is_trusted(issuer):
            raise Rejected("iss: no publisher names it")
        if not isinstance(kid, str) or not 1 <= len(kid) <= 200:
            raise Rejected("kid")
        key = self._key(issuer, kid)
        if header["alg"] != key.algorithm_name:
            raise Rejected("alg: not that of the key")
        try:
            jwt.PyJWS().decode(token, key, algorithms=[key.algorithm_name])
        except jwt.PyJWTError as error:
            raise Rejected(f"signature: {type(error).__name__}") from error
        return _run(issuer, claims, audience, self._clock())

    def _key(self, issuer: str, kid: str) -> jwt.PyJWK:
        now = self._clock()
        known = self._known.get(issuer)
        if known and kid in known.keys and now - known.fetched < _KEYS_LIFE:
            return known.keys[kid]
        if known is None or now - known.asked >= _PAUSE:
            known = self._ask(issuer, known)
        if known.failure:
            why = f"the issuer {issuer} cannot be asked for its keys"  # how it failed is the operator's to know
            raise Unavailable(f"{why}; try again in a minute", retry_after=_PAUSE) from ValueError(known.failure)
        if kid not in known.keys:
            raise Rejected("kid: the issuer has no such key")
        return known.keys[kid]

    def _ask(self, issuer: str, before: _Known | None) -> _Known:
        if not self._slots.acquire(blocking=False):
            raise Unavailable("the platform is asking other issuers for their keys; try again", retry_after=1)
        now = self._clock()
        try:
            found = _Known(keys=self._fetch(issuer), fetched=now, asked=now)
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL, ValueError, InvalidRequest, RecursionError) as error:
            keys, fetched = (before.keys, before.fetched) if before else ({}, now)
            found = _Known(keys=keys, fetched=fetched, asked=now, failure=str(error) or type(error).__name__)
        finally:
            self._slots.release()
        self._known[issuer] = found
        for oldest in list(self._known)[:-_MOST_ISSUERS]:
            self._known.pop(oldest, None)
        return found

    def _fetch(self, issuer: str) -> dict[str, jwt.PyJWK]:
        self.check(issuer)
        document = self._read(issuer, issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise ValueError("its discovery document is another issuer's")
        place = document.get("jwks_uri")
        if not isinstance(place, str) or _origin(place) != _origin(issuer):
            raise ValueError("its key set is not on its own host")
        return _key_set(self._read(issuer, place))

    def _read(self, issuer: str, place: str) -> dict[str, Any]:
        parts = urlsplit(place)
        addresses = _resolve(parts, is_private=issuer in self._private)
        try:
            body = asyncio.run(_download(parts, addresses, self._tls))
        except TimeoutError as error:
            raise ValueError(f"no answer in {_DEADLINE:g} s") from error
        return _json(body)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a token apart, and refuse what no issuer of ours makes before anybody is asked.

    Returns:
        Header and claims, neither of them believed yet.

    Raises:
        Rejected: It is no such token.
    """
    if len(token) > LARGEST_TOKEN:
        raise Rejected("size")
    segments = token.split(".")
    if len(segments) != 3:
        raise Rejected("segments")
    try:
        header, claims = (_json(_decode(segment)) for segment in segments[:2])
        _decode(segments[2])
    except (ValueError, RecursionError) as error:
        raise Rejected(f"form: {error}") from error
    if found := sorted(_MISLEADING & header.keys()):
        raise Rejected(f"header: {found[0]}")
    if header.get("alg") not in _KINDS.values():
        raise Rejected("alg")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise Rejected("typ")
    return header, claims


def _decode(segment: str) -> bytes:
    if not _SEGMENT.fullmatch(segment):
        raise ValueError("not base64url")
    found = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != segment:
        raise ValueError("not the only way to write it")  # one token, one spelling
    return found


def _json(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")  # others may read the other one
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    found = json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _run(issuer: str, claims: dict[str, Any], audience: str, now: float) -> Run:
    """Read the claims of a token whose signature was verified.

    Returns:
        The run that they tell of.

    Raises:
        Rejected: They are not for us, not for now, or not of a run that is to be trusted.
    """

    def text(name: str, *, longest: int = 255) -> str:
        found = claims.get(name)
        if not isinstance(found, str) or not 1 <= len(found) <= longest or not found.isprintable():
            raise Rejected(f"its `{name}` is missing or no plain text", is_signed=True)
        return found

    def seconds(name: str) -> float:
        found = claims.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < _NEVER:
            raise Rejected(f"its `{name}` is missing or no time", is_signed=True)
        return float(found)

    if claims.get("aud") not in (audience, [audience]):
        raise Rejected(f"its `aud` is not {audience}", is_signed=True)
    issued, begins, ends = seconds("iat"), seconds("nbf"), seconds("exp")
    if ends - issued > LONGEST_LIFE:
        raise Rejected(f"it lives longer than {LONGEST_LIFE:g} s", is_signed=True)
    if now >= ends + LEEWAY:
        raise Rejected("its `exp` is over", is_signed=True)
    if max(begins, issued) > now + LEEWAY:
        raise Rejected("its `nbf` or `iat` is yet to come", is_signed=True)
    text("sub", longest=1000)
    if "repository" in claims and "project_path" in claims:
        raise Rejected("it claims to be of GitHub and of GitLab", is_signed=True)
    is_github = "repository" in claims
    event, allowed = ("event_name", _GITHUB_EVENTS) if is_github else ("pipeline_source", _GITLAB_EVENTS)
    if text(event) not in allowed:
        raise Rejected(f"its `{event}` is not one of {', '.join(sorted(allowed))}", is_signed=True)
    repository = text("repository" if is_github else "project_path")
    ref = text("ref") if is_github else _gitlab_ref(text("ref"), text("ref_type"), claims.get("ref_path"))
    return Run(
        issuer=issuer,
        token_id=text("jti"),
        expires=datetime.fromtimestamp(min(ends, now + LONGEST_LIFE), tz=UTC),
        repository=repository,
        repository_id=text("repository_id" if is_github else "project_id", longest=40),
        ref=ref,
        workflow=(_github_workflow if is_github else _gitlab_workflow)(issuer, claims, repository, ref),
        environment=text("environment") if claims.get("environment") else "",
        number=text("run_id" if is_github else "pipeline_id", longest=40),
    )


def _github_workflow(_issuer: str, claims: Mapping[str, Any], repository: str, ref: str) -> str:
    """Read the file of the workflow, if it is the repository's own and the steps are in it.

    A called workflow (`job_workflow_ref`) may be anybody's, at another ref.

    Returns:
        Name of the file in `.github/workflows`, or nothing.
    """
    found = claims.get("workflow_ref")
    if claims.get("job_workflow_ref", found) != found:
        return ""
    return _between(found, f"{repository}/.github/workflows/", f"@{ref}")


def _gitlab_workflow(issuer: str, claims: Mapping[str, Any], repository: str, ref: str) -> str:
    return _between(claims.get("ci_config_ref_uri"), f"{issuer.partition('://')[2]}/{repository}//", f"@{ref}")


def _between(text: object, before: str, after: str) -> str:
    if not isinstance(text, str) or not (text.startswith(before) and text.endswith(after)):
        return ""
    return text[len(before) : len(text) - len(after)]


def _gitlab_ref(name: str, kind: str, whole: object) -> str:
    found = {"branch": f"refs/heads/{name}", "tag": f"refs/tags/{name}"}.get(kind)
    if found is None or whole not in (
        None,
        found,
    ):  # a merge request's pipeline names its branch here, and itself there
        raise Rejected("its `ref` is no branch and no tag", is_signed=True)
    return found


def _key_set(document: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """Read the keys of a key set that may sign for us; others are left out, as is a name that two keys have.

    Returns:
        The keys by `kid`.

    Raises:
        ValueError: It is no key set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ValueError("its key set is no list of keys")
    found: dict[str, jwt.PyJWK] = {}
    doubled: set[str] = set()
    for one in listed:
        kid = one.get("kid") if isinstance(one, dict) else None
        if not isinstance(kid, str):
            continue
        if kid in found or kid in doubled:
            doubled.add(kid)
            found.pop(kid, None)
        elif key := _public_key(one):
            found[kid] = key
        else:
            doubled.add(kid)
    return found


def _public_key(one: dict[str, Any]) -> jwt.PyJWK | None:
    kind = (str(one.get("kty")), None if one.get("kty") == "RSA" else str(one.get("crv")))
    algorithm = _KINDS.get(kind)
    if algorithm is None or one.get("use", "sig") != "sig" or one.get("alg", algorithm) != algorithm or "d" in one:
        return None
    try:
        key = jwt.PyJWK(one, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if algorithm != "RS256" or key.key.key_size in _RSA_SIZES else None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    if parts.username is not None or parts.fragment:
        raise ValueError("its key set's address is odd")
    return parts.scheme, parts.hostname or "", parts.port


def _is_loopback(parts: SplitResult) -> bool:
    return parts.hostname in {"127.0.0.1", "localhost"}


def _resolve(parts: SplitResult, *, is_private: bool) -> list[str]:
    """Look up a host once; the connection goes to what was looked at, so nobody can change it in between.

    Returns:
        Its addresses.

    Raises:
        ValueError: The host is where no issuer of that kind may be.
    """
    found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    if not is_private and not all(map(_is_public, addresses)):
        raise ValueError("it is not on the public internet; if it is yours, name it to `serve --private-issuer`")
    if parts.scheme == "http" and not all(address.is_loopback for address in addresses):
        raise ValueError("without TLS it must be on loopback")
    return [str(address) for address in addresses]


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return is_public(str(mapped or address))  # a mapped one is connected to as what it maps


async def _download(parts: SplitResult, addresses: Sequence[str], tls: ssl.SSLContext) -> bytes:
    headers = {"host": parts.netloc, "accept": "application/json", "accept-encoding": "identity"}
    async with (
        asyncio.timeout(_DEADLINE),
        httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=_DEADLINE / 3) as client,
    ):
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            place = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
            request = client.build_request("GET", place, headers=headers, extensions={"sni_hostname": parts.hostname})
            try:
                answer = await client.send(request, stream=True)
            except httpx2.ConnectError:
                if address == addresses[-1]:
                    raise
                continue
            return await _body(answer)
    raise ValueError("its host has no address")


async def _body(answer: httpx2.Response) -> bytes:
    body = b""
    if answer.status_code != 200:
        raise ValueError(f"it answers {answer.status_code}")
    async for piece in answer.aiter_raw(1 << 14):
        body += piece
        if len(body) > _LARGEST_DOCUMENT:
            raise ValueError("its answer is too large")
    return body
