"""Names: algorithms, versions, files. Parse, check, print; nothing here asks whether a thing exists.

Owners, algorithms and collections share one grammar. Because a name never holds a dash, a path segment can be told
apart from a UUID by its shape (platform API, section 0).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote_to_bytes

from pushpoint.errors import ConfigError, InvalidName

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,29}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
_PATTERN = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.[*x])?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(
    r"(https?)://"
    r"((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
    r"(?::([1-9]\d{0,4}))?"
    r"((?:/[\w.~+%-]+)+)/?",
    re.ASCII,
)
_LONGEST = 255  # bytes of a file's name
_RULE = "use a letter, then letters, digits or underscores, at most 30 characters"


def check_name(kind: str, name: str) -> str:
    """Check `name` against the platform's grammar.

    Args:
        kind: What the name is for; only for the message.
        name: Name to check.

    Returns:
        The same name.

    Raises:
        InvalidName: `name` is outside the grammar.

    Example:
        >>> check_name("algorithm", "sentiment")
        'sentiment'
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(kind, name, rule=_RULE)
    return name


@dataclass(frozen=True, slots=True)
class AlgorithmName:
    """An algorithm of an owner."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


def algorithm_name(text: str, *, owner: str | None = None) -> AlgorithmName:
    """Read `OWNER/NAME`, `algo://OWNER/NAME` or, with `owner` known, `NAME`.

    Returns:
        The name, checked.

    Raises:
        InvalidName: `text` is none of these.

    Example:
        >>> str(algorithm_name("algo://ann/sentiment"))
        'ann/sentiment'
    """
    first, slash, second = text.removeprefix("algo://").strip("/").partition("/")
    if not slash:
        if owner is None:
            raise InvalidName("algorithm", text, rule="write it as OWNER/NAME")
        first, second = owner, first
    return AlgorithmName(check_name("owner", first), check_name("algorithm", second))


@dataclass(frozen=True, slots=True)
class Reference:
    """An algorithm and, perhaps, which of its versions."""

    algorithm: AlgorithmName
    selector: str | None


def reference(text: str, *, owner: str | None = None) -> Reference:
    """Read `OWNER/NAME[/VERSION]`, with or without `algo://`; with `owner` known, `NAME[/VERSION]` too.

    Returns:
        The algorithm and the version selector, or none.

    Raises:
        InvalidName: `text` is not such a reference.

    Example:
        >>> reference("ann/sentiment/0.1.0").selector
        '0.1.0'
    """
    parts = text.removeprefix("algo://").strip("/").split("/")
    if len(parts) == 2 and owner and (parts[1][:1].isdigit() or parts[1].startswith("latest")):
        parts = [owner, *parts]
    if len(parts) > 3:
        raise InvalidName("algorithm reference", text, rule="write it as OWNER/NAME or OWNER/NAME/VERSION")
    return Reference(algorithm_name("/".join(parts[:2]), owner=owner), parts[2] if len(parts) == 3 else None)


KEY_PREFIX, KEY_RANDOM = "sim", 25
"""How an API key begins, and how many letters and digits follow; the `algo` CLI refuses other lengths."""
_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9]{{{KEY_RANDOM}}}")


def is_key(text: str) -> bool:
    """Say whether `text` looks like an API key.

    Returns:
        True if it does.
    """
    return _KEY.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Say whether `text` is a full git commit: 40 lower-case hexadecimal digits.

    Returns:
        True if it is.
    """
    return _COMMIT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A semantic version without pre-releases."""

    major: int
    minor: int
    revision: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}"

    def bump(self, part: str) -> Version:
        """Return the next version: `part` is `major`, `minor` or `revision`.

        Returns:
            The next version.

        Raises:
            InvalidName: `part` is something else.
        """
        match part:
            case "major":
                return Version(self.major + 1, 0, 0)
            case "minor":
                return Version(self.major, self.minor + 1, 0)
            case "revision" | "patch":
                return Version(self.major, self.minor, self.revision + 1)
        raise InvalidName("version type", part, rule="use revision, minor or major")


def version(text: str) -> Version:
    """Read a semantic version such as `1.2.3`.

    Returns:
        The version.

    Raises:
        InvalidName: `text` is not one.

    Example:
        >>> version("0.1.0").bump("minor")
        Version(major=0, minor=2, revision=0)
    """
    found = _VERSION.fullmatch(text)
    if not found:
        raise InvalidName("version", text, rule="write it as MAJOR.MINOR.REVISION, such as 0.1.0")
    return Version(*map(int, found.groups()))


def version_prefix(selector: str) -> tuple[int, ...] | None:
    """Read a pattern such as `1`, `1.*`, `1.2` or `1.2.x`.

    Returns:
        The numbers that are fixed, or none if it is not such a pattern.

    Example:
        >>> version_prefix("1.2.*")
        (1, 2)
    """
    found = _PATTERN.fullmatch(selector)
    return tuple(int(part) for part in found.groups() if part is not None) if found else None


@dataclass(frozen=True, slots=True)
class DataPath:
    """A place in the data API: the root, an owner, a collection or a file.

    Two kinds of collection are no owner's to make: `.session` (its owner is empty), and `temp` and `perm` of
    `.algo/OWNER/NAME`, which stands where the owner would.
    """

    owner: str
    collection: str
    file: str

    def __str__(self) -> str:
        return "data://" + "/".join(part for part in (self.owner, self.collection, self.file) if part)

    @property
    def is_session(self) -> bool:
        """Whether it lives as long as a call."""
        return self.collection == SESSION

    @property
    def algorithm(self) -> AlgorithmName | None:
        """The algorithm that keeps it for its callers, if one does."""
        head, _, rest = self.owner.partition("/")
        return algorithm_name(rest) if head == ALGO else None


SESSION, ALGO = ".session", ".algo"
_KEPT = frozenset({"temp", "perm"})


def data_path(text: str, *, me: str | None = None, through: AlgorithmName | None = None) -> DataPath:
    """Read `data://OWNER/COLLECTION/FILE` or a beginning of it; `.my` is `me`.

    Args:
        text: The path, with or without `data://`; not percent-encoded.
        me: Account that `.my` stands for; without one, the places that depend on who asks are refused.
        through: Algorithm that `.algo/temp` and `.algo/perm` stand for.

    Returns:
        The path; missing parts are empty.

    Raises:
        InvalidName: A part is outside its grammar, or there are more than three.

    Example:
        >>> data_path(".my/models/model.pkl", me="ann").owner
        'ann'
    """
    written = text.removeprefix("data://").removeprefix("/").removesuffix("/")
    parts = written.split("/")
    if me and parts[0] == SESSION and len(parts) <= 2:
        return DataPath("", SESSION, check_file_name(parts[1]) if len(parts) == 2 else "")
    if me and parts[0] == ALGO:
        return _kept_by_algorithm(text, parts[1:], through)
    if len(parts) > 3 or (len(parts) > 1 and not all(parts)):
        raise InvalidName("data path", text, rule="write it as data://OWNER/COLLECTION/FILE")
    owner, collection, file = (*parts, "", "", "")[:3]
    if owner == ".my" and me:
        owner = me
    if owner:
        check_name("owner", owner)
    if collection:
        check_name("collection", collection)
    if file:
        check_file_name(file)
    return DataPath(owner, collection, file)


def _kept_by_algorithm(text: str, parts: list[str], through: AlgorithmName | None) -> DataPath:
    if through and 1 <= len(parts) <= 2:
        parts = [through.owner, through.name, *parts]
    if not 3 <= len(parts) <= 4 or parts[2] not in _KEPT:
        raise InvalidName("data path", text, rule="write it as data://.algo/OWNER/NAME/temp/FILE or .../perm/FILE")
    algorithm = algorithm_name("/".join(parts[:2]))
    return DataPath(f"{ALGO}/{algorithm}", parts[2], check_file_name(parts[3]) if len(parts) == 4 else "")


def check_file_name(name: str) -> str:
    """Check the name of a file in a collection.

    Returns:
        The same name.

    Raises:
        InvalidName: It could mean a place other than itself, or cannot be shown.
    """
    if (
        name in {"", ".", ".."}
        or len(name.encode("utf-8", "surrogatepass")) > _LONGEST
        or any(char in "/\\" or not char.isprintable() for char in name)
    ):
        raise InvalidName("file name", name, rule="use printable characters without slashes, at most 255 bytes")
    return name


def decode_path(raw: bytes) -> str:
    """Decode a request's percent-encoded path once.

    Returns:
        The path as text.

    Raises:
        InvalidName: It is not UTF-8.

    Source:
        Java's client encodes whole data paths (`%2F`), and with them spaces as `+`; elsewhere `+` is itself.
    """
    if b"%2f" in raw.lower():
        raw = raw.replace(b"+", b"%20")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidName("path", raw.decode("latin-1"), rule="encode it as UTF-8") from error


def stored_model_name(model: str, commit: str, sha256: str) -> str:
    """Name a model file so that the name can never mean other bytes.

    Args:
        model: The model's file name, such as `model.pkl`; its last two suffixes are kept together.
        commit: Commit it was trained from, 40 hexadecimal digits; empty where there is none.
        sha256: Its digest, 64 hexadecimal digits.

    Returns:
        `<stem>_<commit>_<first 16 digits><suffixes>`, or the same without the commit; the stem is cut where the whole
        would be too long, and what a file in a collection cannot be called becomes an underscore.

    Example:
        >>> stored_model_name("brain.nii.gz", "c" * 40, "d" * 64)
        'brain_cccccccccccccccccccccccccccccccccccccccc_dddddddddddddddd.nii.gz'
    """
    name = "".join(char if char.isprintable() and char != "\\" else "_" for char in PurePosixPath(model).name)
    suffixes = "".join(PurePosixPath(name).suffixes[-2:])
    if not re.fullmatch(r"(\.[A-Za-z][A-Za-z0-9]{0,9})*", suffixes):
        suffixes = PurePosixPath(name).suffix
    if len(suffixes.encode()) > 60:  # no suffix, but a dot in a long name
        suffixes = ""
    tail = (f"_{commit}" if commit else "") + f"_{sha256[:16]}{suffixes}"
    stem = name.removesuffix(suffixes).encode()[: _LONGEST - len(tail.encode())].decode(errors="ignore")
    return check_file_name(stem + tail)


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """Where a repository is on a git host, in a form that everybody reads in the same way.

    Attributes:
        scheme: `https` or `http`.
        host: Name or address; an IPv6 address without brackets.
        port: As written, or the scheme's.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def is_same(self, other: RepositoryUrl) -> bool:
        """Say whether two addresses mean one repository: hosts leave `.git` out at will, and case too.

        Returns:
            True if they do.
        """
        return str(self).removesuffix(".git").lower() == str(other).removesuffix(".git").lower()


