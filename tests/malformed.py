"""Files that are wrong in every way that one meets, made from good ones: truncated, empty, mixed up, hostile.

`cases(good)` takes the good files by extension and gives a name, a file name and bytes for each case.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from stat import S_IFLNK
from zipfile import ZipFile, ZipInfo

from tests.malformed_contents import CRAFTED, NOISE, SWOLLEN, glb, packed

LINES = frozenset({"obj", "xyz"})
"""Text formats that make sense up to any line: a part of such a file may be a file, so these are not cut."""
ISOLATED = frozenset({"fbx", "3ds", "dxf", "usd", "usda", "usdc", "usdz", "ifc"})
"""Formats that are read in a process of their own, which takes some tenths of a second each time."""
SECOND = frozenset({"stp", "igs", "brp", "usd"})
"""Extensions that are read as another one is: some damages are enough for them."""


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: max(int(len(whole) * share), 1)]


def _overwritten(whole: bytes) -> bytes:
    """A file whose second half is noise."""
    half = len(whole) // 2
    return whole[:half] + (NOISE * (half // len(NOISE) + 1))[: len(whole) - half]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "one byte": lambda whole: whole[:1],
    "noise": lambda whole: NOISE,
    "zeros": lambda whole: bytes(4096),
    "words": lambda whole: b"hello world, this is no model\n" * 20,
    "another format": lambda whole: b"solid x\nendsolid x\n" if whole[:4] == b"glTF" else glb({}),
    "its first 40 bytes": lambda whole: whole[:40],
    "a third of it": _cut(1 / 3),
    "all but a tenth": _cut(0.9),
    "noise from the middle on": _overwritten,
}
"""What is done to a good file of any format."""
_CUTS = frozenset({"its first 40 bytes", "a third of it", "all but a tenth"})
_SAME_HEAD = frozenset({"one byte", "zeros", "words"})
"""Damages that end at the same look at the first bytes as noise does."""
_FOR_SECOND = frozenset({"noise", "a third of it"})


def cases(good: Mapping[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """Name, file name and content of each case.

    Args:
        good: a file that can be read, by extension.
    """
    for extension, whole in good.items():
        for name, damage in DAMAGES.items():
            if _is_told(extension, name):
                yield f"{extension}: {name}", f"bad.{extension}", damage(whole)
    for name, (extension, content) in CRAFTED.items():
        if extension in good:
            yield f"{extension}: {name}", f"bad.{extension}", content
    for name, content in archives(good["stl"]).items():
        ending = name.partition(" ")[0]
        yield f"archive: {name}", f"bad.{ending}", content


def _is_told(extension: str, damage: str) -> bool:
    """Whether a damage makes a file of a format wrong for sure, in a way that no other case has."""
    if extension in SECOND:
        return damage in _FOR_SECOND
    return not (extension in LINES and damage in _CUTS) and not (extension in ISOLATED and damage in _SAME_HEAD)


def archives(model: bytes) -> dict[str, bytes]:
    """Archives that reach out of their folder, swell, or are none; the first word of a name is the ending."""
    good_zip, good_tar = packed(**{"model.stl": model}), _tar("model.stl", model)
    locked = bytearray(good_zip)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[good_zip.find(mark) + offset] |= 1
    return {
        "zip that is none": NOISE,
        "zip that is empty": b"",
        "zip that is a tar": gzip.decompress(good_tar),
        "zip of words": packed(**{"readme.txt": b"hello"}),
        "zip of nothing": packed(),
        "zip of a zip": packed(**{"inner.zip": good_zip}),
        "zip of another program's model": packed(**{"model.CATPart": NOISE}),
        "zip that is cut": good_zip[:-30],
        "zip whose data are noise": good_zip[:60] + NOISE[:100] + good_zip[160:],
        "zip that is locked": bytes(locked),
        "zip with a bad model": packed(**{"model.stl": NOISE}),
        "zip with a file for a folder": packed(**{"a": b"x", "a/model.stl": model}),
        "zip that slips out": packed(**{"../../model.stl": model}),
        "zip that slips out on Windows": packed(**{"..\\..\\model.stl": model}),
        "zip of an absolute path": packed(**{"/tmp/model.stl": model}),
        "zip of a Windows drive": packed(**{"C:\\model.stl": model}),
        "zip of a long name": packed(**{"x" * 300 + ".stl": model}),
        "zip of a deep folder": packed(**{"x/" * 101 + "model.stl": model}),
        "zip with a link": _zip_of_link(),
        "zip bomb": packed(**{"model.stl": SWOLLEN}),
        "tar.gz that is none": NOISE,
        "tar.gz that is a zip": good_zip,
        "tar.gz that is not packed": gzip.decompress(good_tar),
        "tar.gz with a link": _tar("model.stl", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        "tar.gz with a hard link": _tar("model.stl", kind=tarfile.LNKTYPE, link="../../../etc/passwd"),
        "tar.gz that slips out": _tar("../../model.stl", model),
        "tar.gz with a device": _tar("model.stl", kind=tarfile.CHRTYPE),
        "tar.gz bomb": _tar("model.stl", SWOLLEN),
        "tar.gz that is cut": good_tar[: len(good_tar) // 2],
        "tgz of words": _tar("readme.txt", b"hello"),
    }


def _tar(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A .tar.gz of one member."""
    plain = BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, len(content)
        file.addfile(member, BytesIO(content))
    return gzip.compress(plain.getvalue(), 9)


def _zip_of_link() -> bytes:
    out, info = BytesIO(), ZipInfo("model.stl")
    info.external_attr = (S_IFLNK | 0o777) << 16
    with ZipFile(out, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()
