"""Printing to consoles that cannot show every character, such as those of Windows with code page 1252."""

from __future__ import annotations

import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line; characters that the stream's encoding lacks appear as escapes (\\u2192) and raise nothing.

    Args:
        text: the line, without its end.
        stream: where to print; standard output by default. A program without a console has none, and prints nothing.
    """
    target = sys.stdout if stream is None else stream
    if target is None:  # pythonw.exe
        return
    try:
        print(text, file=target, flush=True)
    except UnicodeEncodeError:
        encoding = target.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=target, flush=True)