_PORTS = {"https": 443, "http": 80}


def repository_url(text: str) -> RepositoryUrl:
    """Read the address of a repository on a git host.

    The grammar is narrow on purpose: two programs that read an odd address differently are how checks are got around.

    Returns:
        The address.

    Raises:
        ConfigError: It is none, or holds a credential; it is not repeated, for that reason.

    Example:
        >>> str(repository_url("https://GitHub.com/ann/sentiment.git/"))
        'https://github.com/ann/sentiment.git'
    """
    head, slashes, rest = text.strip().partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise ConfigError(
            "the repository's address holds a user name or token, which must not stand there; "
            "take it out, and set PUSHPOINT_GIT_USER and PUSHPOINT_GIT_TOKEN"
        )
    found = _URL.fullmatch(f"{head.lower()}{slashes}{authority.lower()}{slash}{path}")
    wrong = ConfigError("the repository's address is not one; write it as https://HOST/OWNER/NAME.git")
    if not found or len(text) > 500 or {".", ".."} & set(path.split("/")) or "%2f" in path.lower():
        raise wrong
    scheme, host, port = found.group(1), found.group(2), int(found.group(3) or _PORTS[found.group(1)])
    try:
        if host.startswith("["):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif re.fullmatch(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)", host):  # such a host is a number to some: 127.1, 0x7f.1
            host = str(ipaddress.IPv4Address(host))
    except ValueError:
        raise wrong from None
    if port > 65535:
        raise wrong
    return RepositoryUrl(scheme, host, port, found.group(4))


def check_branch(name: str) -> str:
    """Check the name of a branch against git's rules, and a little more narrowly.

    Returns:
        The same name.

    Raises:
        InvalidName: It cannot be a branch.

    Source:
        git-check-ref-format(1).
    """
    parts = name.split("/")
    if (
        not name.isprintable()
        or len(name) > 200
        or name.startswith("-")
        or any(char in " ~^:?*[\\" for char in name)
        or ".." in name
        or "@{" in name
        or name == "@"
        or any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    ):
        raise InvalidName("branch", name, rule="write it as git shows it, without refs/heads/")
    return name
