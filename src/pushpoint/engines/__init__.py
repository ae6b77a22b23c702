"""What runs algorithms: the values an engine is given, and what it asks of a sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from pushpoint.reach import Reach
from pushpoint.scaling import Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything there is to know for starting a worker.

    Attributes:
        algorithm: `owner/name`.
        module: Module below `src` that has `apply`.
        code: Folder with the algorithm's repository; shown read-only.
        python: Interpreter inside the environment.
        environment: The virtual environment; shown read-only.
        bytecode: Folder for compiled modules.
        bytecode_writable: Whether this algorithm may write them: its first start, usually.
        model: Stored blob that the manifest describes; it is copied and verified before the import.
        log: File that what the algorithm prints is appended to.
        variables: The owner's variables; they appear in no process list.
        owner_token: Credential for calls the algorithm makes while loading.
        reach: What it may reach over the network, beside the platform.
        limits: What it may use, where that is less than the engine lets every worker have: by the names of
            `WorkerLimits`.
        scaling: How many workers there may be; one, by default.
    """

    algorithm: str
    module: str
    code: Path
    python: Path
    environment: Path
    bytecode: Path
    bytecode_writable: bool = False
    model: Path | None = None
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    owner_token: str = ""
    reach: Reach = field(default_factory=Reach)
    limits: Mapping[str, object] = field(default_factory=dict)
    scaling: Scaling = field(default_factory=partial(Scaling, min_replicas=1, max_replicas=1))


class Confinement(Protocol):
    """What an engine asks of `pushpoint.sandbox.Sandbox`."""

    @property
    def program(self) -> str | None:
        """The program that confines; None where nothing does."""
        ...

    def command(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        directory: Path,
        scratch: Path,
        readable: Iterable[Path] = (),
        writable: Iterable[Path] = (),
        shared_memory: int | None = None,
    ) -> list[str]:
        """Wrap `argv` so that it runs confined, without a network."""
        ...


class Proxy(Protocol):
    """What an engine asks of a `pushpoint.egress.Proxy`."""

    @property
    def path(self) -> Path:
        """The Unix socket where it listens."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class WayOut(Protocol):
    """What an engine asks of `pushpoint.egress.Egress`."""

    def for_worker(self, reach: Reach, algorithm: str) -> Proxy:
        """Open a proxy for one worker."""
        ...
