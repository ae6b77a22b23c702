"""An issuer of identities that really signs: discovery, keys and tokens over HTTP, as GitHub and GitLab have them."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

CREDENTIAL = "credential-of-the-job"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, tuple[str, Any]] = {"rsa": ("RS256", RSA), "ec": ("ES256", EC), "ed": ("EdDSA", ED)}
DISCOVERY, KEY_SET = "/.well-known/openid-configuration", "/keys"


def public(kid: str, key: Any, algorithm: str) -> dict[str, Any]:
    """The public half of a key, as a key set has it."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "alg": algorithm, "use": "sig"}


def encoded(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@dataclass
class Issuer:
    """Somebody who vouches for runs of CI.

    Attributes:
        key_set: What it says its keys are.
        documents: Answers that replace the true ones: status, headers and body, by path.
        asked: Paths, in the order they were asked for.
        changes: Claims that the tokens it gives to jobs have instead of the usual ones; none takes a claim away.
    """

    url: str
    key_set: list[dict[str, Any]] = field(
        default_factory=lambda: [public(kid, key, algorithm) for kid, (algorithm, key) in KEYS.items()]
    )
    documents: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)

    def github(self, audience: str, **changes: Any) -> dict[str, Any]:
        """Claims as GitHub makes them for a push to main; those that are none are left out."""
        claims = self._times(audience) | {
            "sub": "repo:acme/reviews:ref:refs/heads/main",
            "repository": "acme/reviews",
            "repository_id": "4711",
            "repository_owner": "acme",
            "ref": "refs/heads/main",
            "ref_type": "branch",
            "workflow_ref": "acme/reviews/.github/workflows/deploy.yml@refs/heads/main",
            "job_workflow_ref": "acme/reviews/.github/workflows/deploy.yml@refs/heads/main",
            "environment": "production",
            "event_name": "push",
            "run_id": "1234567890",
            "run_attempt": "1",
            "sha": "c" * 40,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def gitlab(self, audience: str, **changes: Any) -> dict[str, Any]:
        """Claims as GitLab makes them for a push to main."""
        host = self.url.partition("://")[2]
        claims = self._times(audience) | {
            "sub": "project_path:acme/ml/reviews:ref_type:branch:ref:main",
            "project_path": "acme/ml/reviews",
            "project_id": "815",
            "ref": "main",
            "ref_type": "branch",
            "ref_path": "refs/heads/main",
            "ci_config_ref_uri": f"{host}/acme/ml/reviews//.gitlab-ci.yml@refs/heads/main",
            "environment": "production",
            "pipeline_source": "push",
            "pipeline_id": "321",
            "job_id": "654",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def _times(self, audience: str) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.url, "aud": audience, "jti": str(uuid4()), "iat": now, "nbf": now, "exp": now + 300}

    def sign(self, claims: Mapping[str, Any] | bytes, *, kid: str = "rsa", key: Any = None, **header: Any) -> str:
        """Sign claims; header fields that are none are left out."""
        algorithm, usual = KEYS.get(kid, KEYS["rsa"])
        fields = {"typ": "JWT", "alg": algorithm, "kid": kid} | header
        made = encoded({name: value for name, value in fields.items() if value is not None})
        signed = f"{made}.{encoded(claims)}"
        signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key or usual)
        return f"{signed}.{encoded(signature)}"

    def job(self) -> dict[str, str]:
        """What GitHub puts into the environment of a job that may have a token."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": CREDENTIAL,
        }

    def answer(self, path: str, query: dict[str, list[str]], credential: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if path in self.documents:
            return self.documents[path]
        match path:
            case "/.well-known/openid-configuration":
                found: object = {"issuer": self.url, "jwks_uri": self.url + KEY_SET}
            case "/keys":
                found = {"keys": self.key_set}
            case "/token" if credential == f"bearer {CREDENTIAL}":
                found = {"value": self.sign(self.github(query["audience"][0], **self.changes))}
            case "/token":
                return 401, {}, b"{}"
            case _:
                return 404, {}, b"{}"
        return 200, {"content-type": "application/json"}, json.dumps(found).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Start an issuer on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            credential = self.headers.get("authorization", "")
            status, headers, body = found.answer(parts.path, parse_qs(parts.query), credential)
            self.send_response(status)
            for name, value in (headers | {"content-length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
