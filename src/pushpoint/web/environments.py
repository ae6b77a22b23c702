"""Environments: the Pythons that an algorithm may choose, as old clients look them up (platform API, section 2.9).

There are two languages, `anaconda3` and `python3`, and both mean the same Pythons: packages come from PyPI, not from
conda. `python2` is not among them, since no supported tool makes environments for it. There are no GPU environments of
their own.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from datetime import UTC, datetime

from litestar import Response, get

from pushpoint import wire
from pushpoint.errors import NotFound
from pushpoint.interpreters import Interpreter
from pushpoint.names import AlgorithmName
from pushpoint.registry import repositories
from pushpoint.serving import Services
from pushpoint.web.guards import KNOWN, OPEN

LANGUAGES = {"anaconda3": "Python 3.x, as Anaconda", "python3": "Python 3.x"}
"""Name and display name; the Python client's CLI expects `anaconda3` first."""
OLD_TEMPLATE = "36fd467e-fbfe-4ea6-aa66-df3f403b7132"
"""The old platform's id of its Python template, which the Python client's suite asks for."""
_EDGE = "/v1/algorithm-environments/edge"
_OLD = "/webapi/v1/algorithm-environments"


@get(f"{_EDGE}/languages", opt={"scope": KNOWN}, sync_to_thread=False)
def list_languages() -> list[wire.LanguageObject]:
    """List the languages."""
    return [wire.language_object(name, display) for name, display in LANGUAGES.items()]


@get(
    [f"{_EDGE}/languages/{{language:str}}/environments", f"{_OLD}/languages/{{language:str}}/environments"],
    opt={"scope": KNOWN},
    sync_to_thread=False,
)
def list_environments(services: Services, language: str) -> wire.Environments:
    """List the environments of a language; the second address is that of old scripts."""
    if language not in LANGUAGES:
        raise NotFound(f"there are no environments for {language!r}; choose one of {', '.join(LANGUAGES)}")
    return {"environments": _environments(services, language)}


@get(f"{_OLD}/environments/current", opt={"scope": KNOWN}, sync_to_thread=False)
def list_all(services: Services) -> list[wire.EnvironmentObject]:
    """List the environments of all languages, for old scripts."""
    return _environments(services, "python3")


@get(f"{_OLD}/environments/available", opt={"scope": KNOWN}, sync_to_thread=False)
def list_available() -> list[wire.EnvironmentObject]:
    """List the environments that could be added from elsewhere: none; a platform offers what its machine has."""
    return []


@get(
    f"{_EDGE}/environment-specifications/{{specification:str}}/template",
    opt={"scope": OPEN, "answers": {200: "application/gzip"}},
    sync_to_thread=False,
)
def template(services: Services, specification: str) -> Response[bytes]:
    """Send the files of a new algorithm, as a compressed archive."""
    if specification.lower() not in {OLD_TEMPLATE, *(interpreter.id for interpreter in services.interpreters)}:
        raise NotFound("there is no such environment specification; list a language's environments")
    archive = io.BytesIO()
    # no times in it: the same bytes whenever it is asked for
    with gzip.GzipFile(fileobj=archive, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as files:
        for path, text in repositories.template(AlgorithmName("OWNER", "NAME")).items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o644
            files.addfile(entry, io.BytesIO(text.encode()))
    return Response(archive.getvalue(), media_type="application/gzip")


def _environments(services: Services, language: str) -> list[wire.EnvironmentObject]:
    return [_environment(interpreter, language) for interpreter in services.interpreters]


def _environment(interpreter: Interpreter, language: str) -> wire.EnvironmentObject:
    return wire.environment_object(
        id=interpreter.id,
        name=f"Python {interpreter.version}",
        description=f"Python {interpreter.release}, packages from requirements.txt",
        created=datetime.fromtimestamp(interpreter.path.stat().st_mtime, UTC),
        language=wire.language_object(language, LANGUAGES[language]),
    )
