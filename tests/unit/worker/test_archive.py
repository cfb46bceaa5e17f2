"""Input archives: the right file is found, and a hostile archive does no harm."""

from __future__ import annotations

import io
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from pixyz_worker import archive, file_names, root_file
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation
from pixyz_worker.kernel import limits
from pixyz_worker.local import LocalPixyzTask
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


def test_given_an_archive_when_a_script_runs_locally_then_data_and_folder_are_those_of_a_job(
    pack: Pack, tmp_path: Path
) -> None:
    """The archive and the folder of all members, though the file to open is deeper; a task may open another member."""
    path = pack(tmp_path, {"model/a.glb": b"a", "b.txt": b"b"})
    (script := tmp_path / "script.py").write_text(
        "def main(pc, params):\n"
        "    return [pc['data'], sorted(os.listdir(pc.get_input_dir())), os.path.basename(pc['input_file'])]\n\n\n"
        "def started(pc, params):\n"
        "    return pc.clone(entrypoint='main', root_file='b.txt').execute().get()\n\n\n"
        "import os\n"
    )
    run = partial(LocalPixyzTask.from_commandline, script, tmp_path / "out", input_file=path)
    assert run("main") == [str(path), ["b.txt", "model"], "a.glb"]
    assert run("started") == [str(path), ["b.txt", "model"], "b.txt"]


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


@pytest.mark.parametrize(
    ("name", "words"),
    [("aux.glb", "names a device"), ("sub/a:b.glb", "character ':'"), ("sub /a.glb", "ends with ' '")],
)
def test_given_a_name_that_windows_cannot_have_when_unpacked_there_then_it_is_refused(
    pack: Pack, tmp_path: Path, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux it is a name like any other."""
    path = pack(tmp_path, {name: b"x", "good.glb": b"x"})
    with monkeypatch.context() as windows:
        windows.setattr(file_names, "sys", SimpleNamespace(platform="win32"))
        with pytest.raises(InvalidFile, match=words):
            archive.extract(path, tmp_path / "there")
    if file_names.sys.platform == "linux":
        archive.extract(path, tmp_path / "here")
        assert (tmp_path / "here" / name).read_bytes() == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file systems ignore case")
def test_given_names_that_are_one_file_when_unpacked_then_they_are_refused(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that ignores case the second one would replace the first."""
    path = pack(tmp_path, {"a.glb": b"1", "A.glb": b"2"})
    archive.extract(path, tmp_path / "here")
    assert (tmp_path / "here" / "A.glb").read_bytes() == b"2"
    # Here it is said of every name that there is such a file.
    monkeypatch.setattr(Path, "exists", lambda path: path != tmp_path / "there")
    with pytest.raises(InvalidFile, match=r"'a\.glb' and 'A\.glb' in it, which are one file"):
        archive.extract(path, tmp_path / "there")


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
        ("MAX_ARCHIVE_ENTRIES", 2, {"a": b"", "b": b"", "c": b""}),
        ("MAX_ARCHIVE_BYTES", 10, {"a": b"123456", "b": b"123456"}),
        ("MAX_ARCHIVE_RATIO", 100, {"a.glb": b"0" * 1_000_000}),
    ],
)
def test_given_a_bound_when_an_archive_goes_beyond_then_it_is_refused(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, files: dict[str, bytes]
) -> None:
    """What counts is what comes out, not what the archive says."""
    monkeypatch.setenv(bound, str(value))
    monkeypatch.setattr(limits, "FREE_BYTES", 100)
    with pytest.raises(PixyzSecurityViolation, match=bound):
        context(pack(tmp_path, files)).get_input_file()
    assert not (tmp_path / "extracted").exists()


def test_given_no_bounds_when_an_archive_is_unpacked_then_anything_goes(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 is no limit."""
    monkeypatch.setattr(limits, "FREE_BYTES", 100)
    for name in ("MAX_ARCHIVE_ENTRIES", "MAX_ARCHIVE_BYTES", "MAX_ARCHIVE_RATIO"):
        monkeypatch.setenv(name, "0")
    assert Path(context(pack(tmp_path, {"a.glb": b"0" * 1_000_000})).get_input_file()).stat().st_size == 1_000_000


def test_given_a_zip_that_lies_about_its_sizes_when_unpacked_then_what_comes_out_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip may announce less than it holds."""
    path = pack_zip(tmp_path, {"a.glb": b"0" * 1_000_000})
    size, lie = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, lie))
    monkeypatch.setenv("MAX_ARCHIVE_BYTES", "1000")
    with pytest.raises((PixyzSecurityViolation, InvalidFile)):
        context(path).get_input_file()
    assert not (tmp_path / "extracted").exists()


@pytest.mark.parametrize("name", ["x/" * 101 + "a.glb", "x" * 300 + ".glb", "x/" * 5000 + "a.glb"])
def test_given_a_name_that_is_too_long_when_unpacked_then_it_is_refused(pack: Pack, tmp_path: Path, name: str) -> None:
    """Names end in a sentence, and nothing is left behind."""
    path = pack(tmp_path, {name: b"x"})
    with pytest.raises((PixyzSecurityViolation, InvalidFile), match="name"):
        context(path).get_input_file()
    assert list(tmp_path.iterdir()) == [path]


