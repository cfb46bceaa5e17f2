"""The parameters that a process declares in its documentation, read without executing it.

A process declares its parameters in the section `Parameters:` of its docstring, one to a line, in this form:

    Parameters:
        width (whole number, default 512): pixels of each picture, from left to right.
        quality (text or 0 to 3, default "medium"): how closely triangles follow exact surfaces; further
            lines are indented more deeply.

A default is JSON; a parameter without one has none, or one that depends on others. `* (any)` declares that other names
are accepted too, and `Parameters: none.` that there are none. A section in any other form declares nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ANY = "*"
"""Declared name that accepts any other name."""

_SECTION = re.compile(r"^Parameters:[ \t]*(?P<rest>[^\n]*)\n?(?P<lines>(?:[ \t]+\S[^\n]*(?:\n|\Z))*)", re.MULTILINE)
_ENTRY = re.compile(r"^    (?P<name>\w+|\*) \((?P<type>[^()]+?)(?:, default (?P<default>[^()]+))?\): (?P<doc>\S.*)$")
_CONTINUED = re.compile(r"^ {5,}(?P<doc>\S.*)$")
_NONE = re.compile(r"none\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredParameter:
    """One parameter of a process."""

    name: str
    """Key of the params; `*` for any other key."""
    type: str
    """What it may be, in words, such as `whole number`."""
    default: Any
    """JSON value that it has when it is not given; None when there is none, or when it depends on others."""
    doc: str
    """What it does."""


@lru_cache(maxsize=256)
def declared_parameters(doc: str | None) -> tuple[DeclaredParameter, ...] | None:
    """Return the parameters that a docstring declares, or None when it declares nothing.

    >>> declared_parameters('Sleep.\\n\\nParameters:\\n    t (number, default 0.1): seconds to sleep.\\n')
    (DeclaredParameter(name='t', type='number', default=0.1, doc='seconds to sleep.'),)
    >>> declared_parameters("Sleep.\\n\\nParameters: none.\\n"), declared_parameters("Parameters: see the wiki.")
    ((), None)

    Args:
        doc: the docstring, without its indentation.
    """
    section = _SECTION.search(doc or "")
    if section is None:
        return None
    lines = section["lines"].splitlines()
    if not lines:
        return () if _NONE.match(section["rest"]) else None
    found: list[DeclaredParameter] = []
    for line in lines:
        if (entry := _ENTRY.match(line)) is not None:
            parameter = _parameter(entry)
            if parameter is None:
                return None
            found.append(parameter)
        elif found and (more := _CONTINUED.match(line)) is not None:
            last = found.pop()
            doc_so_far = f"{last.doc} {more['doc']}"
            found.append(DeclaredParameter(name=last.name, type=last.type, default=last.default, doc=doc_so_far))
        else:
            return None
    return tuple(found)


def _parameter(entry: re.Match[str]) -> DeclaredParameter | None:
    default = None
    if entry["default"] is not None:
        try:
            default = json.loads(entry["default"])
        except ValueError:
            return None
    return DeclaredParameter(name=entry["name"], type=entry["type"], default=default, doc=entry["doc"])
