"""Ordinary calls without ASGI: a request that is there as a whole is given to a worker, and answered when that answers.

No task, no coroutine, no message in between; they are half of what the platform takes for a call. It does what `calls`
does, with the same functions. Whatever is unusual is declined: a caller that is not known yet, a release that has no
worker, a stream, anything wrong. `calls` then does it, or says why not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pushpoint.errors import Error, Overloaded
from pushpoint.names import Reference
from pushpoint.runtime.messages import Outcome
from pushpoint.serving import Services
from pushpoint.serving import calls as serving
from pushpoint.web import calls, guards, items, outcomes, protocol, raw, refusals

_USUAL = re.compile(rb"/v1/algo/(\w+/\w+(?:/[\w.*-]+)?)(?:\?([^#]*))?", re.ASCII)
_LONGEST = 200  # bytes of a path and query whose meaning is remembered


def direct(services: Services) -> protocol.Direct | None:
    """Make the way around ASGI.

    Returns:
        A function for requests; none where every call is traced.
    """
    return None if services.tracing else _Calls(services).begin


class _Calls:
    def __init__(self, services: Services) -> None:
        self._services = services

    def begin(self, url: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, write: protocol.Write) -> bool:
        services, sent = self._services, dict(headers)  # the last one of each name counts
        found = _read(url) if len(url) <= _LONGEST else None
        coding = sent.get(b"content-encoding", b"").decode("latin-1")
        kind = calls.content_type(sent.get(b"content-type", b"").decode("latin-1"), coding)
        if not found or not kind or len(body) > services.limits.input or _is_stream(sent):
            return False
        asked, options, timeout, is_raw = found
        _, key = guards.credential(sent.get(b"authorization", b"").decode("latin-1"))
        actor = services.identities.remembered(key)
        if actor is None or "call" not in actor.scopes:
            return False
        target = services.lookups.remembered(actor, asked)
        if target is None:
            return False
        request = calls.read(kind, body, options, sent.get(b"traceparent", b"").decode("latin-1"))
        request_id, began = calls.new_request_id(), time.perf_counter()

        def answer(outcome: Outcome) -> None:
            seconds = time.perf_counter() - began
            try:
                outcome = outcomes.noted(
                    services, actor, target, request, outcome, seconds=seconds, request_id=request_id
                )
                response = outcomes.response(actor, target, outcome, request_id=request_id, is_raw=is_raw)
            except Exception as error:
                response = self._refusal(url, error, seconds)
            try:
                write(*response)
            except Exception:  # who gave the outcome gives others theirs too
                raw.log.exception("an answer was not written")

        try:
            return serving.submit(services, actor, target, request, timeout=timeout, request_id=request_id, take=answer)
        except Overloaded as error:  # many come then, and what one costs is taken from those that are answered
            write(*self._refusal(url, error, time.perf_counter() - began))
            return True

    def _refusal(self, url: bytes, error: Exception, seconds: float) -> tuple[int, dict[str, str], bytes]:
        response = status, _, body = raw.wrong(error)
        refusals.note(self._services, url.partition(b"?")[0].decode("latin-1"), status, body, seconds)
        return response


def _is_stream(sent: Mapping[bytes, bytes]) -> bool:
    accept = sent.get(b"accept")
    return accept is not None and items.form(accept.decode("latin-1")) is not None


@lru_cache(10_000)
def _read(url: bytes) -> tuple[Reference, Mapping[str, str], float, bool] | None:
    if not (usual := _USUAL.fullmatch(url)):
        return None
    options = raw.options(usual[2] or b"")
    try:
        asked, timeout = calls.usual_reference(usual[1].decode()), calls.timeout_of(options)
        output = calls.output_of(options)
    except Error:
        return None
    return None if output == "void" else (asked, options, timeout, output == "raw")