REFERENCES = {
    "STEP": ("z.stp", b"HEADER;\nFILE_NAME('x');\nDATA;\n#1=DOCUMENT_FILE('a part.stp','','',#2,'','');", "a part.stp"),
    "STEP letters": ("z.stp", b"DATA;\n#1=DOCUMENT_FILE('Geh\\X2\\00E4\\X0\\use.stp');", "Gehäuse.stp"),
    "STEP, from Windows": ("z.step", b"DATA;\n#1=DOCUMENT_FILE('C:\\work\\A.STP');", "a.stp"),
    "glTF": ("z.gltf", b'{"extras": {"of": "a%20b.gltf"}}', "a b.gltf"),
    "glTF letters": ("z.gltf", b'{"extras": {"of": "Geh\\u00e4use.gltf"}}', "Gehäuse.gltf"),
    "USD": ("z.usda", b"#usda 1.0\ndef X ( references = @./a.usda@</Top> ) {}", "a.usda"),
    "X3D": ("z.x3d", b'<Inline url="a &amp; b.x3d"/>', "a & b.x3d"),
    "COLLADA": ("z.dae", b'<instance_node url="a.dae#top"/>', "a.dae"),
    "another folder": ("z.stp", b"DATA;\n#1=DOCUMENT_FILE('a.stp');", "a/a.stp"),
    "a path": ("sub/z.usda", b"@../sub/parts/a.usda@", "sub/parts/a.usda"),
    "wide letters": ("z.CATProduct", "...a.CATPart...".encode("utf-16-le"), "a.CATPart"),
    "at its end": ("z.stp", b"DATA;" + bytes(6 << 20) + b"'a.stp'", "a.stp"),
    "decomposed letters": ("z.gltf", '{"of": "Gehäuse.gltf"}'.encode(), "Geha\u0308use.gltf"),
}


@pytest.mark.parametrize(("root", "content", "part"), REFERENCES.values(), ids=REFERENCES)
def test_given_an_assembly_when_the_input_is_asked_for_then_it_is_its_top(
    root: str, content: bytes, part: str, tmp_path: Path
) -> None:
    """What another file names is a part, wherever it lies, however small its name."""
    path = pack_zip(tmp_path, {part: b"the part", root: content})
    assert context(path).get_input_file() == str(tmp_path / "extracted" / root)


def test_given_parts_in_nested_folders_when_a_file_names_one_then_it_means_that_path(tmp_path: Path) -> None:
    """The same name in another folder is another file."""
    files = {
        "a/p.stp": b"1",
        "z.txt": b"",
        "b/p.stp": b"2",
        "b/top.stp": b"DATA; 'p.stp'",
        "a/top.stp": b"DATA; 'p.stp'",
    }
    path = pack_zip(tmp_path, files)
    assert context(path).get_input_file() == str(tmp_path / "extracted" / "a" / "top.stp")


def test_given_parts_whose_header_names_the_assembly_then_it_is_still_the_root(tmp_path: Path) -> None:
    """A STEP file's header often has the name that it had once."""
    files = {
        "top.stp": b"HEADER; FILE_NAME('top.stp'); DATA; #1=DOCUMENT_FILE('a.stp');",
        "a.stp": b"HEADER; FILE_NAME('top.stp'); DATA; #1=CARTESIAN_POINT();",
    }
    assert Path(context(pack_zip(tmp_path, files)).get_input_file()).name == "top.stp"


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"a.stl": b"", "b.obj": b"", "c.step": b"", "d.glb": b""}, "c.step"),
        ({"a.stl": b"", "b.xyz": b"", "c.glb": b""}, "c.glb"),
        ({"a.stl": b"", "sub/c.step": b""}, "a.stl"),
        ({"b.glb": b"", "a.glb": b"", "C.glb": b""}, "C.glb"),
        ({"a.CATPart": b"", "sub/b.stl": b""}, "sub/b.stl"),
        ({"a.CATPart": b"", "b.CATProduct": b""}, "b.CATProduct"),
        ({"a.stp": b"DATA; 'b.stp'", "b.stp": b"DATA; 'a.stp'"}, "a.stp"),
        ({"a.stp": b"DATA; 'a.stp'"}, "a.stp"),
        ({"a.stp": b"DATA; 'other.stp' 'xa.stp.bak'", "b.stp": b"DATA;"}, "a.stp"),
    ],
)
def test_given_several_files_when_none_is_named_then_the_order_is_fixed(
    files: dict[str, bytes], root: str, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read, the shallowest, scenes before meshes, names."""
    monkeypatch.setenv("DISABLE_PIXYZ", "1")
    assert context(pack(tmp_path, files)).get_input_file() == str(tmp_path / "extracted" / root)


def test_given_text_full_of_names_when_the_root_is_looked_for_then_it_takes_no_longer(tmp_path: Path) -> None:
    """How much is looked at is bounded, in bytes and in names."""
    (tmp_path / "a.stp").write_bytes(b".stp" * 1_000_000)
    (tmp_path / "b.stp").write_bytes(b"DATA; 'a.stp'")
    search = root_file._Search(tmp_path, [Path("a.stp"), Path("b.stp")], names_left=1000)
    assert search.named() == {Path("a.stp")}
    assert search.names_left == 0


def test_given_an_archive_in_an_archive_when_there_is_nothing_else_then_the_error_says_so(
    pack: Pack, tmp_path: Path
) -> None:
    """It is not unpacked, and not passed over in silence."""
    with pytest.raises(InvalidFile, match=r"no 3D file in input\..*inner\.zip.*archives within archives"):
        context(pack(tmp_path, {"sub/inner.zip": b"PK", "read.me": b""})).get_input_file()


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
