"""Settings: defaults < pushpoint.toml < environment < flags, resolved once into one frozen value.

Each setting has one name: `model-path` in the file, `PUSHPOINT_MODEL_PATH` in the environment, `--model-path` as flag.
The layers are plain mappings, read by the entry point. Where to deploy to, and with which key, are not settings: they
differ from person to person, and the key is a secret.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushpoint.errors import ConfigError, MissingSetting, UnknownSetting
from pushpoint.names import repository_url

FILE = "pushpoint.toml"
PUBLISH = ("revision", "minor", "major", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, as it is documented.

    Attributes:
        name: In the file; with dashes.
        kind: `text`, `seconds`, `list`, `choice`, `json` or `repository`.
        default: Its value when nobody gives one.
        help: What it is for, in one line.
    """

    name: str
    kind: str
    default: Any
    help: str

    @property
    def field(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"PUSHPOINT_{self.field.upper()}"


SETTINGS = (
    Setting(name="algorithm", kind="text", default=None, help="Algorithm to deploy to: NAME, or OWNER/NAME"),
    Setting(name="notebook", kind="text", default="model_training.ipynb", help="Notebook that trains the model"),
    Setting(name="model-path", kind="text", default="model.pkl", help="Model file that the notebook writes"),
    Setting(name="requirements", kind="text", default="requirements.txt", help="What the notebook needs installed"),
    Setting(
        name="inference",
        kind="text",
        default=None,
        help="Folder of the inference code [default: named like the algorithm]",
    ),
    Setting(name="data", kind="list", default=(), help="Other files and folders the model is made from"),
    Setting(
        name="collection", kind="text", default=None, help="Where models are stored [default: data://OWNER/ALGORITHM]"
    ),
    Setting(
        name="repository",
        kind="repository",
        default=None,
        help="The algorithm's repository on a git host [default: the platform's own]",
    ),
    Setting(
        name="publish",
        kind="choice",
        default="minor",
        help="Part of the version that grows: revision, minor, major; or none",
    ),
    Setting(
        name="sample-input", kind="json", default=None, help="Input that a release must answer before it gets traffic"
    ),
    Setting(
        name="commit-email",
        kind="text",
        default="pushpoint@localhost",
        help="E-mail address in the commits on the algorithm's repository",
    ),
    Setting(name="cell-timeout", kind="seconds", default=0.0, help="Longest time for one cell; 0 is no limit"),
    Setting(
        name="notebook-timeout", kind="seconds", default=21600.0, help="Longest time for the notebook; 0 is no limit"
    ),
)
"""Every setting, in the order of the reference page. The defaults are the original Action's where it had them."""

_OTHER_VARIABLES = frozenset(
    {"PUSHPOINT_URL", "PUSHPOINT_API_KEY", "PUSHPOINT_ID_TOKEN", "PUSHPOINT_GIT_USER", "PUSHPOINT_GIT_TOKEN"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings, and for each the layer that its value came from."""

    algorithm: str
    notebook: str
    model_path: str
    requirements: str
    inference: str | None
    data: tuple[str, ...]
    collection: str | None
    repository: str | None
    publish: str
    sample_input: str | None
    commit_email: str
    cell_timeout: float
    notebook_timeout: float
    origins: Mapping[str, str]

    def is_default(self, name: str) -> bool:
        """Say whether nobody gave this setting.

        Returns:
            True if it has its default.
        """
        return self.origins[name] == "default"


def resolve(*, file: Mapping[str, Any], environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Lay the layers over the defaults; later ones win.

    Args:
        file: The parsed pushpoint.toml.
        environment: Environment variables, all of them.
        flags: Settings by name; what was not given is none or absent.

    Returns:
        The settings.

    Raises:
        MissingSetting: Nobody named the algorithm.
        UnknownSetting: A layer has a name that is no setting.
        ConfigError: A value is not of its setting's kind.

    Example:
        >>> resolve(file={"algorithm": "iris"}, environment={}, flags={"notebook": "a.ipynb"}).notebook
        'a.ipynb'
    """
    given = {setting.name: environment[setting.variable] for setting in SETTINGS if environment.get(setting.variable)}
    layers = [(FILE, file), ("environment", given), ("flag", {k: v for k, v in flags.items() if v is not None})]
    _refuse_unknown_variables(environment)
    values: dict[str, Any] = {setting.field: setting.default for setting in SETTINGS}
    origins = {setting.name: "default" for setting in SETTINGS}
    known = {setting.name: setting for setting in SETTINGS}
    for layer, found in layers:
        for name, value in found.items():
            if name not in known:
                raise UnknownSetting(name, layer=layer, nearest=_nearest(name, list(known)))
            values[known[name].field] = _value(known[name], value, layer)
            origins[name] = layer
    if not values["algorithm"]:
        raise MissingSetting("algorithm", how=f'write `algorithm = "NAME"` in {FILE}, or pass --algorithm')
    return Config(**values, origins=origins)


def read_file(path: Path) -> dict[str, Any]:
    """Read a pushpoint.toml; one that is not there is empty.

    Returns:
        Its settings.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path.name} cannot be read as TOML: {error}; correct it") from error


class Secret:
    """A text that shows itself to nobody by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "********"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Which platform, and with which key; with none where CI vouches for the job."""

    url: str
    key: Secret | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLogin:
    """Who we are on a git host."""

    user: str
    token: Secret


def git_login(environment: Mapping[str, str]) -> GitLogin | None:
    """Find the user and token for the git host.

    Args:
        environment: Environment variables.

    Returns:
        Both; none where there is no token.

    Raises:
        ConfigError: The user's name cannot be one.

    Source:
        RFC 7617: a user name holds no colon. GitHub and GitLab take any name with a token.
    """
    token = environment.get("PUSHPOINT_GIT_TOKEN", "").strip()
    user = environment.get("PUSHPOINT_GIT_USER", "").strip() or "git"
    if ":" in user or not user.isprintable():
        raise ConfigError("PUSHPOINT_GIT_USER holds a character that no user name has; set it to the name alone")
    return GitLogin(user=user, token=Secret(token)) if token else None


def profile_path(environment: Mapping[str, str]) -> Path:
    """Say where the profile is that `pushpoint serve` writes.

    Returns:
        A file in the user's configuration folder.
    """
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pushpoint" / "profile.toml"


def credentials(
    environment: Mapping[str, str], profile: Path, *, is_vouched_for: bool = False, as_admin: bool = False
) -> Credentials:
    """Find the platform's address and the key: ours, then the old platform's variables, then the profile.

    Args:
        environment: Environment variables.
        profile: The profile that `pushpoint serve` writes.
        is_vouched_for: Whether CI gives the job an identity, so that it needs no key.
        as_admin: Whether the key for accounts is wanted, which is another one.

    Returns:
        Both, and where they came from; each of the two is looked for on its own.

    Raises:
        ConfigError: The address is none, or the key file cannot be read.
        MissingSetting: One of them is nowhere.
    """
    url, origin = _first(environment, "PUSHPOINT_URL", "ALGORITHMIA_API")
    variables = ("PUSHPOINT_ADMIN_KEY",) if as_admin else ("PUSHPOINT_API_KEY", "ALGORITHMIA_API_KEY")
    key, _ = _first(environment, *variables)
    where = "admin-key-file" if as_admin else "key-file"
    kept = {} if url and key else read_file(profile)
    if not url:
        url, origin = str(kept.get("url", "")), str(profile)
    if not key and url.rstrip("/") == str(kept.get("url", "")).rstrip("/") and kept.get(where):
        try:
            key = Path(str(kept[where])).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the key file {kept[where]} cannot be read; set {variables[0]}") from error
    if not url:
        raise MissingSetting("PUSHPOINT_URL", how="set it to the platform's address, or start one: pushpoint serve")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url!r} is not an address; write it as http://HOST:PORT")
    if not key and as_admin:
        how = "set it to an admin key; a platform keeps its first in the file admin-key of its home"
        raise MissingSetting("PUSHPOINT_ADMIN_KEY", how=how)
    if not key and not is_vouched_for:
        other = f" (the profile's is for {kept['url']} alone)" if kept.get("url") else ""
        raise MissingSetting(
            "PUSHPOINT_API_KEY",
            how="CI needs none where its identity is trusted (GitHub: `id-token: write`; here: pushpoint trust add); "
            f"else set it to a key of yours{other}; a platform keeps its first in the file api-key of its home",
        )
    return Credentials(url=url.rstrip("/"), key=Secret(key) if key else None, origin=origin)


def _first(environment: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        if value := environment.get(name, "").strip():
            return value, name
    return "", ""


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = _OTHER_VARIABLES | {setting.variable for setting in SETTINGS}
    for name in environment:
        if name.startswith("PUSHPOINT_") and name not in known:
            raise UnknownSetting(name, layer="environment", nearest=_nearest(name, sorted(known)))


def _nearest(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _value(setting: Setting, value: Any, layer: str) -> Any:
    if setting.kind == "repository" and isinstance(value, str):  # may hold a token, so it is not shown
        return str(repository_url(value))
    wrong = ConfigError(f"`{setting.name}` in {layer} is {value!r}; {_EXPECTED[setting.kind]}")
    match setting.kind:
        case "json":
            try:
                if layer == FILE:
                    return json.dumps(value, allow_nan=False)
                json.loads(value)
            except (TypeError, ValueError, RecursionError):
                raise wrong from None
            return value
        case "list":
            if isinstance(value, str):
                value = [part for part in value.replace("\n", ",").split(",") if part.strip()]
            if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
                raise wrong
            return tuple(part.strip() for part in value)
        case "seconds":
            try:
                seconds = float(value)
            except (TypeError, ValueError, OverflowError):
                raise wrong from None
            if isinstance(value, bool) or not 0 <= seconds < 1e9:
                raise wrong
            return seconds
        case "choice" if value not in PUBLISH:
            raise wrong
    if not isinstance(value, str):
        raise wrong
    return value


_EXPECTED = {
    "text": "write a text",
    "repository": "write https://HOST/OWNER/NAME.git",
    "seconds": "write a number of seconds, 0 or more",
    "list": "write a list of paths",
    "choice": f"write one of {', '.join(PUBLISH)}",
    "json": """write JSON, a text with its quotes: '"some text"'""",
}
