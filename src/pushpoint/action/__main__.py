"""`python -m pushpoint.action`: take the secrets out of the environment, run, and write what GitHub reads."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace

from pushpoint import errors, sandbox
from pushpoint.action import inputs, summary
from pushpoint.action.outputs import outputs
from pushpoint.action.run import Run
from pushpoint.report import GitHubReport, for_github, printable

GIVEN = "PUSHPOINT_INPUTS"
"""Variable in which `action.yml` hands over all inputs, as a JSON object."""
_HANDED = "_PUSHPOINT_HANDED_OVER"
_SECRET = (
    *(GIVEN, "PUSHPOINT_API_KEY", "ALGORITHMIA_API_KEY", "PUSHPOINT_GIT_TOKEN", "PUSHPOINT_ID_TOKEN", "GITHUB_TOKEN"),
    *("GH_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_RUNTIME_TOKEN"),
)


def main() -> int:
    """Do what the event may, and tell GitHub.

    Returns:
        The exit code.
    """
    handed = _shed_secrets()
    sandbox.keep_memory_private()
    run = Run(environment=os.environ, report=for_github())
    report, began = run.report, time.monotonic()
    try:
        given = json.loads(handed.pop(GIVEN, "{}"))
        _mask(given, handed, report)
        page, code = run.all(inputs.read(given, {**os.environ, **handed})), 0
    except errors.Error as error:
        page, code = run.failed(error)
    except KeyboardInterrupt:
        page, code = summary.Page(status="failed", why="the run was cancelled; start it again to go on"), 130
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        why = f"this is a bug in Pushpoint: {type(error).__name__}; please report it with the end of the log"
        report.command("error", why, title="Pushpoint")
        page, code = summary.Page(status="failed", why=why), 1
    page = replace(page, files=run.left(), seconds={**report.seconds, "all": round(time.monotonic() - began, 3)})
    _append("GITHUB_STEP_SUMMARY", summary.write(page))
    _append("GITHUB_OUTPUT", "".join(_output(name, value) for name, value in outputs(page).items()))
    if code == 0 and page.status != "superseded":  # which has warned
        report.command("notice", _verdict(page), title="Pushpoint")
    return code


def _shed_secrets() -> dict[str, str]:
    """Start this program anew with the secrets in a file without a name instead of its environment.

    What the system shows of a process's environment is what it was started with, whatever it deletes later.

    Returns:
        The secrets by variable, in the program that was started.
    """
    if number := os.environ.pop(_HANDED, ""):
        with os.fdopen(int(number), "rb") as file:
            file.seek(0)
            found: dict[str, str] = json.loads(file.read())
        return found
    secret = {name: os.environ[name] for name in _SECRET if name in os.environ}
    known = [form for value in _known(secret) if len(value) > 7 for form in inputs.disguises(value)]
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _SECRET and not any(form in value for form in known)
    }
    with os.fdopen(os.memfd_create("inputs"), "wb+") if sys.platform == "linux" else tempfile.TemporaryFile() as file:
        file.write(json.dumps(secret).encode())
        file.flush()
        os.set_inheritable(file.fileno(), True)
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**kept, _HANDED: str(file.fileno())})  # noqa: S606 - it is ourselves
    return {}  # for the type checker: exec does not return


def _known(secret: Mapping[str, str]) -> list[str]:
    try:
        given = json.loads(secret.get(GIVEN, "{}"))
    except ValueError:
        given = {}  # main() will say so
    return [
        *(str(given.get(name, "")).strip() for name in inputs.SECRETS),
        *(v for n, v in secret.items() if n != GIVEN),
    ]


def _mask(given: Mapping[str, str], handed: Mapping[str, str], report: GitHubReport) -> None:
    users = {given.get(name, "") for name in ("git-user", "github_username", "algorithmia_username")}
    for secret in [*(given.get(name, "") for name in inputs.SECRETS), *handed.values()]:
        for form in inputs.disguises(secret.strip(), users) if secret.strip() else ():
            report.command("add-mask", form)


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


def _output(name: str, value: str) -> str:
    end = secrets.token_hex(16)
    return f"{name}<<{end}\n{printable(value)}\n{end}\n"


def _verdict(page: summary.Page) -> str:
    if page.status == "deployed" and page.plan and page.deployment:
        return f"{page.plan.algorithm} {page.deployment.release.version} is live at {page.plan.endpoint}"
    return f"{summary.TITLES[page.status]}: {page.why.splitlines()[0][:300] if page.why else ''}"


if __name__ == "__main__":
    sys.exit(main())
