"""What the library returns: values that show themselves, as text at a prompt and as a table in a notebook.

Names, messages and answers are other people's; on a page they are text and nothing else.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from rich.filesize import decimal

from pushpoint import wire
from pushpoint.digests import Descriptor
from pushpoint.names import AlgorithmName
from pushpoint.report import printable

_LONGEST = 5000
"""Characters of a value that are shown; the value itself is whole."""


def escaped(value: object) -> str:
    """Write a value as text of an HTML page.

    Returns:
        Text without markup, and without characters that turn it around.
    """
    text = printable(str(value))
    return html.escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)")


def shown(title: str, facts: Mapping[str, object]) -> str:
    """Draw facts about one thing; what is empty is left out.

    Returns:
        HTML.
    """
    rows = [
        f'<tr><th style="text-align:left">{escaped(name)}</th>'
        f'<td style="text-align:left;white-space:pre-wrap">{escaped(value)}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "")
    ]
    return f"<table><caption>{escaped(title)}</caption><tbody>{''.join(rows)}</tbody></table>"


def _listed(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th style="text-align:left">{escaped(name)}</th>' for name in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{escaped(value)}</td>' for value in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model file on the platform, under a name that can never mean other bytes.

    Attributes:
        uri: `data://OWNER/COLLECTION/FILE`.
        descriptor: Size and digests.
        format: What kind of file it is, for people.
        uploaded: UTC.
        metrics: Finite numbers by name.
    """

    uri: str
    descriptor: Descriptor
    format: str
    uploaded: datetime
    metrics: Mapping[str, float] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        size = f"{self.descriptor.size:,} bytes, {self.format}"
        return shown(
            "model", {"stored": self.uri, "what": size, "digest": self.descriptor.digest, **_numbers(self.metrics)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(wire.ReleaseView):
    """A release of an algorithm, as it was when the platform was asked.

    Attributes:
        algorithm: `OWNER/NAME`.
    """

    algorithm: str

    def __repr__(self) -> str:
        return f"<Release {self.algorithm} {self.version}, {self._where()}>"

    def _where(self) -> str:
        return "live" if self.is_live else self.state or "never deployed"

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {
            "state": self._where(),
            "notes": self.notes,
            "published": f"{self.published:%Y-%m-%d %H:%M:%S}",
            "who may call": "everybody with a key" if self.is_public else "its owner",
            "model": self.model.uri if self.model else "",
            "sha256": self.model.sha256 if self.model else "",
            "source": f"{self.source.repository} {self.source.commit}" if self.source else "",
        }
        return shown(f"{self.algorithm} {self.version}", facts | _numbers(self.metrics))


def release(name: AlgorithmName, view: wire.ReleaseView) -> Release:
    """Say whose release it is that the platform has shown.

    Returns:
        The release.
    """
    known: dict[str, Any] = {each.name: getattr(view, each.name) for each in fields(view)}
    return Release(algorithm=str(name), **known)


class Releases(list[Release]):
    """Releases, highest version first."""

    def _repr_html_(self) -> str:
        rows = (
            (
                one.version,
                "live" if one.is_live else one.state or "never deployed",
                f"{one.published:%Y-%m-%d %H:%M:%S}",
                one.source.commit[:12] if one.source else "",
                one.model.sha256[:16] if one.model else "",
                ", ".join(f"{name} {number}" for name, number in _numbers(one.metrics).items()),
                one.notes.partition("\n")[0],
            )
            for one in self
        )
        return _listed(("version", "state", "published", "commit", "model sha256", "metrics", "notes"), rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an algorithm answered, and what it was that answered.

    Attributes:
        value: Text, bytes, or what JSON holds.
        seconds: What the algorithm took.
        algorithm: `OWNER/NAME`.
        version: The release; empty for a commit that is not published.
        commit: Of the algorithm's repository.
        model_sha256: 64 hexadecimal digits; empty where it has no model.
        source_commit: Of the ML repository; empty where nobody knows one.
        stdout: What it printed, if that was asked for.
    """

    value: Any
    seconds: float
    algorithm: str
    version: str
    commit: str
    model_sha256: str
    source_commit: str
    stdout: str

    def _repr_html_(self) -> str:
        value = self.value
        if isinstance(value, bytes):
            value = f"{decimal(len(value))} of bytes"
        elif not isinstance(value, str):
            value = json.dumps(value, indent=2, ensure_ascii=False)
        facts = {
            "answer": value,
            "printed": self.stdout,
            "seconds": f"{self.seconds:.4f}",
            "commit": self.commit,
            "model sha256": self.model_sha256,
            "source commit": self.source_commit,
        }
        return shown(f"{self.algorithm} {self.version}", facts)


def answer(result: Any) -> Answer:
    """Read what the wire client returned of a call that succeeded.

    Returns:
        The answer.
    """
    made = result.lineage.get
    return Answer(
        value=result.value,
        seconds=float(result.metadata.get("duration", 0.0)),
        algorithm=made("algorithm", ""),
        version=made("version", ""),
        commit=made("commit", ""),
        model_sha256=made("model-sha256", ""),
        source_commit=made("source-commit", ""),
        stdout=str(result.metadata.get("stdout") or ""),
    )


def _numbers(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{number:.4g}" for name, number in metrics.items()}
