"""An algorithm and its builds, for a person: each step of a deploy as a method that says what it does."""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import Any
from uuid import uuid4

from pushpoint.client import Client as Wire
from pushpoint.config import SETTINGS, git_login
from pushpoint.deploy.hosting import remote_of
from pushpoint.deploy.push import Change, put_on_top
from pushpoint.deploy.release import roll_back, roll_out, wait_for_build
from pushpoint.deploy.train import caused
from pushpoint.deploy.upload import store
from pushpoint.digests import describe
from pushpoint.errors import AlreadyExists, CallFailed, ConfigError, Error, ModelMissing, NotFound
from pushpoint.formats import format_of
from pushpoint.library.code import Code, read_code
from pushpoint.library.results import Answer, Model, Release, Releases, answer, release, shown
from pushpoint.lifecycle import BuildState
from pushpoint.manifest import Manifest
from pushpoint.names import AlgorithmName, DataPath, Reference, Version, stored_model_name
from pushpoint.report import Report, printable
from pushpoint.runtime.metrics import NAME, NAME_RULE

_EMAIL = str(next(setting.default for setting in SETTINGS if setting.name == "commit-email"))


class Algorithm:
    """An algorithm on the platform. Call it as a function, or take it from code to a live release.

    Attributes:
        name: `OWNER/NAME`.
    """

    def __init__(self, name: AlgorithmName, *, wire: Wire, report: Report) -> None:
        """Speak of an algorithm, whether or not it exists.

        Args:
            name: The algorithm.
            wire: The platform.
            report: Told what happens.
        """
        self.name = str(name)
        self._name, self._wire, self._report = name, wire, report

    def __repr__(self) -> str:
        return f"<Algorithm {self.name} on {self._wire.url}>"

    def _repr_html_(self) -> str:
        try:
            live = self.live()
            state = f"version {live.version}" if live else "nothing yet"
        except Error as error:
            state = f"not known: {error}"
        return shown(self.name, {"live": state, "address": self.url})

    @property
    def url(self) -> str:
        """Address that callers use."""
        return f"{self._wire.url}/v1/algo/{self.name}"

    def create(self) -> Algorithm:
        """Create the algorithm, unless it is there.

        Returns:
            The algorithm.
        """
        if self._wire.exists(self._name):
            self._report.line(f"{self.name} is there already")
        else:
            self._wire.create(self._name)
            self._report.line(f"{self.name} was created")
        return self

    def upload(
        self, file: str | os.PathLike[str], *, metrics: Mapping[str, float] | None = None, collection: str | None = None
    ) -> Model:
        """Store a model under a name that can never mean other bytes; bytes that are there are not sent again.

        Args:
            file: The model file.
            metrics: Numbers to keep with it, by name.
            collection: Name of the owner's collection to store it in; the algorithm's name by default.

        Returns:
            The model, for `push`.

        Raises:
            ConfigError: A metric is no finite number, or has no name.
            ModelMissing: There is no such file, or it is empty.
        """
        if not isinstance(file, (str, os.PathLike)):
            raise ConfigError(f"a {type(file).__name__} is no path of a file; save the model, and name its file")
        path, numbers = Path(file), _checked(metrics or {})
        with self._report.step(f"upload {path.name}"):
            size = path.stat().st_size if path.is_file() else 0
            with self._report.progress("hashing", size) as progress:
                found = describe(path, progress=progress)
            if found.size == 0:
                raise ModelMissing(str(path), "is empty; save the model first")
            place = DataPath(
                self._name.owner, collection or self._name.name, stored_model_name(path.name, "", found.hex)
            )
            uri = store(place, found, path, client=self._wire, report=self._report)
        return Model(uri=uri, descriptor=found, format=format_of(path), uploaded=datetime.now(UTC), metrics=numbers)

    def push(self, folder: str | os.PathLike[str], *, model: Model | None = None, message: str = "") -> Build:
        """Push a folder of inference code, as it is now, and the manifest of a model; the platform begins to build it.

        Pushing what is there already makes no commit; its build is the one that was made, or is tried again if that
        had failed.

        Args:
            folder: Becomes the algorithm's repository: `src/NAME.py`, `requirements.txt` ...
            model: What the code gets as its model; none for code without one.
            message: What the commit says of itself.

        Returns:
            The build that has begun.

        Raises:
            ConfigError: The folder is no inference code.
            NotFound: There is no such algorithm.
        """
        if not (model is None or isinstance(model, Model)):
            raise ConfigError(f"`model` is a {type(model).__name__}; give what `upload(...)` returned")
        with self._report.step(f"push {Path(folder).name}"):
            code = read_code(Path(folder), self._name.name, environment=os.environ, report=self._report)
            if not self._wire.exists(self._name):
                raise NotFound(f"{self.name} does not exist, or is not yours; make it with `create()`")
            now, deploy_id = datetime.now(UTC), secrets.token_hex(32)
            manifest = self._manifest(model, code, deploy_id) if model else None
            source = self._wire.source(self._name)
            commit = put_on_top(
                remote_of(source.url if source else None, self._name, client=self._wire, login=git_login(os.environ)),
                source.branch if source else None,
                Change(
                    deploy_id=deploy_id,
                    message=message.strip() or f"Push {Path(folder).name} from Python",
                    email=_EMAIL,
                    created=now,
                    lay_out=lambda place: code.lay_out(place, manifest, report=self._report),
                ),
                is_hosted=source is not None,
                report=self._report,
            )
            build = Build(algorithm=self, commit=commit)
            if build.state in {None, BuildState.FAILED}:
                self._wire.compile(self._name, commit)
        return build

    def _manifest(self, model: Model, code: Code, deploy_id: str) -> Manifest:
        return Manifest(
            algorithm=self.name,
            deploy_id=deploy_id,
            model=model.descriptor,
            format=model.format,
            uri=model.uri,
            source=code.source,
            created=model.uploaded,
            inputs=None,  # nobody saw what the model was made from
            provenance=replace(
                caused(os.environ), event="client", python=platform.python_version(), code_tree=code.tree
            ),
            metrics=model.metrics,
        )

    def call(self, input: Any, *, version: str | None = None, timeout: float = 300.0, stdout: bool = False) -> Answer:
        """Call the algorithm.

        Args:
            input: Text, bytes, or anything that JSON can hold.
            version: `0.1.0`, `0.1.*`, `latest` ...; what is live by default.
            timeout: Seconds that the algorithm may take.
            stdout: Whether to ask for what it prints.

        Returns:
            Its answer, and what answered.

        Raises:
            CallFailed: The algorithm failed; this is its own error.
            ConfigError: The input is nothing that can be sent.
        """
        body, kind = _body(input)
        result = self._wire.call(
            Reference(self._name, version), body, content_type=kind, timeout=timeout, stdout=stdout
        )
        if result.error is not None:
            raise self._failed(result.error)
        return answer(result)

    def stream(self, input: Any, *, version: str | None = None, timeout: float = 300.0) -> Iterator[Any]:
        """Call the algorithm, and take what it generates item by item. Leaving the loop ends the call.

        Args:
            input: Text, bytes, or anything that JSON can hold.
            version: `0.1.0`, `0.1.*`, `latest` ...; what is live by default.
            timeout: Seconds that the algorithm may take, for all items together.

        Yields:
            Each item; of an algorithm that does not generate, its one result.

        Raises:
            CallFailed: The algorithm failed; this is its own error.
            ConfigError: The input is nothing that can be sent.
        """
        body, kind = _body(input)
        result = yield from self._wire.generate(
            Reference(self._name, version), body, content_type=kind, timeout=timeout
        )
        if result.error is not None:
            raise self._failed(result.error)

    def _failed(self, error: Mapping[str, Any]) -> CallFailed:
        said = {name: printable(str(text)) for name, text in error.items() if text is not None}
        return CallFailed(
            self.name,
            said.get("error_type", "AlgorithmError"),
            said.get("message", ""),
            stacktrace=said.get("stacktrace", ""),
        )

    def __call__(self, input: Any) -> Any:
        """Call what is live.

        Returns:
            The value of its answer.
        """
        return self.call(input).value

    def live(self) -> Release | None:
        """Look up what has the traffic.

        Returns:
            The live release, or none.
        """
        found = self._wire.live(self._name)
        return release(self._name, found.release) if found else None

    def releases(self) -> Releases:
        """List the releases.

        Returns:
            All of them, highest version first.
        """
        return Releases(release(self._name, view) for view in self._wire.releases(self._name))

    def rollback(self, version: str | None = None) -> Release:
        """Make an older release live again, after the same checks as a new one.

        Args:
            version: The release; the one that was live before, by default.

        Returns:
            The release, live.
        """
        done = roll_back(self._name, version, client=self._wire, report=self._report)
        return release(self._name, done.release)

    def logs(self, *, output: bool = False) -> str:
        """Read what the newest build said.

        Args:
            output: Whether to read what its workers printed instead.

        Returns:
            The text.

        Raises:
            NotFound: Nothing was ever built.
        """
        newest = self._wire.builds(self._name, limit=1)
        if not newest:
            raise NotFound(f"{self.name} has no build; push its code")
        build = Build(algorithm=self, commit=newest[0].commit_sha)
        return build.output() if output else build.log()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A commit of the algorithm's repository on its way to something that can start.

    Attributes:
        algorithm: Whose build it is.
        commit: 40 hexadecimal digits.
    """

    algorithm: Algorithm
    commit: str

    def __repr__(self) -> str:
        return f"<Build of {self.algorithm.name} at {self.commit[:12]}>"

    def _repr_html_(self) -> str:
        try:
            state: object = self.state or "not begun"
        except Error as error:
            state = f"not known: {error}"
        return shown(f"build of {self.algorithm.name}", {"state": state, "commit": self.commit})

    @property
    def state(self) -> BuildState | None:
        """What it is at this moment; none where the platform has not begun it."""
        try:
            return self.algorithm._wire.build(self.algorithm._name, self.commit).status
        except NotFound:
            return None

    def wait(self) -> Build:
        """Wait until it is done, showing its log as it grows.

        Returns:
            The build, succeeded.

        Raises:
            BuildFailed: It failed, with the end of its log; everything live is as it was.
        """
        with self.algorithm._report.step("build"):
            wait_for_build(
                self.algorithm._name,
                self.commit,
                client=self.algorithm._wire,
                report=self.algorithm._report,
                again=False,
            )
        return self

    def log(self) -> str:
        """Read what it has said so far.

        Returns:
            The text.
        """
        view = self.algorithm._wire.build(self.algorithm._name, self.commit)
        return printable(self.algorithm._wire.build_log(self.algorithm._name, view.build_id).logs)

    def output(self) -> str:
        """Read the end of what its workers printed.

        Returns:
            The text.
        """
        view = self.algorithm._wire.build(self.algorithm._name, self.commit)
        return printable(self.algorithm._wire.output(self.algorithm._name, view.build_id))

    def publish(
        self, notes: str = "", *, sample_input: Any = None, part: str = "minor", public: bool | None = None
    ) -> Release:
        """Give it a version and make that live, once it is built, verified and has answered its test cases.

        Args:
            notes: What to say of the release.
            sample_input: Something that JSON can hold, which it must answer before it gets traffic.
            part: Part of the version that grows: `revision`, `minor` or `major`.
            public: Whether others may call it; what the algorithm's settings say, by default.

        Returns:
            The release, live.

        Raises:
            AlreadyExists: It was published before, for others to call or not.
            ConfigError: `part` is none.
            BuildFailed: It could not be built.
            RolloutFailed: It did not answer; what was live before still is.
            Superseded: Something newer is live.
        """
        name, wire, report = self.algorithm._name, self.algorithm._wire, self.algorithm._report
        Version(0, 0, 0).bump(part)  # refuses what is no part, also where the build has its version already
        sample = None if sample_input is None else _json(sample_input, "sample_input")
        if self.state is not BuildState.SUCCEEDED:
            self.wait()
        with report.step("publish"):
            version = wire.publish(name, self.commit, part=part, sample_input=sample, notes=notes, is_public=public)
            view = next(one for one in wire.releases(name) if one.version == version)
            if public not in {None, view.is_public}:
                was = "public" if view.is_public else "private"
                raise AlreadyExists(
                    f"{name} {version} was published as {was} and stays so; push a change and publish that"
                )
            report.line(f"version {version}")
        live = wire.live(name)
        if live is None or live.release.version != version:
            live = roll_out(name, version, f"client-{uuid4()}", client=wire, report=report)
        return release(name, live.release)


def _body(input: Any) -> tuple[bytes, str]:
    if isinstance(input, str):
        return input.encode(), "text/plain"
    if isinstance(input, (bytes, bytearray, memoryview)):
        return bytes(input), "application/octet-stream"
    return _json(input, "input").encode(), "application/json"


def _json(value: Any, what: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the {what} is a {type(value).__name__} that JSON cannot hold ({error}); "
            "pass lists, dictionaries, numbers and texts, for an array its `.tolist()`"
        ) from error


def _checked(metrics: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        raise ConfigError(f"`metrics` is a {type(metrics).__name__}; write it as {{NAME: NUMBER}}")
    for name, number in metrics.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a metric; {NAME_RULE}")
        if not isinstance(number, Real) or isinstance(number, bool):
            raise ConfigError(f"the metric {name!r} is {number!r}; give a number, or leave it out")
        if not math.isfinite(number):
            raise ConfigError(f"the metric {name!r} is {number}; find out why, or leave it out")
    return {name: float(number) for name, number in metrics.items()}
