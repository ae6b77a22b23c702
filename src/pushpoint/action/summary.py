"""The page of a run: Markdown for GitHub's job summary, the most important line first.

Commit messages, names and errors are other people's text: they stand in code blocks that they cannot close, or escaped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pushpoint.deploy.blame import Place
from pushpoint.deploy.plan import NOBODY, Plan
from pushpoint.deploy.preview import Compared, Tried
from pushpoint.report import printable
from pushpoint.wire import DeploymentView

LIMIT = 1_000_000
"""Bytes; GitHub refuses a summary above 1 MiB."""
_MARKUP = re.compile(r"[\\`*\[\]!~|<>&@#$'\"]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
TITLES = {
    "deployed": "✅ Live",
    "unchanged": "✅ Nothing to do",
    "previewed": "✅ Preview",
    "planned": "📋 Plan",
    "superseded": "⏭️ Superseded",
    "built": "✅ Built, not published",
    "failed": "❌ Failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What there is to show.

    Attributes:
        status: A key of `TITLES`.
        why: Why this was done, or the cause of the failure.
        place: What to mend.
        cases: As a preview tried them.
        metrics: By name, of the new model and of the one that was live.
        plots: Images that the notebook made.
        files: What is left for `upload-artifact`.
        seconds: Of each step.
    """

    status: str
    why: str
    plan: Plan | None = None
    place: Place | None = None
    deployment: DeploymentView | None = None
    metrics: Mapping[str, Compared] = field(default_factory=dict)
    cases: Sequence[Tried] = ()
    plots: Sequence[Path] = ()
    files: Sequence[str] = ()
    seconds: Mapping[str, float] | None = None


def write(page: Page) -> str:
    """Write the page.

    Returns:
        Markdown, below `LIMIT`.
    """
    text = "\n\n".join(part for part in _parts(page) if part) + "\n"
    if len(text.encode()) > LIMIT:
        text = text.encode()[: LIMIT - 100].decode(errors="ignore") + "\n\n(cut: the page was too long)\n"
    return text


def _parts(page: Page) -> Iterator[str]:
    name = page.plan.algorithm.removeprefix(f"{NOBODY}/") if page.plan else ""
    release = page.deployment.release if page.deployment and page.status != "failed" else None
    title = TITLES[page.status] + (f": {name}" if name else "") + (f" {release.version}" if release else "")
    yield f"## {_plain(title)}"
    if page.status == "failed":
        yield code(page.why)
        if page.place:
            line = f", line {page.place.line}" if page.place.line else ""
            yield f"**Look at** {_inline(page.place.file)}{line}."
        if page.deployment:
            live = page.deployment.release
            yield f"What is live stays live: version {live.version}, generation {page.deployment.generation}."
        else:
            yield "Nothing was made live; what was live before stays so."
    else:
        yield _plain(" ".join(printable(page.why).split()))
    if page.deployment and page.plan and page.status in {"deployed", "unchanged"}:
        yield _call(page.plan, page.deployment)
    yield _facts(page)
    yield _metrics(page.metrics)
    if page.cases:
        cases = [
            ("✅" if case.wrong is None else "❌", _inline(case.name), _inline(case.wrong or "")) for case in page.cases
        ]
        yield "### Test cases\n\n" + _table(("", "case", "what is wrong"), cases)
    yield _plots(page.plots)
    if page.seconds:
        times = [(_inline(step), f"{seconds:.1f} s") for step, seconds in page.seconds.items()]
        yield "### Times\n\n" + _table(("step", "took"), times)
    if page.files:
        yield "Left for `actions/upload-artifact`: " + ", ".join(_inline(file) for file in page.files)


def _call(plan: Plan, deployment: DeploymentView) -> str:
    sample = deployment.release.sample_input or '"INPUT"'
    lines = [
        f"curl {shlex.quote(plan.endpoint)} \\",
        '  -H "Authorization: Simple $PUSHPOINT_API_KEY" \\',
        "  -H 'Content-Type: application/json' \\",
        f"  -d {shlex.quote(sample)}",
    ]
    return f"**Endpoint** {_inline(plan.endpoint)}\n\n{code(chr(10).join(lines), 'sh')}"


def _facts(page: Page) -> str:
    rows: list[tuple[str, str]] = []
    if page.plan:
        source = page.plan.source
        subject = source.message.partition("\n")[0][:100]
        rows += [
            ("commit", f"{_inline(source.commit[:12])} {_inline(subject)}"),
            ("repository", f"{_inline(source.repository)} {_inline(source.ref)}"),
        ]
        if page.status == "planned":
            plan = page.plan
            train = f"execute {_inline(plan.notebook)}" if plan.notebook else f"nothing: {_inline(plan.model_path)}"
            rows += [
                ("train", train),
                ("upload to", _inline(plan.collection.replace(f"{NOBODY}/", "OWNER/"))),
                ("push", _inline(f"{plan.inference}/ and the manifest" if plan.inference else "the manifest alone")),
                ("publish", _inline(plan.publish)),
            ]
    if page.deployment:
        release = page.deployment.release
        word = "live now" if page.status != "deployed" else "version"
        rows.append((word, f"{release.version}, generation {page.deployment.generation}"))
        if release.model and page.status in {"deployed", "unchanged"}:
            rows += [
                ("model", f"{_inline(release.model.uri)}, {release.model.size:,} bytes"),
                ("SHA-256", _inline(release.model.sha256)),
                ("MD5", _inline(release.model.md5)),
            ]
    return _table(("", ""), rows) if rows else ""


def _metrics(metrics: Mapping[str, Compared]) -> str:
    if not metrics:
        return ""
    rows = [
        (_inline(name), _number(one.new), _number(one.live), f"{one.difference:+.4g}" if one.difference else "")
        for name, one in metrics.items()
    ]
    return "### Metrics\n\n" + _table(("metric", "this model", "live before", "difference"), rows)


def _plots(plots: Sequence[Path]) -> str:
    # GitHub shows no picture that is not at a public address, so it is said where they are.
    return "### Plots\n\n" + "\n".join(f"- {_inline(path.name)}" for path in plots) if plots else ""


def code(text: str, language: str = "text") -> str:
    """Put text in a code block that it cannot leave.

    Returns:
        Markdown.

    Example:
        >>> print(code("a ``` b"))
        ````text
        a ``` b
        ````
    """
    text = printable(text)[:20_000]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _inline(text: str | None) -> str:
    shown = _plain(" ".join(printable((text or "")[:4000]).split())[:2000])
    return f"<code>{shown}</code>" if shown else ""


def _plain(text: str) -> str:
    # As character references, because these cannot begin or end anything in Markdown.
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
