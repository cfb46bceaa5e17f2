"""XML from strangers as a tree: without document types, entities and network."""

from __future__ import annotations

import re
from typing import Any

import numpy
from lxml import etree
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import number_text

_DECLARATION = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)[\"'][^>]*\?>")
_ENCODINGS = {"utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16"}
_PLAIN_TYPE = re.compile(r"<!DOCTYPE\s[^\[\]<>]*>")


def parse(data: bytes, *, typed: bool = False) -> Any:
    """The root element of a document; ValueError says what is wrong with it.

    A document type is refused; where `typed` is set, one that only names itself is passed over instead: nothing of
    it is read.
    """
    text = _text(data)
    if typed:
        text = _PLAIN_TYPE.sub("", text, count=1)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares a document type of its own, which no such file needs")
    # Coordinates of a large mesh are one long text, longer than the parser takes without huge_tree. What that guards
    # against besides are entities, of which there are none here.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is not well-formed XML: {error}") from None


def numbers(text: str | None, width: int, kind: Any = numpy.float64) -> NDArray[Any]:
    """Numbers with blanks or commas between them, (n, width); ValueError when they do not make whole rows."""
    values = number_text.parse((text or "").replace(",", " ").encode("ascii", "replace"), kind)
    if len(values) % width:
        raise ValueError("a list of numbers in it ends before it should")
    return values.reshape(-1, width)


def name_of(element: Any) -> str:
    """The name of an element, without its namespace; empty for what is no element."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _text(data: bytes) -> str:
    """The text of a document, without its declaration."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    else:
        data = data.removeprefix(b"\xef\xbb\xbf")
        found = _DECLARATION.match(data[:1024])
        encoding = found[1].decode().lower() if found else "utf-8"
    if encoding not in _ENCODINGS:
        raise ValueError(f"its encoding {encoding[:40]!r} is not supported")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not XML text") from None
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
