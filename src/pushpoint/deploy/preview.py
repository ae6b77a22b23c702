"""A preview: the checked-out commit trained, and its model tried out by the inference code, all on this machine.

It is the deploy's line up to the point where others would see something. Nothing is uploaded or pushed, and the
platform, where there is one, is only asked what is live. The worker is a real one, confined as the platform's, with the
same verified load and the same smoke test; but there is no platform behind it, so an algorithm that calls back fails.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies_environment

from pushpoint import smoke
from pushpoint.client import Client
from pushpoint.deploy.plan import Plan
from pushpoint.deploy.push import lay_out
from pushpoint.deploy.train import Training, cache_folder, manifest_of, train
from pushpoint.deploy.upload import place
from pushpoint.digests import Descriptor, describe
from pushpoint.egress import Egress
from pushpoint.engines import Launch
from pushpoint.engines.local import LocalEngine
from pushpoint.environments import Environment, make_environment
from pushpoint.errors import ConfigError, PreviewFailed, RequirementsFailed
from pushpoint.reach import Reach
from pushpoint.report import Report
from pushpoint.runtime.messages import Failure
from pushpoint.sandbox import Sandbox, find_sandbox
from pushpoint.wire import DeploymentView

START_TIMEOUT = 600.0
CALL_TIMEOUT = 300.0
"""Seconds, both as on the platform."""
_BUILD_TIMEOUT = 1800.0
_LOCK_AGE = 86400.0
_LAST_WORDS = 4000
"""Bytes of the worker's output that are shown where something failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A test case that was tried.

    Attributes:
        name: The case.
        wrong: What is wrong with its outcome; none if it passed.
        seconds: How long the call took.
    """

    name: str
    wrong: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A metric beside that of the live model; what one of the two does not have is none."""

    new: float | None
    live: float | None
    difference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a deploy of the commit would bring.

    Attributes:
        plan: What was previewed.
        training: How its model was made.
        model: What the model file is.
        cases: The test cases and the sample input, as they came out.
        load_seconds: What verifying the model, import and `load()` took.
        live: What is live now; none where nothing is, or no platform was asked.
        metrics: By name, of both models.
    """

    plan: Plan
    training: Training
    model: Descriptor
    cases: tuple[Tried, ...]
    load_seconds: float
    live: DeploymentView | None
    metrics: dict[str, Compared]

    @property
    def error(self) -> PreviewFailed | None:
        """Why a deploy would not make this live: the cases that failed. None if all passed."""
        wrong = [case.wrong for case in self.cases if case.wrong]
        if not wrong:
            return None
        return PreviewFailed(f"{'; '.join(wrong)}; mend the inference code or the test case, and commit")


def preview(
    plan: Plan,
    *,
    client: Client | None,
    report: Report,
    secrets: Sequence[str] = (),
    hidden: Sequence[Path] = (),
) -> Preview:
    """Train the planned commit and try its model out.

    Args:
        plan: What to preview.
        client: The platform, asked what is live; none to do without.
        report: Told what happens.
        secrets: Texts that the notebook's environment must not hold.
        hidden: Files that the notebook must not see.

    Returns:
        The preview, also where a case failed: see its `error`.

    Raises:
        ConfigError: The repository has no inference code to try the model with.
        TrainingError: The notebook or the requirements must change.
        PreviewFailed: The inference code could not be imported, or not load the model.
    """
    if plan.inference is None:
        folder = plan.name.name
        raise ConfigError(f"there is no inference code to try the model with; write {folder}/src/{folder}.py")
    live = client.live(plan.name) if client else None
    with report.step("train"):
        training = train(plan, report=report, secrets=secrets, hidden=hidden)
    with report.step("describe"):
        model = describe(Path(training.model_path))
        manifest = manifest_of(plan, model, training, str(place(plan, model, training.model_path)))
    sandbox = find_sandbox()
    with tempfile.TemporaryDirectory(prefix="pushpoint-", ignore_cleanup_errors=True) as folder:
        home = Path(folder).resolve()
        code = home / "code"
        code.mkdir()
        lay_out(plan, manifest, code, report=report)
        with report.step("build"):
            report.line(f"sandbox: {sandbox.description}")
            environment = _environment(plan, code, home, sandbox, report)
        launch = Launch(
            algorithm=plan.algorithm,
            module=plan.name.name,
            code=code,
            python=environment.python,
            environment=environment.path,
            bytecode=home / "bytecode",
            bytecode_writable=True,
            model=Path(os.path.realpath(training.model_path)),
            log=home / "output.log",
        )
        load_seconds, cases = asyncio.run(_try_out(plan, home, launch, sandbox, report))
    return Preview(
        plan=plan,
        training=training,
        model=model,
        cases=cases,
        load_seconds=load_seconds,
        live=live,
        metrics=compare(training.metrics, live.release.metrics if live else {}),
    )


def compare(new: Mapping[str, float], live: Mapping[str, float]) -> dict[str, Compared]:
    """Put the metrics of two models side by side.

    Returns:
        The new model's metrics in their order, then those that only the live one has.

    Example:
        >>> compare({"accuracy": 0.75}, {"accuracy": 0.5})["accuracy"].difference
        0.25
    """
    found = {}
    for name in [*new, *(name for name in live if name not in new)]:
        one, other = new.get(name), live.get(name)
        difference = None if one is None or other is None else one - other
        found[name] = Compared(new=one, live=other, difference=difference)
    return found


def _environment(plan: Plan, code: Path, home: Path, sandbox: Sandbox, report: Report) -> Environment:
    egress = Egress(home, listed=Reach(), proxies=getproxies_environment())
    try:
        with egress.for_build("a preview", report.line) as proxy:
            made = make_environment(
                code / "requirements.txt",
                root=cache_folder() / "environments",
                contained=sandbox.around_uv(code, proxy.path),
                lock_age=_LOCK_AGE,
                timeout=_BUILD_TIMEOUT,
                say=lambda line: None if line.startswith(" + ") else report.line(line),
            )
    except RequirementsFailed as error:  # by its name in the repository, not by that of a folder that is gone
        raise RequirementsFailed(f"{plan.inference}/requirements.txt", error.log) from error
    finally:
        egress.close()
    report.line(f"environment {'reused' if made.reused else 'made'} in {made.seconds:.1f} s")
    return made


async def _try_out(
    plan: Plan, home: Path, launch: Launch, sandbox: Sandbox, report: Report
) -> tuple[float, tuple[Tried, ...]]:
    engine = LocalEngine(home, sandbox, home / "no-platform", asyncio.get_running_loop())
    try:
        with report.step("load"):
            pool = engine.start(launch)
            if failure := await pool.until_ready(START_TIMEOUT):
                raise _not_loaded(plan, launch, failure, report)
            report.line(f"model verified, import and load succeeded in {pool.load_seconds:.3f} s")
        file = launch.code / smoke.FILE
        listed = file.read_text(encoding="utf-8") if file.is_file() and not file.is_symlink() else None
        tried = []
        with report.step("try"):
            for case in smoke.cases(listed, plan.sample_input):
                began = time.monotonic()
                wrong = smoke.judge(case, await pool.call(case.call(), CALL_TIMEOUT))
                tried.append(Tried(name=case.name, wrong=wrong, seconds=round(time.monotonic() - began, 6)))
                report.line(f"✗ {wrong}" if wrong else f"✓ {case.name}", style="red" if wrong else "dim")
            if not tried:
                report.line(f"no {smoke.FILE} and no sample-input: nothing was tried but import and load")
        if any(case.wrong for case in tried):
            _show_output(launch, report)
        return pool.load_seconds, tuple(tried)
    finally:
        await engine.stop()


def _not_loaded(plan: Plan, launch: Launch, failure: Failure, report: Report) -> PreviewFailed:
    _show_output(launch, report)
    stack = failure.stacktrace.replace(f"{launch.code}/", f"{plan.inference}/")
    report.line(stack, style="red")
    places = re.findall(rf'File "({re.escape(str(plan.inference))}/[^"\n]*)", line (\d+)', stack)
    where = "{}:{}: ".format(*places[-1]) if places else ""
    message = failure.message.replace(f"{launch.code}/", f"{plan.inference}/")
    advice = "" if message.endswith("deploy again") else "; mend the inference code and commit"
    return PreviewFailed(f"{where}{failure.error_type}: {message}{advice}", failure=failure)


def _show_output(launch: Launch, report: Report) -> None:
    if launch.log.is_file() and (words := launch.log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace").strip()):
        report.line(f"the worker printed:\n{words}")
