"""A number that a notebook wants remembered: `pushpoint.metric("accuracy", accuracy)`.

It is shown as an output of the cell, with a media type of ours, so it stays in the executed notebook: a deploy reads it
there and writes it into the manifest. Outside of a notebook it is printed.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any

MEDIA_TYPE = "application/vnd.pushpoint.metric+json"
NAME = re.compile(r"[^\W_]([\w .:/@%+()-]{0,62}[\w%+)])?")
"""What a metric may be called; what is shown to people as a table must not be able to draw one of its own."""
NAME_RULE = "use 1 to 64 letters, digits, spaces and _ . : / @ % + ( ) -, a letter or a digit first"


def metric(name: str, value: Any) -> None:
    """Show a number under a name. For the same name again, the last number counts.

    Args:
        name: `accuracy`, `f1 (macro)`, `val/loss`.
        value: A finite number: Python's, a scalar of numpy, a tensor with one element.

    Raises:
        TypeError: The value is no number, or the name is no text.
        ValueError: The number is not finite, or the name has other characters.
    """
    if not isinstance(name, str):
        raise TypeError("a metric's name is a text, not {!r}; write pushpoint.metric('accuracy', value)".format(name))
    if not NAME.fullmatch(name):
        raise ValueError("{!r} cannot name a metric; {}".format(name[:80], NAME_RULE))
    number = _number(name, value)
    text = "{} = {:.6g}".format(name, number)
    ipython = sys.modules.get("IPython")  # not imported here: where it is not loaded, this is no notebook
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        print(text)
    else:
        shell.display_pub.publish({MEDIA_TYPE: {"name": name, "value": number}, "text/plain": text})


def _number(name: str, value: Any) -> float:
    kind = type(value).__name__
    has_one = hasattr(value, "__float__") or hasattr(value, "__index__")
    try:
        if kind.startswith("bool") or not has_one:  # bool, and numpy's, which is no kind of bool
            raise TypeError(kind)
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # also arrays and tensors of more than one element
        raise TypeError("the metric {!r} is a {}, which is not one number; pass a float".format(name, kind)) from None
    if not math.isfinite(number):
        raise ValueError("the metric {!r} is {}; find out why, or leave it out".format(name, number))
    return number
