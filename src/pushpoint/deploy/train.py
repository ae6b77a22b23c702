"""Plan -> Training: the notebook executed in an environment of its own, and the model file that it wrote.

The work is done by `pushpoint.trainer`, a program without our credentials and, where bubblewrap works, without sight
of the processes that have them: requirements and notebook are the user's code, and run nowhere else. In CI it may
write to the checkout alone, and the home it sees is empty; on a person's own machine it sees the files that the
person's notebooks always see. A model that this run did not write is refused: a stale file must not pass for a
trained one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
from uv import find_uv_bin

from pushpoint import git, runtime, sandbox, trainer
from pushpoint.deploy.plan import Plan
from pushpoint.digests import Descriptor, describe
from pushpoint.errors import ModelMissing, TrainingError
from pushpoint.formats import format_of
from pushpoint.manifest import Manifest, Provenance
from pushpoint.report import Report

_LONGEST = 1 << 24
"""Bytes of a line that the training reports; a longer one is taken for several."""
_GRACE = 10.0
"""Seconds the training gets to save its notebook when it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One execution of the notebook, or the decision that none was needed.

    Attributes:
        model_path: The model file.
        stamp: The file's identity, size and time, to notice when it is written again.
        executed_notebook: The notebook with its outputs; none where none was run.
        notebook: What the executed notebook is.
        finished: UTC.
        provenance: How the model was made.
        metrics: Numbers that the notebook showed as its metrics, by name.
        plots: Paths of the pictures that it showed as its plots.
        rendering: Path of the executed notebook as HTML; none where it could not be made.
    """

    model_path: str
    stamp: str
    executed_notebook: str | None
    notebook: Descriptor | None
    finished: datetime
    provenance: Provenance
    metrics: dict[str, float] = field(default_factory=dict)
    plots: tuple[str, ...] = ()
    rendering: str | None = None


def train(plan: Plan, *, report: Report, secrets: Sequence[str], hidden: Sequence[Path] = ()) -> Training:
    """Execute the notebook; without one, take the model that is checked in.

    Args:
        plan: What is deployed.
        report: Told what happens.
        secrets: Texts that the training's environment must not hold.
        hidden: Files that it must not see.

    Returns:
        The training.

    Raises:
        ModelMissing: There is no model file, or this run did not write it.
        TrainingError: It failed, or ended without a word.
    """
    root = Path(plan.root)
    model = root / plan.model_path
    if plan.notebook is None:
        if not model.is_file():
            raise ModelMissing(plan.model_path, "is not in the work tree; check it out again")
        report.line(f"no notebook: {plan.model_path} is deployed as it is checked in")
        now = datetime.now(UTC)
        return Training(
            model_path=str(model),
            stamp=_stamp(model),
            executed_notebook=None,
            notebook=None,
            finished=now,
            provenance=replace(caused(os.environ), code_tree=plan.code_tree, finished=now.isoformat()),
        )
    before = _stamp(model)
    executed = plan.state / plan.source.commit[:12] / Path(plan.notebook).name
    for left in plan.state.glob("training-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(executed.parent, ignore_errors=True)  # an earlier training's evidence is not this one's
    executed.parent.mkdir()
    with tempfile.TemporaryDirectory(prefix="training-", dir=plan.state, ignore_cleanup_errors=True) as scratch:
        try:
            trained = _run(plan, Path(scratch), report, secrets, hidden)
        finally:
            _keep(Path(scratch) / "out", executed.parent)
            if executed.exists():
                report.line(f"executed notebook: {executed.relative_to(root)}")
    report.parts["cells"] = round(trained.cells, 3)
    after = _stamp(model)
    if not after:
        why = f"was not written by {plan.notebook}; set `model-path`, or save the model there"
        raise ModelMissing(plan.model_path, why)
    if after == before:
        why = f"is older than this run of {plan.notebook}; save the model there, or set `model-path`"
        raise ModelMissing(plan.model_path, why)
    inside = model.resolve()
    if not inside.is_file():
        raise ModelMissing(plan.model_path, "is not a regular file; save the model as one file")
    if not inside.is_relative_to(root.resolve()) or inside.is_relative_to(root.resolve() / ".git"):
        raise ModelMissing(plan.model_path, "is a link that leads out of the checkout; save a file there")
    return Training(
        model_path=str(model),
        stamp=after,
        executed_notebook=str(executed),
        notebook=describe(executed),
        finished=trained.finished,
        provenance=replace(
            caused(os.environ),
            notebook=plan.notebook,
            lock_sha256=trained.lock_sha256,
            python=trained.python,
            code_tree=plan.code_tree,
            started=trained.started.isoformat(),
            finished=trained.finished.isoformat(),
        ),
        metrics=trained.metrics,
        plots=tuple(str(path) for path in sorted(executed.parent.glob("plot-*"))),
        rendering=str(page) if (page := executed.with_suffix(".html")).exists() else None,
    )


def _run(plan: Plan, scratch: Path, report: Report, secrets: Sequence[str], hidden: Sequence[Path]) -> trainer.Trained:
    root, confinement = Path(plan.root), sandbox.find_sandbox()
    sandbox.keep_memory_private()
    sandbox.adopt_orphans()
    if confinement.program is None:
        report.warn(f"the notebook runs unconfined, and could find what this program holds: {confinement.reason}")
    for name in ("out", "tmp", "home"):
        (scratch / name).mkdir()
    environments, cache = notebook_caches()
    job = trainer.Job(
        notebook=str(root / str(plan.notebook)),
        output=str(scratch / "out" / Path(str(plan.notebook)).name),
        requirements=str(root / plan.requirements) if plan.requirements else None,
        environments=str(environments),
        runtime=str(runtime.lay_down(cache_folder() / "runtime")),
        cell_timeout=plan.cell_timeout,
        timeout=plan.notebook_timeout,
    )
    source = Path(trainer.__file__).parents[1]
    # Ours, wherever they come from, and nothing of the checkout's.
    kept = [path for path in map(Path, sys.path) if path.is_absolute() and path.exists()]
    kept = [path for path in kept if path.is_relative_to(sys.prefix) or not path.is_relative_to(root)]
    program = (
        f"import sys; sys.path[:] = {[str(source), *map(str, kept)]!r}; from pushpoint.trainer import main; main()"
    )
    variables = trainer.scrub(os.environ, secrets) | ({"UV_CACHE_DIR": str(cache)} if cache else {})
    in_ci = bool(os.environ.get("CI"))
    if in_ci:
        os.environ["PATH"] = _elsewhere(root)  # from here on, what lies in the checkout is the notebook's
        if confinement.program:
            variables |= {"HOME": str(scratch / "home"), "TMPDIR": str(scratch / "tmp")}
    git_folders = list(_git_folders(root))
    command = confinement.among(
        [sys.executable, "-I", "-c", program],
        directory=root,
        read_only=in_ci,
        hidden=[*hidden, plan.state, *(_not_for_notebooks() if in_ci else ())],
        replaced=_without_credentials(git_folders, scratch) if in_ci and confinement.program else {},
        readable=[
            *(*git_folders, root / ".git", source, *kept, Path(sys.prefix), Path(job.runtime), Path(find_uv_bin())),
            *(*sandbox.installation(Path(sys.executable)), Path(os.path.realpath("/etc/resolv.conf"))),
        ],
        writable=[root, scratch, environments.parent],
    )
    process = subprocess.Popen(
        command,
        cwd=root,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin  # noqa: S101 - both are pipes
    assert process.stdout  # noqa: S101
    assert process.stderr  # noqa: S101
    speaking = threading.Thread(target=_repeat, args=(process.stderr, report), daemon=True)
    speaking.start()
    trained: trainer.Trained | None = None
    try:
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        for line in iter(partial(process.stdout.readline, _LONGEST), b""):
            event = _event(line)
            if event.kind == "failed":
                raise trainer.raised(_as_in_the_repository(event, plan))
            if event.kind == "done":
                with suppress(msgspec.ValidationError):
                    trained = msgspec.convert(event.facts, trainer.Trained)
            else:
                _tell(report, event)
    except BrokenPipeError:
        pass  # it ended before it read its job; why, it said on standard error
    finally:
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _wait_for_all(process.pid)
        speaking.join(1.0)  # unconfined, what the notebook left behind may hold the other end for ever
        process.stdout.close()
        if not speaking.is_alive():
            process.stderr.close()
    if trained is None:
        raise TrainingError(
            f"the training ended without a word, with exit code {process.returncode}; what it printed stands above"
        )
    return trained


def notebook_caches() -> tuple[Path, Path | None]:
    """Say where the environments of notebooks are kept, and what they are installed from.

    A notebook can write to both. In CI they are not those of anybody else, since what is installed may be links to the
    cache that it came from; and what a proposal's code wrote there is not for what is deployed.

    Returns:
        Folder of environments, and uv's cache below the same folder; none for a person's own.
    """
    get = os.environ.get
    if not get("CI"):
        place, cache = cache_folder() / "environments", None
    else:
        is_proposal = (
            get("GITHUB_EVENT_NAME", "").startswith(("pull_request", "merge_group"))
            or get("CI_PIPELINE_SOURCE") == "merge_request_event"
            or bool(get("CHANGE_ID"))  # Jenkins
        )
        folder = cache_folder() / ("proposals" if is_proposal else "training")
        place, cache = folder / "environments", folder / "uv"
        cache.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    return place, cache


def _as_in_the_repository(event: trainer.Event, plan: Plan) -> trainer.Event:
    # by their names there, not by where this machine has them
    names = {"notebook": plan.notebook, "path": plan.requirements}
    if event.text in {"NotebookMissing", "NotebookUnreadable"}:
        names["path"] = plan.notebook
    return replace(event, facts=event.facts | {name: value for name, value in names.items() if name in event.facts})


def _event(line: bytes) -> trainer.Event:
    try:
        return msgspec.json.decode(line, type=trainer.Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return trainer.Event(kind="line", text=line.decode("utf-8", "replace"))


def _repeat(said: IO[bytes], report: Report) -> None:
    # The notebook can write there as well, so it does not go to a log that obeys commands.
    for line in said:
        report.line(line.decode("utf-8", "replace"))


def _wait_for_all(group: int) -> None:
    # bubblewrap ends a moment before the last of the processes that it ends; until then a path could be swapped.
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _keep(made: Path, kept: Path) -> None:
    # A link that the notebook left there would lead whoever uploads the folder to a file that the notebook cannot read.
    for path in made.iterdir() if made.is_dir() and not made.is_symlink() else ():
        if path.is_file() and not path.is_symlink():
            path.replace(kept / path.name)


def _elsewhere(root: Path) -> str:
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    kept = (path for path in folders if path.is_absolute() and not path.resolve().is_relative_to(root.resolve()))
    return os.pathsep.join(map(str, kept))


def _git_folders(root: Path) -> Iterator[Path]:
    for option in ("--absolute-git-dir", "--git-common-dir"):
        yield root / git.text(["rev-parse", option], directory=root, isolated=False)


def _without_credentials(folders: Sequence[Path], scratch: Path) -> dict[Path, Path]:
    """Copy git's settings without those that may hold a credential: `actions/checkout` leaves its token there.

    Returns:
        File -> its copy.
    """
    found: dict[Path, Path] = {}
    for folder in dict.fromkeys(folders):
        files = [folder / "config", folder / "config.worktree", folder / "FETCH_HEAD"]
        files += [path for sub in ("modules", "worktrees") for path in (folder / sub).rglob("config*")]
        for file in files:
            if file.is_file():
                found[file] = scratch / f"git-{len(found)}"
                found[file].write_text(git.harmless_settings(file) if file.name != "FETCH_HEAD" else "")
    return found


def _not_for_notebooks() -> Iterator[Path]:
    """List what a CI machine keeps for itself.

    Yields:
        Homes, run-time sockets, temporary files, and the runner's own folder, which holds its credentials.
    """
    get = os.environ.get
    yield from (Path("/root"), Path("/run"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - hidden, not written
    yield from (Path(path) for name in ("HOME", "RUNNER_TEMP") if (path := get(name)))
    for name in (
        "GITHUB_ENV",
        "GITHUB_PATH",
        "GITHUB_OUTPUT",
        "GITHUB_STEP_SUMMARY",
        "GITHUB_STATE",
        "GITHUB_EVENT_PATH",
    ):
        if path := get(name):
            yield Path(path).parent
    if workspace := get("RUNNER_WORKSPACE"):  # RUNNER/_work/REPOSITORY
        yield from (folder for folder in Path(workspace).parents[1:2] if len(folder.parts) > 1)


def manifest_of(plan: Plan, model: Descriptor, training: Training, uri: str) -> Manifest:
    """Say of a trained model what it is and where it came from.

    Args:
        plan: What was trained.
        model: What the model file is.
        training: How it was made.
        uri: Where it is stored.

    Returns:
        The manifest.
    """
    return Manifest(
        algorithm=plan.algorithm,
        deploy_id=_deploy_id(plan, model, training),
        model=model,
        format=format_of(Path(training.model_path)),
        uri=uri,
        source=plan.source,
        created=training.finished,
        inputs=plan.inputs,
        provenance=training.provenance,
        notebook=training.notebook,
        metrics=training.metrics,
    )


def _deploy_id(plan: Plan, model: Descriptor, training: Training) -> str:
    # 64 hexadecimal digits, so that repository and platform know a deploy again
    source = plan.source
    parts = (source.repository, source.commit, plan.algorithm, model.digest, training.finished.isoformat())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_unchanged(training: Training) -> bool:
    """Say whether the model file is still the one that the training left.

    Returns:
        True if it is.
    """
    return _stamp(Path(training.model_path)) == training.stamp


def cache_folder() -> Path:
    """Say where environments are kept between deploys.

    Returns:
        A folder below the user's cache.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushpoint"


