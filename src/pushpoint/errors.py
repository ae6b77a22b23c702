"""Every error Pushpoint raises on purpose, sorted by what the reader can do about it.

```
Error
  ConfigError
    UnknownSetting
    MissingSetting
    InvalidName
    InvalidRequest
  TrainingError
    NotebookMissing
    NotebookUnreadable
    RequirementsFailed
    CellFailed
    CellTimedOut
    KernelDied
    ModelMissing
  IntegrityError
    DigestMismatch
  Unauthenticated
  Refused
  BuildFailed
  RolloutFailed
    PreviewFailed
  CallFailed
  Conflict
    AlreadyExists
    IllegalTransition
    InUse
    PushRejected
    Superseded
  NotFound
  Unavailable
    Overloaded
```

An algorithm's own exceptions are not in this tree: they are `Failure` values, answers like any other; `CallFailed` is
how `pushpoint.Client` tells of one. Facts are attributes, the sentence is made from them, and it ends with the next
thing to do. Two tables elsewhere map these classes: `web/errors.py` to a status, `cli/__init__.py` to an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushpoint.runtime.messages import Failure


class Error(Exception):
    """Anything that went wrong in a way we foresaw."""


class ConfigError(Error):
    """The settings, the checkout or the request must change."""


class UnknownSetting(ConfigError):
    """A setting that does not exist."""

    def __init__(self, name: str, *, layer: str, nearest: str | None) -> None:
        self.name, self.layer, self.nearest = name, layer, nearest
        hint = f"did you mean `{nearest}`?" if nearest else "`pushpoint config` lists them all."
        super().__init__(f"unknown setting `{name}` in {layer}; {hint}")


class MissingSetting(ConfigError):
    """A setting without a default that nobody gave."""

    def __init__(self, name: str, *, how: str) -> None:
        self.name = name
        super().__init__(f"`{name}` is not set; {how}")


class InvalidName(ConfigError):
    """A name outside the grammar of the platform."""

    def __init__(self, kind: str, name: str, *, rule: str) -> None:
        self.kind, self.name = kind, name
        shown = name if len(name) <= 60 else name[:57] + "..."
        super().__init__(f"{shown!r} is not a valid {kind}: {rule}")


class InvalidRequest(ConfigError):
    """A request that does not say what its route needs."""


class TrainingError(Error):
    """The notebook, its requirements or its model must change."""


class NotebookMissing(TrainingError):
    """The notebook that was asked for is not there."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"notebook {path} does not exist; set `notebook`, or leave it out to deploy a checked-in model"
        )


class NotebookUnreadable(TrainingError):
    """The notebook is not a notebook."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} cannot be read as a notebook ({reason}); open it in Jupyter and save it again")


class RequirementsFailed(TrainingError):
    """The requirements could not be installed."""

    def __init__(self, path: str, log: str) -> None:
        self.path, self.log = path, log
        super().__init__(f"{path} could not be installed:\n{log.strip()}\nCorrect {path}, commit, and deploy again")


class CellFailed(TrainingError):
    """A cell raised, or a command inside it failed.

    Attributes:
        cell: Number of the cell in the notebook, counted from 1 over code cells.
        name: Class of the exception.
        value: Its message.
        traceback: Plain text, without terminal colours.
    """

    def __init__(self, cell: int, name: str, value: str, *, notebook: str, traceback: str = "") -> None:
        self.cell, self.name, self.value, self.notebook, self.traceback = (
            cell,
            name,
            value,
            notebook,
            traceback,
        )
        is_missing = name == "ModuleNotFoundError"
        advice = "add its package to the requirements and commit" if is_missing else "mend the cell and commit"
        super().__init__(f"cell {cell} of {notebook} failed with {name}: {value}; {advice}")


class CellTimedOut(TrainingError):
    """A cell, or the notebook as a whole, ran longer than it may.

    Attributes:
        seconds: The limit that was passed.
        setting: The setting that raises it.
    """

    def __init__(self, cell: int, seconds: float, *, notebook: str, setting: str) -> None:
        self.cell, self.seconds, self.notebook, self.setting = cell, seconds, notebook, setting
        super().__init__(
            f"cell {cell} of {notebook} was stopped after {seconds:g} s; raise `{setting}` if it needs longer"
        )


class KernelDied(TrainingError):
    """The kernel ended in the middle of a cell."""

    def __init__(self, cell: int, reason: str, *, notebook: str) -> None:
        self.cell, self.reason, self.notebook = cell, reason, notebook
        what = f"the kernel died in cell {cell} of {notebook}: {reason}"
        super().__init__(f"{what}; mend the cell or give it more memory, then deploy again")


class ModelMissing(TrainingError):
    """There is no model file to deploy."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"{path} {why}")


