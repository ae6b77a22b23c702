"""SVG pictures that a person may open in a browser: checked, since an SVG is a program as soon as somebody wants it so.

A picture is taken or refused as a whole; nothing is mended. What is allowed is what plotting libraries draw with.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"
_DRAWN = (
    "svg g defs symbol use title desc metadata style path rect circle ellipse line polyline polygon text tspan textPath"
    " clipPath mask pattern marker linearGradient radialGradient stop image"
)
_SPOKEN = ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://purl.org/dc/", "http://creativecommons.org/ns#")
"""Vocabularies of a picture's metadata; browsers do nothing with them."""
_PROLOG = re.compile(r"\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*(?:<!DOCTYPE[^>\[]*>)?\s*", re.DOTALL)
_LINK = re.compile(r"#[\w.:-]*|data:image/(?:png|jpeg);base64,[\w+/=\s]*")
_CALLED = re.compile(r"url\s*\(\s*(?!['\"]?#)|@|\\|javascript", re.IGNORECASE)
"""What a style may not say: other addresses than those inside the picture, imports, and escapes that spell them."""


def checked(text: str) -> bytes:
    """Insist that an SVG draws and does nothing else.

    Args:
        text: The file's content.

    Returns:
        The same picture without XML declaration and document type, UTF-8.

    Raises:
        ValueError: It is no SVG, or it holds what could run, load or link to something.
    """
    prolog = _PROLOG.match(text)
    text = text[prolog.end() if prolog else 0 :]
    if not text.startswith("<svg") or "<?" in text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it is not plain SVG")
    try:
        content = text.encode()
        root = ElementTree.fromstring(content)  # noqa: S314 - without a document type there is nothing to expand
    except (ElementTree.ParseError, UnicodeEncodeError) as error:
        raise ValueError(f"it is not XML ({error})") from error
    for element in root.iter():
        space, _, name = str(element.tag).removeprefix("{").rpartition("}")
        if not (name in _DRAWN.split() if space == _SVG else space.startswith(_SPOKEN)):
            raise ValueError(f"it holds <{name[:40]}>")
        if name == "style" and _CALLED.search("".join(element.itertext())):
            raise ValueError("its style loads something")
        for attribute, value in element.attrib.items():
            word = attribute.rpartition("}")[2].lower()
            is_link = space == _SVG and word in {"href", "src"}
            if word.startswith("on") or (is_link and not _LINK.fullmatch(value)) or _CALLED.search(value):
                raise ValueError(f"it has the attribute {word[:40]}")
    return content