def caused(environment: Mapping[str, str]) -> Provenance:
    """Say what is known of the run that this is.

    Args:
        environment: Where CI tells of it.

    Returns:
        Builder and cause.
    """
    get = environment.get
    if get("GITHUB_ACTIONS"):
        return Provenance(
            builder="github-actions",
            event=get("GITHUB_EVENT_NAME", ""),
            workflow_ref=get("GITHUB_WORKFLOW_REF", ""),
            workflow_sha=get("GITHUB_WORKFLOW_SHA", ""),
            run_id=get("GITHUB_RUN_ID", ""),
            run_attempt=get("GITHUB_RUN_ATTEMPT", ""),
        )
    if get("GITLAB_CI"):
        return Provenance(
            builder="gitlab-ci",
            event=get("CI_PIPELINE_SOURCE", ""),
            workflow_ref=get("CI_CONFIG_PATH", ""),
            workflow_sha=get("CI_COMMIT_SHA", ""),
            run_id=get("CI_PIPELINE_ID", ""),
            run_attempt=get("CI_JOB_ID", ""),
        )
    if get("JENKINS_URL"):
        return Provenance(
            builder="jenkins",
            workflow_ref=get("JOB_NAME", ""),
            workflow_sha=get("GIT_COMMIT", ""),
            run_id=get("BUILD_TAG", ""),
        )
    return Provenance(builder="local")


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def _tell(report: Report, event: trainer.Event) -> None:
    match event.kind:
        case "environment":
            report.line(f"environment {event.text} in {event.seconds:.1f} s")
            report.parts["environment"] = round(event.seconds, 3)
        case "started":
            report.cell(event.cell, event.text)
        case "finished":
            report.line(f"[{event.cell}] {event.seconds:.1f} s")
        case "error":
            report.line(event.text, style="red")
        case _:
            report.line(event.text)
