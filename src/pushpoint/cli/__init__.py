"""The command line: one module a command, one function each. Here: the list of them, and what an error becomes.

Results go to standard output, everything else to standard error. The exit code tells what the reader can do about it.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint import errors
from pushpoint.cli import keys, organizations, secrets, trust, users
from pushpoint.cli.call import call
from pushpoint.cli.config import config
from pushpoint.cli.demo import demo
from pushpoint.cli.deploy import deploy
from pushpoint.cli.logs import logs
from pushpoint.cli.new import new
from pushpoint.cli.plan import plan
from pushpoint.cli.preview import preview
from pushpoint.cli.releases import releases
from pushpoint.cli.restart import restart
from pushpoint.cli.rollback import rollback
from pushpoint.cli.serve import serve
from pushpoint.cli.source import source
from pushpoint.cli.verify import verify
from pushpoint.cli.workers import workers
from pushpoint.report import printable

EXIT: dict[type[errors.Error], int] = {
    errors.Error: 1,
    errors.ConfigError: 2,
    errors.TrainingError: 3,
    errors.IntegrityError: 4,
    errors.Unauthenticated: 5,
    errors.Refused: 5,
    errors.BuildFailed: 6,
    errors.RolloutFailed: 7,
    errors.CallFailed: 1,
    errors.Conflict: 8,
    errors.Superseded: 9,
    errors.NotFound: 10,
    errors.Unavailable: 11,
    errors.Overloaded: 11,
}
"""Exit code of a class; its subclasses share it unless they have their own. 0 is success, 1 a bug, 130 interrupted."""

app = typer.Typer(
    name="pushpoint",
    help="Turn a git commit into a live, verified model endpoint.",
    epilog="Exit codes: 0 done; 2 settings or request; 3 training; 4 integrity; 5 key; 6 build; 7 rollout; 8 conflict; "
    "9 superseded by something newer; 10 not found; 11 try later; 130 interrupted; 1 a bug.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # the other one takes [default: ...] for a style, and drops it
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(version("pushpoint"))
        raise typer.Exit


@app.callback()
def _pushpoint(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


for _command in (
    new,
    plan,
    preview,
    deploy,
    call,
    releases,
    rollback,
    logs,
    workers,
    verify,
    config,
    serve,
    restart,
    demo,
):
    app.command()(_command)
app.add_typer(source)
app.add_typer(trust.app)
for _group in (secrets, keys, users, organizations):
    app.add_typer(_group.app)


def exit_code(error: errors.Error) -> int:
    """Look up a class, or the nearest of its bases, in the table.

    Returns:
        The exit code.
    """
    return next(EXIT[kind] for kind in type(error).__mro__ if kind in EXIT)


def run(argv: list[str]) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name.

    Returns:
        The exit code.
    """
    try:
        app(argv)
    except SystemExit as ended:  # usage errors, --help and typer.Exit, each with its code; 130 when interrupted
        if ended.code == 130:
            Console(stderr=True).print(Text("interrupted; the same command goes on where this one stopped", "yellow"))
        return ended.code if isinstance(ended.code, int) else 0
    except errors.Error as error:
        return _failed(argv, error)
    except Exception:
        traceback.print_exc()
        Console(stderr=True).print(Text("this is a bug in Pushpoint; please report it with the lines above", "red"))
        return 1
    return 0


def main() -> None:
    """Run the command that the process was started with, and exit."""
    sys.exit(run(sys.argv[1:]))


def _failed(argv: list[str], error: errors.Error) -> int:
    code = exit_code(error)
    if "--json" in argv:
        found = {"error": {"type": type(error).__name__, "message": str(error), "exit_code": code}}
        typer.echo(json.dumps(found))
    text = printable(str(error))
    lines = text.splitlines() or [type(error).__name__]
    if len(lines) > 40:  # a screen: the beginning says what, the end says what to do
        lines = [*lines[:8], f"... {len(lines) - 38} lines ...", *lines[-30:]]
    shown = "\n".join(line if len(line) <= 500 else line[:497] + "..." for line in lines)
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), shown))
    return code
