"""Inference code as it lies in a folder, and what can honestly be said of where it comes from.

A deploy takes a commit; a notebook has a folder, perhaps in no repository, perhaps half edited. A commit is named only
where the folder is exactly that commit's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pushpoint import git
from pushpoint import manifest as manifests
from pushpoint.deploy.plan import source_of
from pushpoint.deploy.push import fill, manifest_in
from pushpoint.errors import ConfigError
from pushpoint.manifest import Manifest, Source
from pushpoint.report import Report

_MODEL = "model"
"""What the ADK is to call the model; a notebook's file may lie anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A folder of inference code.

    Attributes:
        folder: The folder.
        files: What of it is code: in a git repository what git would add, elsewhere all that is not hidden.
        source: The commit that holds the same; none where there is no such.
        tree: Git's id of the folder in that commit.
    """

    folder: Path
    files: tuple[str, ...]
    source: Source | None = None
    tree: str = ""

    def lay_out(self, place: Path, manifest: Manifest | None, *, report: Report) -> None:
        """Make a clone hold this code and a manifest; one that says the same as the clone's leaves that untouched.

        Args:
            place: The clone. The folder beside it named `code` is used too.
            manifest: What ties the code to a model; none for the code's own file.
            report: Told what else was changed.
        """
        copy = place.with_name("code")
        shutil.rmtree(copy, ignore_errors=True)
        for file in self.files:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.folder / file, copy / file, follow_symlinks=False)
        there = manifest_in(place)
        fill(place, copy, manifest, model_path=_MODEL, report=report)
        made = manifest_in(place)
        if manifest and there and made:  # what only tells one push from another is no reason for a commit
            same = replace(made, deploy_id=there.deploy_id, created=there.created, previous=there.previous)
            if same == there:
                (place / manifests.FILE).write_text(manifests.write(there), encoding="utf-8")


def read_code(folder: Path, name: str, *, environment: Mapping[str, str], report: Report) -> Code:
    """Look at a folder of inference code.

    Args:
        folder: The folder.
        name: The algorithm's own name: the platform calls `apply` in `src/NAME.py`.
        environment: Where CI tells repository and ref.
        report: Told why no commit is named.

    Returns:
        The code.

    Raises:
        ConfigError: The folder is no inference code.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name the folder of the inference code")
    top = _top(folder)
    files = tuple(git.wanted(folder) if top else sorted(_visible(folder)))
    if f"src/{name}.py" not in files:
        why = "is ignored by git" if (folder / "src" / f"{name}.py").exists() else "does not exist"
        raise ConfigError(f"{folder}/src/{name}.py {why}; the platform calls `apply` in that file, so write it there")
    if top is None:
        report.line(f"{folder.name}/ is in no commit of a git repository, so the manifest names none")
        return Code(folder=folder, files=files)
    inside = folder.relative_to(top).as_posix()
    paths = [] if inside == "." else [inside]
    if dirty := {*git.changed(top, paths), *git.altered(top, "HEAD", paths)}:
        more = f" and {len(dirty) - 3} more" if len(dirty) > 3 else ""
        shown = ", ".join(sorted(dirty)[:3]) + more
        report.warn(f"{shown} differ from the commit, so the manifest names none; commit first if it should")
        return Code(folder=folder, files=files)
    tree = git.text(["rev-parse", "--verify", f"HEAD:{'' if inside == '.' else inside}"], directory=top, isolated=False)
    return Code(folder=folder, files=files, source=source_of(top, environment), tree=tree)


def _top(folder: Path) -> Path | None:
    try:
        git.text(["rev-parse", "--verify", "--quiet", "HEAD"], directory=folder, isolated=False)
        return Path(git.text(["rev-parse", "--show-toplevel"], directory=folder, isolated=False)).resolve()
    except ConfigError:
        return None


def _visible(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            whole = Path(place) / name
            if not name.startswith(".") and not name.endswith(".pyc") and git.is_file_or_link(whole):
                yield whole.relative_to(folder).as_posix()
