"""How requests are sent: with which key, how often, and what an answer that is no success becomes.

What may be repeated is repeated when the connection fails or the platform is busy: reading, and writing that names its
result. Every answer that is not a success becomes an error of our own tree, by the class the platform names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import msgspec
import stamina

from pushpoint import errors, wire
from pushpoint.names import AlgorithmName

T = TypeVar("T")
EXCHANGE = "/v1/keys/exchange"
_PLAIN = {
    cls.__name__: cls
    for cls in (
        errors.ConfigError,
        errors.InvalidRequest,
        errors.IntegrityError,
        errors.Unauthenticated,
        errors.Refused,
        errors.RolloutFailed,
        errors.Conflict,
        errors.AlreadyExists,
        errors.Superseded,
        errors.NotFound,
        errors.Unavailable,
        errors.Overloaded,
    )
}
_BY_STATUS: dict[int, type[errors.Error]] = {
    401: errors.Unauthenticated,
    403: errors.Refused,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.IntegrityError,
    429: errors.Overloaded,
}


class Again(Exception):
    """Worth another try."""


class Connection:
    """A platform, seen with one key; may be used from several threads."""

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        renew: Callable[[], wire.ExchangedKey] | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Make a client.

        Args:
            url: The platform's address, without a path.
            key: API key.
            renew: Called for a key, instead of `key`, when there is none yet or the one before is over.
            transport: How to send; over the network by default.

        Raises:
            ConfigError: `url` is no address.
            Unauthenticated: `key` cannot be one; it is not shown, and not sent.
        """
        self.url = url.rstrip("/")
        self._key, self._renew = key, renew
        self._until = 0.0  # of the monotonic clock, in seconds; for a key that is renewed
        self._renewing = threading.Lock()
        if not (key.isascii() and key.isprintable()):
            raise errors.Unauthenticated("the key holds characters that no key has; check PUSHPOINT_API_KEY")
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                headers={"authorization": f"Simple {key}"} if key else {},
                timeout=httpx2.Timeout(60.0, connect=5.0),
                transport=transport,
            )
        except httpx2.InvalidURL as error:
            raise errors.ConfigError(f"{url} is not an address ({error}); check PUSHPOINT_URL") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(
        self, method: str, path: str, *, json: object = None, kind: type[T] | Any = dict, timeout: float = 60.0
    ) -> T | Any:
        headers = {} if json is None else {"content-type": "application/json"}
        content = b"" if json is None else wire.encode(json)
        answer = self._checked(self._send(method, path, headers=headers, content=content, timeout=timeout))
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise self._strange() from error

    def _do(self, method: str, path: str, *, json: object = None) -> None:
        headers = {} if json is None else {"content-type": "application/json"}
        content = b"" if json is None else wire.encode(json)
        self._checked(self._send(method, path, headers=headers, content=content))

    def _pages(self, path: str, kind: type[T]) -> Iterator[T]:
        following = f"{path}?limit=200"
        while following:
            page = self._ask("GET", following, kind=wire.Page[kind])  # type: ignore[valid-type]
            yield from page.results
            following = f"{path}?limit=200&marker={page.marker}" if page.marker else ""

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterator[bytes]] = b"",
        timeout: float = 60.0,
    ) -> httpx2.Response:
        def send() -> httpx2.Response:
            return self._http.request(
                method,
                path,
                headers=headers,
                content=content() if callable(content) else content,
                timeout=httpx2.Timeout(timeout, connect=5.0),
            )

        try:
            return patiently(lambda: self._with_key(send), httpx2.TransportError)
        except Again as error:
            raise self._unreachable(error.__cause__) from error

    def _with_key(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        self._renew_before(0.0)
        used = self._key
        answer = send()
        if answer.status_code == 401 and self._renew:  # over, by the platform's clock, or revoked
            with self._renewing:
                if self._key == used:  # no other thread was faster
                    self._until = 0.0
            self._renew_before(0.0)
            answer = send()
        return answer

    def _renew_before(self, seconds: float) -> None:
        with self._renewing:
            if self._renew and time.monotonic() + seconds >= self._until:
                began = time.monotonic()
                found = self._renew()
                self._key, self._until = found.key, began + found.expires
                self._http.headers["authorization"] = f"Simple {found.key}"

    def _checked(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        raise _error(answer)

    def _strange(self) -> errors.Unavailable:
        return errors.Unavailable(f"{self.url} does not answer as a platform does; check PUSHPOINT_URL")

    def _unreachable(self, cause: BaseException | None) -> errors.Unavailable:
        why = str(cause) or type(cause).__name__
        return errors.Unavailable(
            f"no answer from {self.url} ({why}); check PUSHPOINT_URL, or start the platform: pushpoint serve"
        )


def exchange(
    url: str, token: str, name: AlgorithmName, *, transport: httpx2.BaseTransport | None = None
) -> wire.ExchangedKey:
    """Exchange an identity that CI gave for a key. Repeated only where the platform cannot have used the token.

    Args:
        url: The platform's address.
        token: What CI gave; it can be exchanged once.
        name: The algorithm to deploy.
        transport: How to send; over the network by default.

    Returns:
        A key that is good for deploying that algorithm, for 15 minutes at most.

    Raises:
        ConfigError: `url` is no address.
        Unauthenticated: The platform does not accept the token, and says why as far as it may.
        Unavailable: The platform, or the issuer that it asks, does not answer.
    """
    body = wire.encode(wire.Exchange(token=token, algorithm=str(name)))
    try:
        with httpx2.Client(base_url=url, timeout=httpx2.Timeout(60.0, connect=5.0), transport=transport) as http:
            answer = patiently(
                lambda: http.post(EXCHANGE, content=body, headers={"content-type": "application/json"}),
                httpx2.ConnectError,  # the others may mean that the platform has used the token
            )
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=wire.ExchangedKey)
    except httpx2.InvalidURL as error:
        raise errors.ConfigError(f"{url} is not an address ({error}); check PUSHPOINT_URL") from error
    except (Again, httpx2.TransportError, msgspec.DecodeError) as error:
        why = str(error.__cause__ or error) or type(error).__name__
        raise errors.Unavailable(f"{url} gives no key for the identity of this job ({why}); run it again") from error
    failure: errors.Error = _error(answer)
    raise failure


def patiently(send: Callable[[], httpx2.Response], retried: type[Exception]) -> httpx2.Response:
    """Send a request again while the platform is busy, or fails in a way that allows it.

    Returns:
        The answer.

    Raises:
        Again: It failed each time; the cause is the last failure.
    """
    for attempt in stamina.retry_context(on=Again, attempts=5, timeout=15.0, wait_initial=0.2, wait_max=3.0):
        with attempt:
            try:
                answer = send()
            except retried as error:
                raise Again from error
            if answer.status_code == 503 and attempt.num < 5:
                raise Again
    return answer


def _error(answer: httpx2.Response) -> errors.Error:
    try:
        found = msgspec.json.decode(answer.content)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        found = {}
    if isinstance(found, str):
        name = "/".join(answer.request.url.path.split("/")[3:5])
        found = {"message": f"algorithm {name} not found; check its name and whose key you use"}
    if not isinstance(found, dict):
        found = {}
    message = str(found.get("reason") or found.get("message") or f"{answer.request.url} answered {answer.status_code}")
    if answer.status_code == 401 and answer.request.url.path != EXCHANGE:
        message = f"{answer.request.url.host} does not accept this key; set PUSHPOINT_API_KEY to a valid one"
    kind = _PLAIN.get(str(found.get("error_type"))) or _BY_STATUS.get(answer.status_code)
    if kind is None:
        kind = errors.ConfigError if answer.status_code < 500 else errors.Unavailable
    return kind(message)
