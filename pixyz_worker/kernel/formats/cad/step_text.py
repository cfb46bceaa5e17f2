"""Whether the text of a STEP file (ISO 10303-21) is sound, as far as that can be told quickly.

OpenCASCADE reads on after an error of syntax, and crashes on many of the references that then lead nowhere.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy

_STRINGS = re.compile(rb"'[^']*(?:''[^']*)*'")
_STRINGS_AND_COMMENTS = re.compile(_STRINGS.pattern + rb"|/\*.*?\*/", re.DOTALL)
_BLANKS = b" \t\r\n"
_DEFINED = re.compile(rb";#(\d+)=[A-Z_!(]")
_MENTIONED = re.compile(rb"#(\d+)")
_VALUE_ENDS, _VALUE_BEGINS = b"0123456789.$*\"'", b"#$\"'("
_FOLLOW_NO: tuple[tuple[bytes, bytes], ...] = (
    (_VALUE_ENDS, _VALUE_BEGINS),
    (b")\"'$", b"0123456789.#$*(\"'"),
    (b",", b",)=;"),
    (b"(", b",=;"),
    (b"=", b"0123456789.#$*,;=)"),
)
"""Letters, and those that never follow them: values without a comma between them, commas without a value."""


def is_sound(path: Path) -> bool:
    """Whether brackets pair up, values stand in lists, and each instance that is mentioned is there, once."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        begin, end = whole.find(b"DATA"), whole.rfind(b"ENDSEC")
        if begin < 0 or end < begin:
            return False
        text = _bare(whole[begin:end])
    text = text[max(text.find(b";"), 0) :]
    return text.endswith(b";") and _is_ordered(text) and _is_whole(text)


def _bare(text: bytes) -> bytes:
    """A text without blanks and comments, with a quotation mark for each string."""
    if b"/*" in text:
        text = _STRINGS_AND_COMMENTS.sub(lambda found: b'"' if found[0].startswith(b"'") else b"", text)
    else:
        text = _STRINGS.sub(b'"', text)
    return text.translate(None, _BLANKS)


def _is_ordered(text: bytes) -> bool:
    """Whether brackets pair up within each instance, and only letters follow one another that may."""
    letters = numpy.frombuffer(text, dtype=numpy.uint8)
    step = numpy.zeros(256, dtype=numpy.int8)
    step[ord("(")], step[ord(")")] = 1, -1
    depth = numpy.cumsum(step[letters], dtype=numpy.int32)
    if depth[letters == ord(";")].any() or int(depth.min()) < 0:
        return False
    before, after = numpy.zeros(256, dtype=numpy.uint8), numpy.zeros(256, dtype=numpy.uint8)
    for bit, (first, second) in enumerate(_FOLLOW_NO):
        before[list(first)] |= 1 << bit
        after[list(second)] |= 1 << bit
    return not (before[letters[:-1]] & after[letters[1:]]).any()


def _is_whole(text: bytes) -> bool:
    """Whether all between two semicolons is an instance, and what is mentioned is defined, once."""
    defined = _DEFINED.findall(text)
    names = set(defined)
    one_each = len(names) == len(defined) == text.count(b";") - 1 == text.count(b"=")
    return one_each and names.issuperset(_MENTIONED.findall(text))
