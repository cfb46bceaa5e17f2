"""The format table: lookups, sentences, and the page made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel import formats
from pixyz_worker.kernel.formats import Format, find
from pixyz_worker.kernel.formats.page import page

DOCS = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize(
    "path", ["glb", ".glb", "GLB", "a/b/part.Glb", "my.part.glb", Path("x/part.GLB"), "/a.b/c.glb"]
)
def test_find_takes_paths_and_extensions(path: str | Path) -> None:
    """Given a path or an extension, when the format is looked up, then case and dots do not matter."""
    assert find(path).name == "GLB"


@pytest.mark.parametrize("path", ["part.CATPart", "x.sldprt", "y.jt", "z.x_t", "w.prt", "plan.dwg"])
def test_formats_of_the_sdk_say_so(path: str) -> None:
    """Given a format that only the SDK reads, when it is looked up, then the sentence says so and lists others."""
    with pytest.raises(InvalidFile, match=r"needs the Pixyz SDK.*can be read: .*glb.*step"):
        find(path)


@pytest.mark.parametrize("path", ["part.docx", "notes.txt", "archive.foo"])
def test_unknown_formats_list_what_is_known(path: str) -> None:
    """Given an unknown extension, when it is looked up, then the sentence lists what is read, or written."""
    with pytest.raises(
        InvalidFile, match=rf"^{path}: .*not a format that is known here\. What can be read: [a-z0-9, ]+\.$"
    ):
        find(path)
    with pytest.raises(InvalidFile, match=r"not a format that is known here\. What can be written: [a-z0-9, ]+\.$"):
        find(path, to="written")


def test_an_extension_alone_is_not_said_twice() -> None:
    """Given an extension of the SDK's, when it is to be written, then the sentence begins with it and offers others."""
    with pytest.raises(InvalidFile, match=r"^\.catpart \(CATIA\) needs the Pixyz SDK.*What can be written: .*glb"):
        find(".catpart", to="written")


@pytest.mark.parametrize("path", ["", "/a/README", "folder/", Path("part")])
def test_no_extension_is_named(path: str | Path) -> None:
    """Given a path without an extension, when it is looked up, then the sentence says so."""
    with pytest.raises(InvalidFile, match="has no extension"):
        find(path)


def test_a_missing_package_is_named() -> None:
    """Given a format whose package is missing, when it is loaded, then the sentence says what to install."""
    entry = Format(name="Odd", extensions=("odd",), reader="x:y", packages=("odd-lib",), modules=("no_such_module",))
    with pytest.raises(InvalidFile, match=r"needs odd-lib.*pip install odd-lib"):
        entry.load_reader()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a format whose extra is missing, when it is loaded, then the sentence says what to install."""
    monkeypatch.setitem(formats.EXTRAS, "usd", ("usd-core", "no_such_module"))
    with pytest.raises(InvalidFile, match=r"USD \(\.usd\) can be read with the extra 'usd'.*'pixyz-ray\[usd\]'"):
        find("usd").load_reader()
    with pytest.raises(InvalidFile, match=r"can be written with the extra 'usd'"):
        find("usd").load_writer()


def test_what_is_only_read_cannot_be_written() -> None:
    """Given IFC, when it is to be written, then the sentence lists what can be."""
    with pytest.raises(InvalidFile, match=r"IFC .*cannot be written here.*can be written: .*glb"):
        find("ifc").load_writer()


@pytest.mark.parametrize("entry", formats.TABLE, ids=lambda entry: entry.name)
def test_each_row_names_functions_that_are_there(entry: Format, need_extra: Callable[[str], None]) -> None:
    """Given a row of the table, when its reader and its writer are loaded, then they are functions."""
    for extra in {entry.reader_extra, entry.writer_extra} - {None}:
        need_extra(str(extra))
    assert not entry.reader or callable(entry.load_reader())
    assert not entry.writer or callable(entry.load_writer())


def test_the_table_is_consistent() -> None:
    """Given the table, then extensions are unique, lower case, and not also said to need the SDK."""
    every = [extension for entry in formats.TABLE for extension in entry.extensions]
    assert len(every) == len(set(every))
    assert all(extension == extension.lower() and "." not in extension for extension in every)
    assert not set(every) & set(formats.SDK_ONLY)
    assert formats.readable_extensions() >= formats.writable_extensions() >= {"pxz", "glb", "gltf", "obj"}
    only_read = {"iges", "igs", "3ds", "x3d", "dxf", "3dxml", "ifc"}
    assert formats.readable_extensions() - formats.writable_extensions() == only_read


def test_the_page_is_up_to_date() -> None:
    """Given docs/formats.md, then it is what `python -m pixyz_worker.kernel.formats` prints."""
    assert DOCS.read_text(encoding="utf-8") == page()
