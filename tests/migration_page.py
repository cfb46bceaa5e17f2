"""docs/migration.md as data: its tables, commands and code blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
JOB = "7f3c2a9e-0000-4000-8000-000000000001"

Test = TypeVar("Test", bound=Callable[..., Any])

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")


def section(title: str) -> str:
    """Return the text below a heading, sections below it included."""
    match = re.search(rf"^(#+) {re.escape(title)}\n", TEXT, re.MULTILINE)
    assert match, f"docs/migration.md has no section {title!r}"
    end = re.search(rf"^#{{1,{len(match[1])}}} ", _without_code(TEXT[match.end() :]), re.MULTILINE)
    return TEXT[match.end() :][: end.start() if end else None]


def table(title: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without its head."""
    lines = section(title).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in _CELL.split(line)[1:-1]])
    assert rows
    return rows


def inline(text: str) -> list[str]:
    """Return what stands in backticks, code blocks left out."""
    return re.findall(r"`([^`\n]+)`", _without_code(text))


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return the code blocks in one language."""
    return [code for found, code in _FENCE.findall(text) if found == language]


def console_lines(text: str = TEXT) -> list[str]:
    """Return the lines that are typed, of all console blocks; a here-document's lines belong to its command."""
    typed: list[str] = []
    for line in "".join(blocks("console", text)).splitlines():
        if line.startswith("$ "):
            typed.append(line.removeprefix("$ "))
        else:
            typed[-1] += f"\n{line}"
    return typed


def _without_code(text: str) -> str:
    """Blank out code blocks, whose comments look like headings; lengths stay."""
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


DIFFERENCES = ("In scripts", "In graphs", "In jobs and requests", "In operation")


def titles() -> list[str]:
    """Return the first cells of the tables of differences."""
    return [row[0].replace("`", "") for title in DIFFERENCES for row in table(title)]


def covers(*rows: str) -> Callable[[Test], Test]:
    """Mark a test as that of rows of the tables of differences, which must be there."""
    assert set(rows) <= set(titles()), f"not on the page: {set(rows) - set(titles())}"
    return lambda test: test
