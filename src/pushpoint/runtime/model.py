"""The model of the algorithm that imports this: `model.path`, a verified file, and `model.manifest`, a dict.

In a worker the worker has set both. Elsewhere (`%run src/algorithm.py` in a notebook, `python src/algorithm.py`)
they are found beside the code: the nearest model_manifest.json, and the `./model.pkl` it names; nothing is verified
there.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Mapping, Optional, Tuple

from pushpoint.runtime import verify

path: str
"""Where the model is."""
manifest: Dict[str, Any]
"""What model_manifest.json says."""

_given: Optional[Tuple[Optional[str], Mapping[str, Any]]] = None


class ModelNotFound(Exception):
    """There is no model to be found from here."""


def give(path: Optional[str], manifest: Optional[Mapping[str, Any]]) -> None:
    """Set the model of this process; the worker does it before it imports the algorithm."""
    global _given
    _given = (path, manifest or {})


def __getattr__(name: str) -> Any:
    if name == "manifest":
        return dict(_given[1]) if _given else _find_manifest()[1]
    if name == "path":
        if not _given:
            return _find_model(*_find_manifest())
        if _given[0] is None:
            raise ModelNotFound("this algorithm has no model: its {} names none".format(verify.MANIFEST))
        return _given[0]
    raise AttributeError("module {!r} has no attribute {!r}".format(__name__, name))


def _find_manifest() -> Tuple[str, Dict[str, Any]]:
    places = _places()
    for place in places:
        found = verify.read_manifest(os.path.join(place, verify.MANIFEST))
        if found is not None:
            return place, found
    raise ModelNotFound(
        "there is no {} in {}; put one there that names ./model.pkl".format(verify.MANIFEST, " or ".join(places))
    )


def _find_model(place: str, manifest: Mapping[str, Any]) -> str:
    name = manifest.get("model_filepath")
    if not isinstance(name, str):
        raise ModelNotFound("{} in {} names no model: it has no `model_filepath`".format(verify.MANIFEST, place))
    if verify.stored_model(manifest):
        raise ModelNotFound(
            "{} in {} names {}, which is on the platform; to run here, let `model_filepath` be ./model.pkl".format(
                verify.MANIFEST, place, name
            )
        )
    files = [os.path.normpath(os.path.join(folder, name)) for folder in (os.getcwd(), place)]
    for file in files:
        if os.path.isfile(file):
            return file
    raise ModelNotFound("there is no {}; run the notebook that writes it".format(" and no ".join(files)))


def _places() -> List[str]:
    # the algorithm's repository if it is the program, the working folder, and what is above either
    starts = [os.getcwd()]
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if program:
        folder = os.path.dirname(os.path.abspath(program))
        starts.insert(0, os.path.dirname(folder) if os.path.basename(folder) == "src" else folder)
    return list(dict.fromkeys(starts + [os.path.dirname(start) for start in starts]))
