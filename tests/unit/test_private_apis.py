"""The table of private names in docs/upgrading-ray.md is that of the code, and the installed Ray has Ray's names."""

from __future__ import annotations

import ast
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "upgrading-ray.md"
SOURCES = [
    ROOT / "setup.py",
    *(path for room in ("pixyz_worker", "pixyz_ray", "serve_app") for path in (ROOT / room).rglob("*.py")),
]
DOCUMENTED = frozenset({"_exit", "_fields", "_replace", "_asdict"})
"""Names with an underscore that are public all the same."""
VARIABLE = re.compile(r"(RAY|REPORTER)_\w+")
RAY_FOLDER = Path(ray.__file__).parent
RAY_FILES = (
    *("serve/_private/constants.py", "serve/_private/replica.py", "serve/_private/http_util.py"),
    *("_private/worker.py", "_private/function_manager.py", "_private/node.py", "_private/ray_constants.py"),
    "_private/state.py",
    *("_common/utils.py", "_common/usage/usage_constants.py", "dashboard/modules/reporter/reporter_consts.py"),
    *("_private/accelerators/accelerator.py", "core/src/ray/raylet/raylet"),
)
"""Files of Ray that define what we use of it."""


def _rows(heading: str = "") -> list[tuple[str, str, str]]:
    """Return (name, where, test) of each row of the page, or of one section of it."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {heading}")[2]
    text = text.partition("\n## ")[0] if heading else text
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `"))
    return [(row[0].strip("`"), row[1].strip("`"), row[-1].strip("`")) for row in cells]


ROWS = _rows()


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def _own_names(trees: dict[Path, ast.Module]) -> set[str]:
    """Return the private names that the product itself defines, whatever they are."""
    own = set()
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                own.add(name)
    return own


def _used(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Yield the private names of others that a file uses, and the variables of Ray."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if any(map(_is_private, one.name.split("."))))
            case ast.ImportFrom(module=str(module), names=names, level=0):
                full = [f"{module}.{one.name}" for one in names]
                yield from (name for name in full if any(map(_is_private, name.split("."))))
            case ast.Attribute(attr=name) if _is_private(name) and name not in own:
                yield name
            case ast.Call(keywords=keywords):
                # Arguments of our own functions have no underscore.
                yield from (one.arg for one in keywords if one.arg and _is_private(one.arg) and one.arg not in own)
            case ast.Constant(value=str(text)) if VARIABLE.fullmatch(text):
                yield text


def test_each_private_name_has_its_row() -> None:
    """Given the product, when its files are read, then each private name of others in them has a row with that file."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    own = _own_names(trees) - {"_run_build_commands"}  # overridden
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees.items()
        for name in sorted(set(_used(tree, own)))
        if not any(_names(row, name) and path.is_relative_to(ROOT / where) for row, where, _ in ROWS)
    ]
    assert not missing, f"add a row to {PAGE.relative_to(ROOT)}, or correct its 'where', for each of {missing}"


def _names(row: str, name: str) -> bool:
    """Return whether a row is about a name: `a._b` is about `_b`, and about `a._b.c` too."""
    return name in (row, *row.split(".")) or name.startswith(f"{row}.")


def test_each_function_that_changes_serve_has_its_row() -> None:
    """Given serve_fixes.py, when the names are collected that it replaces, then each has a row."""
    text = (ROOT / "serve_app" / "serve_fixes.py").read_text(encoding="utf-8")
    replaced = set(re.findall(r"^\s+replica\.(\w+) = ", text, re.MULTILINE))
    replaced |= set(re.findall(r'^_HOOK = "(\w+)"', text, re.MULTILINE))
    assert replaced
    assert replaced <= {name for name, _, _ in ROWS}


@pytest.mark.parametrize(("name", "where", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_true(name: str, where: str, test: str) -> None:
    """Given a row, when its file and its test are looked up, then both exist and the file has the name."""
    place = ROOT / where
    files = place.rglob("*.py") if place.is_dir() else [place]
    last = name.rsplit(".", 1)[-1]
    assert any(last in path.read_text(encoding="utf-8") for path in files), f"{where} has no {last}"
    assert (ROOT / test).is_file(), f"there is no {test}"


def test_the_installed_ray_knows_each_name() -> None:
    """Given the rows about Ray, when the installed version is searched, then each name is there.

    Ray ignores a variable that it does not know.
    """
    parts = []
    for name in RAY_FILES:
        with (RAY_FOLDER / name).open("rb") as file:
            parts.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        unknown = [
            name for name, _, _ in _rows("Ray and Serve") if all(part.find(_searched(name)) < 0 for part in parts)
        ]
    finally:
        for part in parts:
            part.close()
    assert not unknown, f"Ray {ray.__version__} does not know {unknown}"


def _searched(name: str) -> bytes:
    """Return what Ray's files have of a name: options of its C++ part have no prefix, modules no package."""
    if VARIABLE.fullmatch(name):
        return name.encode() if name.isupper() else name.removeprefix("RAY_").encode()
    return name.rsplit(".", 1)[-1].encode()
