"""All that crosses the socket between the platform and a worker, as values.

A body is bytes from end to end: the platform never parses what a caller or an algorithm said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Union

STDOUT_LIMIT = 1 << 20
"""Bytes of output that an answer holds."""
CAPTURE = ".stdout"
"""File in a worker's scratch folder that has the output of the call under way, if it was asked for."""
WINDOW, ITEM_COST = 1 << 18, 1 << 8
"""Bytes of one stream that may be under way from a worker to a caller, and what each item takes of them beside its own.
An item is sent when some of the window is left, so a large one may exceed it, once."""

ERROR_TYPES = frozenset(
    {
        # an algorithm may say these of itself
        "AlgorithmError",
        "InputError",
        "UnsupportedError",
        "InitializationError",
        "OutOfMemoryError",
        "OutOfGpuMemoryError",
        "LanguageError",
        "TooLargeError",
        "ParsingError",
        "EntityNotFoundError",
        "ThirdPartyCredentialError",
        # the worker and the engine say these of it
        "LoadingError",
        "SystemError",
        "SystemExit",
        "TimeoutError",
    }
)


def error_type(word: object) -> str:
    """Read the word an exception has for its own kind.

    Returns:
        `word` if it is in the vocabulary of the /v1 API, else `AlgorithmError`.

    Example:
        >>> error_type("InputError"), error_type(7)
        ('InputError', 'AlgorithmError')
    """
    return word if isinstance(word, str) and word in ERROR_TYPES else "AlgorithmError"


@dataclass(frozen=True)
class Hello:
    """The first thing a worker hears; what must be seen in no process list comes here.

    Attributes:
        token: Credential of the algorithm's owner, for calls made while loading.
        variables: The owner's variables, put into the environment before the import.
    """

    token: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """The import and `load()` are over, well or not.

    Attributes:
        seconds: How long they took.
        failure: What went wrong; then the worker ends.
        at_once: Calls that the algorithm takes at a time.
        repeatable: Whether a call may be made again after it ended its worker: those of a batch may.
    """

    seconds: float
    failure: Optional[Failure] = None
    at_once: int = 1
    repeatable: bool = False


@dataclass(frozen=True)
class Call:
    """One input for `apply`.

    Attributes:
        content_type: `text`, `json` or `binary`.
        data: The body as it came.
        token: Credential for calls the algorithm makes on the caller's behalf; none where it takes many at a time.
        stdout: Whether the answer shall hold what was printed.
        trace: The caller's W3C `traceparent`.
        stream: Whether the caller takes one item after the other; else what is generated is one list.
    """

    content_type: str
    data: bytes
    token: str = ""
    stdout: bool = False
    trace: str = ""
    stream: bool = False


@dataclass(frozen=True)
class Item:
    """One of the things that `apply` generates; an answer or a failure comes after the last one.

    Attributes:
        content_type: `text`, `json` or `binary`.
        data: UTF-8 text, JSON or plain bytes.
    """

    content_type: str
    data: bytes

    @property
    def cost(self) -> int:
        """Bytes that it takes of the window of its stream; empty ones take some as well."""
        return len(self.data) + ITEM_COST


@dataclass(frozen=True)
class More:
    """The caller has taken items of a stream, so there may be more.

    Attributes:
        size: Their cost together, in bytes.
    """

    size: int


@dataclass(frozen=True)
class Stop:
    """Nobody waits for this stream any more."""


@dataclass(frozen=True)
class Answer:
    """What `apply` returned.

    Attributes:
        content_type: `text`, `json`, `binary`; `void` for nothing at all, which is how a stream ends.
        data: UTF-8 text, JSON or plain bytes.
        duration: Seconds spent in `apply`.
        stdout: What was printed meanwhile, if it was asked for.
        batch: How many calls were in its batch, in one answer of each batch; else 0.
    """

    content_type: str
    data: bytes
    duration: float
    stdout: Optional[str] = None
    batch: int = 0


@dataclass(frozen=True)
class Failure:
    """The algorithm's own error: an answer, not an exception.

    Attributes:
        error_type: A word of `ERROR_TYPES`.
        message: For the caller.
        stacktrace: For those who may read the source; the worker's own frames are left out.
        duration: Seconds until it failed.
        stdout: What was printed meanwhile, if it was asked for.
    """

    error_type: str
    message: str
    stacktrace: str = ""
    duration: float = 0.0
    stdout: Optional[str] = None


@dataclass(frozen=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True)
class Pong:
    """Yes."""


Message = Union[Hello, Ready, Call, Item, More, Stop, Answer, Failure, Ping, Pong]
Outcome = Union[Answer, Failure]
