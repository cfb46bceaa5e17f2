"""Archives made to take memory, disk or time: each is refused by a limit that its error names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker import archive, zip_reading
from pixyz_worker.exception import InvalidFile, UnsafeFile
from pixyz_worker.kernel.limits import Limits

MIB = 2**20
_UNPACK = """
import resource, sys
from pathlib import Path
from pixyz_worker import archive
from pixyz_worker.exception import InvalidFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    archive.extract(Path(sys.argv[1]), Path(sys.argv[2]))
except InvalidFile as error:
    print(type(error).__name__, error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def unpacked(path: Path, **environment: str) -> tuple[str, int]:
    """Unpack an archive in a process of its own; return its error, or nothing, and the KiB that it took."""
    found = subprocess.run(
        [sys.executable, "-c", _UNPACK, str(path), str(path.parent / "out")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *error, memory = found.stdout.splitlines()
    return " ".join(error), int(memory)


def header(kind: bytes, size: int, name: bytes = b"a.glb") -> bytes:
    """Return a tar header of 512 bytes."""
    info = tarfile.TarInfo(name.decode())
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def zeros(size: int) -> bytes:
    """Return gzip of that many zeros."""
    return gzip.compress(bytes(MIB), 1) * (size // MIB)


def tar_bomb(kind: bytes, size: int) -> bytes:
    """Return a .tar.gz whose first header announces an extension of that size."""
    return gzip.compress(header(kind, size)) + zeros(size) + gzip.compress(header(tarfile.REGTYPE, 0) + bytes(1024))


def sparse_bomb(size: int) -> bytes:
    """Return a .tar.gz with a sparse file whose map goes on and on."""
    head = bytearray(header(tarfile.GNUTYPE_SPARSE, 0))
    head[482] = 1
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    block = (b"%011o\0" % 0) * 42 + b"\1" + bytes(7)
    return gzip.compress(bytes(head)) + gzip.compress(block * (MIB // 512), 1) * (size // MIB)


def global_headers() -> bytes:
    """Return a .tar.gz with many global headers, each of which would be kept."""
    made = io.BytesIO()
    for number in range(40):
        record = b"%d=" % number + bytes(100_000).replace(b"\0", b"x") + b"\n"
        length = len(record) + 8
        record = b"%06d " % (length - 1) + record
        made.write(header(tarfile.XGLTYPE, len(record)) + record + bytes(-len(record) % 512))
        made.write(header(tarfile.REGTYPE, 0, b"%d.glb" % number))
    return gzip.compress(made.getvalue(), 1)


def digits() -> bytes:
    """Return a .tar.gz whose PAX record is a run of digits, on which `tarfile` takes quadratic time."""
    return gzip.compress(header(tarfile.XHDTYPE, 250_000) + b"1" * 250_368 + header(tarfile.REGTYPE, 0) + bytes(1024))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "pax": (lambda: tar_bomb(tarfile.XHDTYPE, 600 * MIB), "headers of more than"),
    "global pax": (lambda: tar_bomb(tarfile.XGLTYPE, 600 * MIB), "headers of more than"),
    "long name": (lambda: tar_bomb(tarfile.GNUTYPE_LONGNAME, 600 * MIB), "headers of more than"),
    "long link": (lambda: tar_bomb(tarfile.GNUTYPE_LONGLINK, 600 * MIB), "headers of more than"),
    "sparse map": (lambda: sparse_bomb(200 * MIB), "headers of more than"),
    "kept headers": (global_headers, "headers of more than"),
    "digits": (digits, "300 digits"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_given_a_tar_whose_headers_unpack_to_much_then_it_is_refused_at_little_memory(
    name: str, tmp_path: Path
) -> None:
    """Given a small .tar.gz with headers of any size, when it is unpacked, then a limit holds, and memory with it."""
    make, message = BOMBS[name]
    path = tmp_path / "input.tar.gz"
    path.write_bytes(make())
    error, memory = unpacked(path)
    assert error.startswith("UnsafeFile")
    assert message in error
    assert memory < 100 * 1024
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_given_a_zip_that_announces_less_than_it_holds_then_memory_stays_small(tmp_path: Path, method: int) -> None:
    """Given an entry of 100 MiB of zeros that announces 10 bytes, when unpacked, then it is refused."""
    path = tmp_path / "input.zip"
    size = 100 * MIB
    with zipfile.ZipFile(path, "w", method) as file, file.open("a.glb", "w") as entry:
        for _ in range(100):
            entry.write(bytes(MIB))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 10)))
    error, memory = unpacked(path)
    assert error.startswith(("InvalidFile", "UnsafeFile"))
    assert memory < 100 * 1024


def test_given_a_zip_with_a_huge_table_then_it_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Given a million entries, when unpacked, then the table of contents is refused at little memory."""
    path = tmp_path / "input.zip"
    record = struct.pack("<4s24x3H12x", b"PK\x01\x02", 0, 0, 0)
    for number, message in ((200_000, "100000 entries"), (1_000_000, "table of contents")):
        table = record * number
        path.write_bytes(table + struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1, 1, len(table), 0, 0))
        error, memory = unpacked(path)
        assert error.startswith("UnsafeFile")
        assert message in error
        assert memory < 100 * 1024


def test_given_entries_that_share_bytes_then_the_zip_is_refused(tmp_path: Path) -> None:
    """Given a zip bomb whose entries overlap, when unpacked, then it is refused."""
    path = tmp_path / "input.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.glb", b"x" * 1000)
        file.writestr("b.glb", b"x" * 1000)
        file.filelist[1].header_offset = 0
    with pytest.raises(UnsafeFile, match="share bytes"):
        archive.extract(path, tmp_path / "out")


def test_given_an_lzma_dictionary_of_gigabytes_then_the_zip_is_refused(tmp_path: Path) -> None:
    """Given a dictionary of 1 GiB in the entry's header, when unpacked, then no memory is taken for it."""
    path = tmp_path / "input.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.glb", b"x" * 1000)
    data = bytearray(path.read_bytes())
    place = 30 + len("a.glb") + 5
    data[place : place + 4] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(UnsafeFile, match="LZMA dictionary"):
        archive.extract(path, tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@given(content=st.binary(max_size=2000), repeat=st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_given_any_compression_then_an_entry_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, method: int, content: bytes, repeat: int
) -> None:
    """Given content packed in any way, when it is read, then it is the same."""
    path = tmp_path_factory.mktemp("zip") / "input.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("first", b"something before it")
        file.writestr("a.bin", content * repeat)
    with zip_reading.opened(path, Limits()) as file:
        assert zip_reading.entry_bytes(file, file.getinfo("a.bin")) == content * repeat


def _pack(ending: str) -> bytes:
    made = io.BytesIO()
    if ending == "zip":
        with zipfile.ZipFile(made, "w") as file:
            for number, method in enumerate((0, 8, 12, 14)):
                file.writestr(f"sub/{number}.glb", bytes(range(256)) * 4, method)
    else:
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in ("a.glb", "x" * 150 + "/ü.glb"):
                info = tarfile.TarInfo(name)
                info.size = 700
                tar.addfile(info, io.BytesIO(b"y" * 700))
    return made.getvalue()


PACKED = {"zip": _pack("zip"), "tar": _pack("tar"), "tar.gz": _pack("tar")}


@pytest.mark.parametrize("ending", PACKED)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_given_a_malformed_archive_then_it_is_unpacked_or_an_invalid_file(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    """Given any bytes changed, cut out or repeated, when unpacked, then it works or the error is ours."""
    content = bytearray(PACKED[ending])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 40))
        content[place : place + length] = data.draw(st.binary(max_size=40))
    folder = tmp_path_factory.mktemp("malformed")
    path = folder / f"input.{ending}"
    path.write_bytes(gzip.compress(content, 1) if ending == "tar.gz" else content)
    try:
        archive.extract(path, folder / "out")
    except InvalidFile as error:
        assert "input." in str(error)


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_given_entries_with_many_folders_each_then_the_folders_count(tmp_path: Path, ending: str) -> None:
    """Given 50 files in 90 folders of their own each, when 1,000 entries are allowed, then it is refused."""
    path = tmp_path / f"input.{ending}"
    names = ["/".join(f"d{number}-{depth}" for depth in range(90)) + "/a.glb" for number in range(50)]
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, "")
    else:
        with tarfile.open(path, "w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
    error, _ = unpacked(path, MAX_ARCHIVE_ENTRIES="1000")
    assert "UnsafeFile" in error
    assert "MAX_ARCHIVE_ENTRIES" in error
    assert not unpacked(path, MAX_ARCHIVE_ENTRIES="4600")[0]


def test_given_many_members_of_gzip_then_all_are_read(tmp_path: Path) -> None:
    """Given a tar packed as many members of gzip, when unpacked, then it is whole: such files are usual."""
    tar = _pack("tar")
    path = tmp_path / "input.tar.gz"
    path.write_bytes(b"".join(gzip.compress(tar[at : at + 100]) for at in range(0, len(tar), 100)))
    archive.extract(path, tmp_path / "out")
    assert (tmp_path / "out/a.glb").stat().st_size == 700


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_given_another_compression_then_a_tar_gz_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Given bzip2 or xz under the name of a .tar.gz, when unpacked, then it is refused: it is no gzip."""
    path = tmp_path / "input.tar.gz"
    path.write_bytes(pack(_pack("tar")))
    with pytest.raises(InvalidFile, match=r"input\.tar\.gz"):
        archive.extract(path, tmp_path / "out")
