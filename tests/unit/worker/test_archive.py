"""Input archives: the right file is found, and a hostile archive does no harm."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pixyz_worker import archive
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation
from pixyz_worker.pc import ProgramContext

Pack = Callable[[Path, dict[str, bytes]], Path]


def pack_zip(folder: Path, files: dict[str, bytes]) -> Path:
    """A .zip of these files."""
    path = folder / "input.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def pack_tar(folder: Path, files: dict[str, bytes]) -> Path:
    """A .tar.gz of these files."""
    path = folder / "input.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=[pack_zip, pack_tar], ids=["zip", "tar.gz"])
def pack(request: pytest.FixtureRequest) -> Pack:
    """Both kinds of archive."""
    return request.param  # type: ignore[no-any-return]


def context(path: Path, **settings: object) -> ProgramContext:
    """The context of a job with this input."""
    return ProgramContext(input_file=str(path), input_dir=str(path.parent), **settings)


def test_given_an_archive_when_the_input_is_asked_for_then_it_is_the_first_3d_file(pack: Pack, tmp_path: Path) -> None:
    """The shallowest 3D file, in the order of names; hidden ones and other files do not count."""
    files = dict.fromkeys(("read.me", "z/deep.glb", "__MACOSX/._b.glb", "b.STEP", "c.glb"), b"x")
    pc = context(pack(tmp_path, files))
    assert pc.get_input_file() == str(tmp_path / "extracted" / "b.STEP")
    assert pc.get_input_file() == str(tmp_path / "extracted" / "b.STEP")
    assert (tmp_path / "extracted" / "z" / "deep.glb").read_bytes() == b"x"
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_given_a_root_file_when_the_input_is_asked_for_then_it_is_that(pack: Pack, tmp_path: Path) -> None:
    """The job's config names the file to open."""
    path = pack(tmp_path, {"a.glb": b"a", "sub/b.any": b"b"})
    assert Path(context(path, root_file="sub/b.any").get_input_file()).read_bytes() == b"b"
    with pytest.raises(PixyzFileNotFound, match="missing"):
        context(path, root_file="missing.glb").get_input_file()
    with pytest.raises(PixyzSecurityViolation):
        context(path, root_file="../input.zip").get_input_file()


def test_given_no_3d_file_when_the_input_is_asked_for_then_the_error_says_what_to_do(
    pack: Pack, tmp_path: Path
) -> None:
    """A sentence, not a path to nothing."""
    with pytest.raises(InvalidFile, match="root_file"):
        context(pack(tmp_path, {"read.me": b"x"})).get_input_file()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil", "//host/evil"])
def test_given_a_name_that_escapes_when_unpacked_then_it_is_refused(pack: Pack, tmp_path: Path, name: str) -> None:
    """Nothing is written outside, and nothing is left behind."""
    inputs = tmp_path / "a" / "inputs"
    inputs.mkdir(parents=True)
    with pytest.raises(PixyzSecurityViolation, match="outside"):
        context(pack(inputs, {"good.glb": b"x", name: b"x"})).get_input_file()
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    assert [path.name.partition(".")[0] for path in inputs.iterdir()] == ["input"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_given_a_link_or_a_device_in_a_tar_when_unpacked_then_it_is_refused(tmp_path: Path, kind: bytes) -> None:
    """Only files and folders."""
    path = tmp_path / "input.tgz"
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo("a.glb")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(PixyzSecurityViolation, match="link"):
        context(path).get_input_file()


def test_given_a_link_in_a_zip_when_unpacked_then_it_is_refused(tmp_path: Path) -> None:
    """A zip says so in the attributes of its entry."""
    path = tmp_path / "input.zip"
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("a.glb")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(PixyzSecurityViolation, match="link"):
        context(path).get_input_file()


@pytest.mark.parametrize(
    ("bound", "value", "files"),
    [
        ("MAX_ENTRIES", 2, {"a": b"", "b": b"", "c": b""}),
        ("MAX_BYTES", 10, {"a": b"123456", "b": b"123456"}),
        ("RATIO_FREE_BYTES", 100, {"a.glb": b"0" * 1_000_000}),
    ],
)
def test_given_a_bound_when_an_archive_goes_beyond_then_it_is_refused(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, files: dict[str, bytes]
) -> None:
    """What counts is what comes out, not what the archive says."""
    monkeypatch.setattr(archive, bound, value)
    monkeypatch.setattr(archive, "MAX_RATIO", 100)
    with pytest.raises(PixyzSecurityViolation):
        context(pack(tmp_path, files)).get_input_file()
    assert not (tmp_path / "extracted").exists()


@pytest.mark.parametrize("name", ["input.zip", "input.tar.gz"])
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"not an archive", lambda data: data[: len(data) // 2]]
)
def test_given_a_damaged_archive_when_unpacked_then_it_is_an_invalid_file(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """Whatever the damage, the error is one of ours."""
    pack = pack_zip if name.endswith("zip") else pack_tar
    path = pack(tmp_path, {"a.glb": bytes(range(256)) * 50})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidFile, match=r"input\."):
        context(path).get_input_file()


def test_given_a_file_where_a_folder_is_needed_when_unpacked_then_it_is_an_invalid_file(
    pack: Pack, tmp_path: Path
) -> None:
    """An archive can contradict itself."""
    with pytest.raises(InvalidFile):
        context(pack(tmp_path, {"a": b"x", "a/b.glb": b"x"})).get_input_file()


def test_given_a_local_run_when_an_archive_is_unpacked_then_the_users_folder_stays_clean(
    pack: Pack, tmp_path: Path
) -> None:
    """On a workstation the input lies in a folder that is not ours."""
    path = pack(tmp_path, {"a.glb": b"x"})
    found = ProgramContext.from_local(__file__, path).get_input_file()
    assert Path(found).read_bytes() == b"x"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
