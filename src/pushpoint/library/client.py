"""The way in: which platform, with whose key."""

from __future__ import annotations

import os
from functools import cache, cached_property
from types import TracebackType
from typing import Self

from stamina import instrumentation

from pushpoint.client import Client as Wire
from pushpoint.client.connection import Again
from pushpoint.config import credentials, profile_path
from pushpoint.library.algorithms import Algorithm
from pushpoint.library.progress import here
from pushpoint.library.results import shown
from pushpoint.names import algorithm_name


class Client:
    """A platform, for a person with a key. It closes itself as a context manager, or with `close`."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        """Find the platform; nothing is sent yet.

        Args:
            url: Its address; else `PUSHPOINT_URL`, else what the profile says that `pushpoint serve` writes.
            key: API key; else `PUSHPOINT_API_KEY`, else the profile's, if it is for that address.

        Raises:
            ConfigError: The address is none.
            MissingSetting: One of the two is nowhere.
            Unauthenticated: The key cannot be one.
        """
        given = {"PUSHPOINT_URL": url, "PUSHPOINT_API_KEY": key}
        found = credentials(os.environ | {k: v for k, v in given.items() if v is not None}, profile_path(os.environ))
        self._wire = Wire(found.url, found.key.reveal() if found.key else "")
        self._report = here()
        _keep_our_retries_quiet()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def _repr_html_(self) -> str:
        return shown("Pushpoint", {"platform": self.url})

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    @property
    def url(self) -> str:
        """The platform's address."""
        return self._wire.url

    @cached_property
    def account(self) -> str:
        """Name of the account whose key this is; the platform is asked once."""
        return self._wire.account().name

    def algorithm(self, name: str) -> Algorithm:
        """Speak of an algorithm, whether or not it exists.

        Args:
            name: `OWNER/NAME`; or `NAME`, then the key's account owns it.

        Returns:
            The algorithm.
        """
        has_owner = "/" in name.removeprefix("algo://").strip("/")
        return Algorithm(
            algorithm_name(name, owner=None if has_owner else self.account), wire=self._wire, report=self._report
        )


@cache
def _keep_our_retries_quiet() -> None:
    # stamina writes each retry of this process to standard output, which is the user's; their own stay as they are
    def unless_ours(hook: instrumentation.RetryHook) -> instrumentation.RetryHook:
        return lambda details: None if isinstance(details.caused_by, Again) else hook(details)

    instrumentation.set_on_retry_hooks([unless_ours(hook) for hook in instrumentation.get_on_retry_hooks()])