class IntegrityError(Error):
    """Bytes are not what they were said to be: distrust them."""


class DigestMismatch(IntegrityError):
    """Two digests that must be equal are not."""

    def __init__(self, what: str, *, expected: str, actual: str) -> None:
        self.what, self.expected, self.actual = what, expected, actual
        super().__init__(f"{what} was changed: expected {expected}, found {actual}; restore the file or deploy again")


class Unauthenticated(Error):
    """Nobody valid is asking."""


class Refused(Error):
    """The one who asks may not do this."""


class BuildFailed(Error):
    """The commit could not be built; everything live stays as it was.

    Attributes:
        log: The part of the build's log that matters.
    """

    def __init__(self, build_id: str, log: str) -> None:
        self.build_id, self.log = build_id, log
        super().__init__(
            f"build {build_id} failed:\n{log.strip()}\nWhatever is live stays as it is; mend the inference code or "
            "its requirements and deploy again"
        )


class RolloutFailed(Error):
    """The release could not be made live; the one before it stays live.

    Attributes:
        failure: What the algorithm said of it, if it did.
    """

    def __init__(self, reason: str, *, failure: Failure | None = None) -> None:
        self.reason, self.failure = reason, failure
        super().__init__(f"the release was not made live: {reason}")


class PreviewFailed(RolloutFailed):
    """The commit, deployed as it is, would not be made live."""

    def __init__(self, reason: str, *, failure: Failure | None = None) -> None:
        super().__init__(reason, failure=failure)
        self.args = (f"the preview failed: {reason}",)


class CallFailed(Error):
    """The algorithm that was called failed; this is its own error.

    Attributes:
        algorithm: What was called.
        error_type: What it calls the error; `InputError` blames the input.
        message: What it says.
        stacktrace: Where it arose, for the algorithm's owner; empty for others.
    """

    def __init__(self, algorithm: str, error_type: str, message: str, *, stacktrace: str = "") -> None:
        self.algorithm, self.error_type, self.message, self.stacktrace = algorithm, error_type, message, stacktrace
        is_input = error_type == "InputError"
        stack = f"\n{stacktrace.strip()}\n" if stacktrace.strip() and not is_input else "; "
        advice = "correct the input" if is_input else "mend the algorithm, or tell its owner"
        super().__init__(f"{algorithm} failed with {error_type}: {message}{stack}{advice}")


class Conflict(Error):
    """What is asked for contradicts what is."""


class AlreadyExists(Conflict):
    """The name is taken."""


class IllegalTransition(Conflict):
    """A lifecycle has no such step."""

    def __init__(self, now: str, to: str) -> None:
        self.now, self.to = now, to
        super().__init__(f"{now} cannot become {to}; look at its present state and decide again")


class InUse(Conflict):
    """Something else still needs it."""

    def __init__(self, what: str, referrers: Sequence[str]) -> None:
        self.what, self.referrers = what, tuple(referrers)
        super().__init__(f"{what} is needed by {', '.join(referrers)}; delete those first")


class PushRejected(Conflict):
    """The remote's branch moved meanwhile; fetch, redo on top, push again."""


class Superseded(Conflict):
    """Something newer is there already; it stays."""


class NotFound(Error):
    """There is no such thing, or it is not yours to see."""


class Unavailable(Error):
    """It may work later.

    Attributes:
        retry_after: Seconds to wait before the next try, if known.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Overloaded(Unavailable):
    """Whoever asks, or what is asked for, has too much under way at once."""
