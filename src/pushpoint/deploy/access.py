"""A client for the platform that the environment names: with a key, or in CI with an identity alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pushpoint import identity
from pushpoint.client import Client, exchange
from pushpoint.config import credentials
from pushpoint.errors import ConfigError
from pushpoint.names import algorithm_name


def open_client(
    environment: Mapping[str, str], profile: Path, algorithm: Callable[[], str]
) -> tuple[Client, list[str]]:
    """Make a client; where there is no key and CI vouches for the job, its identity is exchanged for keys as needed.

    Args:
        environment: Environment variables.
        profile: The profile that `pushpoint serve` writes.
        algorithm: Called for the algorithm that the key is to be for, if it is exchanged.

    Returns:
        The client, to be closed, and the texts that a notebook's environment must not hold.

    Raises:
        ConfigError: The algorithm's owner is not named, and without a key nobody can say who it is.
        MissingSetting: There is no address, or neither a key nor an identity.
    """
    found = credentials(environment, profile, is_vouched_for=identity.is_offered(environment))
    secrets = identity.secrets(environment)
    if found.key:
        return Client(found.url, found.key.reveal()), [found.key.reveal(), *secrets]
    text = algorithm()
    if "/" not in text.removeprefix("algo://").strip("/"):
        raise ConfigError(f"without a key, the algorithm's owner must be named: write it as OWNER/{text}")
    name, token = algorithm_name(text), identity.source(environment, audience=found.url)
    return Client(found.url, renew=lambda: exchange(found.url, token(), name)), secrets
