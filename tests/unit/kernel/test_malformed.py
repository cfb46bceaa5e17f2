"""Files that are wrong in every way that one meets: reading each ends in a sentence, in this very process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pixyz_worker import archive
from pixyz_worker.exception import InvalidFile, PixyzException
from pixyz_worker.kernel.formats import find, readable_extensions
from pixyz_worker.kernel.formats.reading import read_scene
from tests.malformed import ISOLATED, cases
from tests.unit.kernel import good_files

MOST_S = 30.0
MOST_CHARACTERS = 600
CHOSEN = ("all but a tenth", "fbx of 10^9 values", "a usda that refers elsewhere", "a usdz that is compressed")
"""Of the formats that are read in a process of their own, the cases that are tried here; the rest are jobs' matter."""


Case = tuple[str, str, bytes]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Name, file name and content of each case."""
    return list(cases(good_files.make(tmp_path_factory.mktemp("good"))))


def wrong(folder: Path, name: str, content: bytes) -> str | None:
    """What is not as it should be about how reading a bad file ends; None when all is."""
    path = folder / name
    path.write_bytes(content)
    began = time.monotonic()
    try:
        read_whole(path, folder / "unpacked")
    except InvalidFile as error:
        took = time.monotonic() - began
        return f"takes {took} s" if took > MOST_S else flaw(str(error), folder)
    except PixyzException as error:
        return f"is not the input's fault, says {error!r}"
    return "is read"


def read_whole(path: Path, folder: Path) -> None:
    """Read a file, or the one in an archive, and take it apart."""
    if archive.is_archive(path):
        archive.extract(path, folder)
        path = archive.find_root_file(folder, None, path.name)
    assert read_scene(path).parts()


def flaw(sentence: str, folder: Path) -> str | None:
    """What is not right about a sentence: it is one line, names the file, and no folder."""
    plain = sentence.endswith(".") and not sentence.endswith("..") and sentence.isprintable()
    named = ("bad." in sentence or "model." in sentence) and str(folder) not in sentence
    return None if plain and named and len(sentence) < MOST_CHARACTERS else f"says {sentence!r}"


@pytest.mark.parametrize("kind", [*sorted(readable_extensions()), "archive"])
def test_given_bad_files_of_a_format_when_read_then_each_ends_in_a_sentence(
    kind: str, table: list[Case], tmp_path: Path, need_extra: Callable[[str], None]
) -> None:
    """Given files of a format that are cut, mixed up or hostile, when they are read, then a sentence says why not."""
    mine = [case for case in table if case[0].startswith(f"{kind}: ")]
    if not mine:
        need_extra(find(f".{kind}").reader_extra or "cad")
    faults = []
    for number, (name, file, content) in enumerate(mine):
        if kind not in ISOLATED or name.partition(": ")[2] in CHOSEN:
            folder = tmp_path / str(number)
            folder.mkdir()
            faults += [f"{name}: {fault}" for fault in [wrong(folder, file, content)] if fault]
    assert faults == []


def test_given_the_cases_then_each_has_a_name_of_its_own(table: list[Case]) -> None:
    """Given the cases, when their names are looked at, then none is there twice."""
    names = [name for name, _, _ in table]
    assert len(set(names)) == len(names)
