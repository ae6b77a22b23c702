"""What commands share: the flags of the settings, the platform they speak to, and how they print."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushpoint.config import FILE, SETTINGS, Config, Setting, credentials, profile_path, read_file, resolve
from pushpoint.errors import ConfigError
from pushpoint.names import AlgorithmName, algorithm_name

if TYPE_CHECKING:
    from pushpoint.client import Client

Algorithm = Annotated[
    str | None,
    typer.Argument(help="NAME or OWNER/NAME [default: the algorithm of this repository]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each setting; it receives them as the mapping `flags`.

    Returns:
        The command, for Typer.
    """
    own = [
        parameter for name, parameter in inspect.signature(command, eval_str=True).parameters.items() if name != "flags"
    ]
    made = [_flag(setting) for setting in SETTINGS]

    def wrapped(**values: Any) -> None:
        flags = {setting.name: values.pop(setting.field) for setting in SETTINGS}
        command(**values, flags={name: value for name, value in flags.items() if value not in (None, [])})

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapped.__signature__ = inspect.Signature([*parameters, *made])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*parameters, *made)}
    return wrapped


def _flag(setting: Setting) -> inspect.Parameter:
    kind = {"list": list[str] | None, "seconds": float | None}.get(setting.kind, str | None)
    default = "" if setting.default in (None, ()) else f" [default: {setting.default}]"
    panel = f"Settings (also in {FILE} and as PUSHPOINT_... variables)"
    option = typer.Option(f"--{setting.name}", help=setting.help + default, show_default=False, rich_help_panel=panel)
    return inspect.Parameter(
        setting.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def read_settings(directory: Path, flags: Mapping[str, Any]) -> Config:
    """Resolve the settings of the repository at `directory`.

    Returns:
        The settings.
    """
    if not (directory / FILE).exists() and (Path.cwd() / FILE).exists():
        advice = f"move it there, or run `git init` in {Path.cwd()}"
        raise ConfigError(f"{FILE} is not at the top of its git repository, {directory}; {advice}")
    return resolve(file=read_file(directory / FILE), environment=os.environ, flags=flags)


def named(algorithm: str | None, client: Client) -> AlgorithmName:
    """Read which algorithm a command is about; without an argument, the one of the repository it runs in.

    Returns:
        The name; without an owner, the key's account owns it.
    """
    if algorithm is None:
        algorithm = of_repository()
    has_owner = "/" in algorithm.removeprefix("algo://")
    return algorithm_name(algorithm, owner=None if has_owner else client.account().name)


def of_repository() -> str:
    """Read the algorithm of the repository that a command runs in.

    Returns:
        Its name, as the settings have it.

    Raises:
        ConfigError: There is none.
    """
    from pushpoint.deploy.plan import top_of

    try:
        return read_settings(top_of(Path.cwd()), {}).algorithm
    except ConfigError as error:
        raise ConfigError(f"name the algorithm, OWNER/NAME, or run this inside its repository: {error}") from error


def done(json: bool, sentence: str, result: bytes = b"{}") -> None:
    """Say that a command has done what it was asked: a sentence for a person, or its result for a machine.

    Args:
        json: Whether a machine reads it.
        sentence: What was done; other people's text in it is made printable.
        result: JSON.
    """
    if json:
        typer.echo(result)
        return
    from rich.console import Console
    from rich.text import Text

    from pushpoint.report import printable

    Console(stderr=True, soft_wrap=True).print(Text(printable(sentence), "green"))


def credential_files() -> list[Path]:
    """List the files that hold a key of this person's: the profile, and what it names.

    Returns:
        Files that may exist; a notebook is not to see them.
    """
    profile = profile_path(os.environ)
    kept = read_file(profile)
    keys = [kept.get("key-file"), kept.get("admin-key-file")]
    return [profile, *(Path(key) for key in keys if isinstance(key, str))]


def connect(algorithm: str | None = None) -> Client:
    """Make a client for the platform that the environment or the profile names.

    Args:
        algorithm: What it is for, where CI has no key; none for the algorithm of the repository it runs in.

    Returns:
        The client; close it.
    """
    return connect_and_tell(lambda: algorithm or of_repository())[0]


def connect_to_accounts(*, as_admin: bool) -> Client:
    """Make a client for what is done with accounts: with the admin key, or with one's own.

    Returns:
        The client; close it.
    """
    from stamina import instrumentation

    from pushpoint.client import Client

    instrumentation.set_on_retry_hooks(())
    found = credentials(os.environ, profile_path(os.environ), as_admin=as_admin)
    return Client(found.url, found.key.reveal() if found.key else "")


def connect_and_tell(algorithm: Callable[[], str]) -> tuple[Client, list[str]]:
    """Make a client, and tell what of its credentials might be in the environment.

    Returns:
        The client, to be closed, and texts that a notebook must not see.
    """
    from stamina import instrumentation

    from pushpoint.deploy.access import open_client

    instrumentation.set_on_retry_hooks(())  # they write to standard output, which belongs to results
    return open_client(os.environ, profile_path(os.environ), algorithm)
