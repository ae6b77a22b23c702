"""Plan -> Training: the notebook executed in an environment of its own, and the model file that it wrote.

The kernel's environment holds none of our credentials. A model that this run did not write is refused: a stale file
must not pass for a trained one.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pushpoint import runtime
from pushpoint.deploy.plan import Plan
from pushpoint.digests import Descriptor, describe
from pushpoint.environments import make_environment
from pushpoint.errors import ModelMissing
from pushpoint.formats import format_of
from pushpoint.manifest import Manifest, Provenance
from pushpoint.report import Report

if TYPE_CHECKING:
    from pushpoint.notebooks import CellEvent

KERNEL = ("ipykernel", "pip")
"""What a notebook needs besides its requirements: a kernel, and what `%pip` calls."""
_DAY = 86400.0


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


def train(plan: Plan, *, report: Report, secrets: Sequence[str]) -> Training:
    """Execute the notebook; without one, take the model that is checked in.

    Returns:
        The training.

    Raises:
        ModelMissing: There is no model file, or this run did not write it.
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
            provenance=replace(_caused(os.environ), code_tree=plan.code_tree, finished=now.isoformat()),
        )
    before = _stamp(model)
    with ThreadPoolExecutor(1) as threads:
        # The slowest import of all: only where there is a notebook, and while uv works.
        threads.submit(import_module, "pushpoint.notebooks")
        environment = make_environment(
            root / plan.requirements if plan.requirements else None,
            root=cache_folder() / "environments",
            extra=KERNEL,
            lock_age=_DAY,
            say=lambda line: None if line.startswith(" + ") else report.line(line),
        )
    from pushpoint.notebooks import execute, scrub
    from pushpoint.notebooks.evidence import gather

    report.line(f"environment {'reused' if environment.reused else 'made'} in {environment.seconds:.1f} s")
    report.parts["environment"] = round(environment.seconds, 3)
    variables = scrub(os.environ, secrets)
    variables["PATH"] = f"{environment.path / 'bin'}{os.pathsep}{variables.get('PATH', os.defpath)}"
    variables["VIRTUAL_ENV"] = str(environment.path)
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait do not spin: CI machines are shared
    variables["PYTHONPATH"] = str(runtime.lay_down(cache_folder() / "runtime"))
    executed = plan.state / plan.source.commit[:12] / Path(plan.notebook).name
    executed.parent.mkdir(exist_ok=True)
    try:
        execution = execute(
            root / plan.notebook,
            output=executed,
            python=environment.python,
            directory=root / Path(plan.notebook).parent,
            variables=variables,
            cell_timeout=plan.cell_timeout or None,
            timeout=plan.notebook_timeout or None,
            say=lambda event: _tell(report, event),
        )
    finally:
        if executed.exists():
            report.line(f"executed notebook: {executed.relative_to(root)}")
            evidence = gather(executed, say=report.line)
    report.parts["cells"] = round(sum(cell.seconds for cell in execution.cells), 3)
    after = _stamp(model)
    if not after:
        why = f"was not written by {plan.notebook}; set `model-path`, or save the model there"
        raise ModelMissing(plan.model_path, why)
    if after == before:
        why = f"is older than this run of {plan.notebook}; save the model there, or set `model-path`"
        raise ModelMissing(plan.model_path, why)
    return Training(
        model_path=str(model),
        stamp=after,
        executed_notebook=str(executed),
        notebook=describe(executed),
        finished=execution.finished,
        provenance=replace(
            _caused(os.environ),
            notebook=plan.notebook,
            lock_sha256=hashlib.sha256(environment.lock.encode()).hexdigest(),
            python=platform.python_version(),
            code_tree=plan.code_tree,
            started=execution.started.isoformat(),
            finished=execution.finished.isoformat(),
        ),
        metrics=evidence.metrics,
        plots=evidence.plots,
        rendering=evidence.rendering,
    )


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


def _caused(environment: Mapping[str, str]) -> Provenance:
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
    return Provenance(builder="local")


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def _tell(report: Report, event: CellEvent) -> None:
    match event.kind:
        case "started":
            report.line(f"[{event.cell}] {event.text}", style="bold")
        case "finished":
            report.line(f"[{event.cell}] {event.seconds:.1f} s")
        case "error":
            report.line(event.text, style="red")
        case _:
            report.line(event.text)
