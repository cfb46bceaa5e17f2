"""Every format that is read to every format that is written: what both keep is there afterwards.

Each format is first read from a file of its own (written by us, or, where we only read, by a generator of its own);
what came of that is written in each other format and read back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.algorithms import tessellation
from pixyz_worker.kernel.formats import TABLE, Format
from pixyz_worker.kernel.formats.reading import read_scene, write_scene
from pixyz_worker.kernel.options import Tessellation
from pixyz_worker.kernel.scene import Scene
from tests.unit.kernel import facts, foreign_samples, samples

READERS = [entry for entry in TABLE if entry.reader]
WRITERS = [entry for entry in TABLE if entry.writer]
FOREIGN = {entry.name for entry in READERS if not entry.writer}
Need = Callable[[str], None]
Sources = Callable[[Format, str], Scene]

COARSE = Tessellation(sag_m=1e-3)
# What a sample has, of what a format may keep.
MAKERS: dict[str, Callable[[], Scene]] = {"solid": samples.everything, "points": samples.points}


def need_all(need: Need, *entries: Format) -> None:
    """Skip unless the extras of some formats are installed."""
    for entry in entries:
        for extra in {entry.reader_extra, entry.writer_extra, foreign_samples.EXTRAS.get(kind(entry))} - {None}:
            need(str(extra))


def opened(path: Path) -> Scene:
    """A file as a scene with triangles, also where the format has exact surfaces."""
    scene = read_scene(path)
    tessellation.tessellate([scene.root], COARSE)
    return scene


def kind(entry: Format) -> str:
    """The usual extension."""
    return entry.extensions[0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """A sample as a format gives it, read once."""
    folder, read = tmp_path_factory.mktemp("sources"), dict[tuple[str, str], Scene]()

    def source(entry: Format, sample: str) -> Scene:
        if (entry.name, sample) not in read:
            path = folder / f"{sample}.{kind(entry)}"
            if entry.name in FOREIGN:
                foreign_samples.WRITERS[kind(entry)](path)
            else:
                write_scene(MAKERS[sample](), path)
            read[entry.name, sample] = opened(path)
        return read[entry.name, sample]

    return source


def assert_kept(result: Scene, before: Scene, traits: set[str], *, rel: float = 1e-3) -> None:
    """Check that a scene has all of another that some traits speak of; areas may differ by a share."""
    if traits & {"geometry", "points"}:
        scale = 1.0 if "units" in traits else facts.extents(before)[0] / facts.extents(result)[0]
        assert [size * scale for size in facts.extents(result)] == pytest.approx(facts.extents(before), rel=1e-3)
    if "geometry" in traits and facts.area(before):
        assert facts.area(result) * scale**2 == pytest.approx(facts.area(before), rel=rel)
        assert facts.volume(result) * scale**3 == pytest.approx(facts.volume(before), rel=10 * rel)
    if "names" in traits:
        for word in ("Kasten", "Kasten Ä"):
            assert not facts.has_name(before, word) or facts.has_name(result, word)
    if "colours" in traits:
        for colour in (samples.RED, samples.BLUE):
            assert facts.close(colour, facts.colours(result)) == facts.close(colour, facts.colours(before))
    if "textures" in traits:
        assert facts.quadrants(result) == facts.quadrants(before)
    if "hierarchy" in traits:
        assert facts.paths(result) == facts.paths(before)
    if "instances" in traits:
        assert facts.counts(result) == facts.counts(before)


@pytest.mark.parametrize("entry", READERS, ids=kind)
def test_given_a_file_of_each_format_when_it_is_read_then_what_the_table_says_is_there(
    entry: Format, sources: Sources, need_extra: Need
) -> None:
    """Given an assembly in one format, when it is read, then it has what the table says that the format keeps."""
    need_all(need_extra, entry)
    sample = "solid" if "geometry" in entry.survives else "points"
    result, original = sources(entry, sample), MAKERS[sample]()
    if entry.name in FOREIGN:
        original = samples.assembly()
    assert_kept(result, original, set(entry.survives) - {"names"}, rel=1e-2)
    if "names" in entry.survives:
        assert facts.has_name(result, "Kasten" if entry.name == "IGES" else "Kasten Ä")
    if "colours" in entry.survives:
        assert facts.close(samples.RED, facts.colours(result)) and facts.close(samples.BLUE, facts.colours(result))


@pytest.mark.parametrize("writer", WRITERS, ids=kind)
@pytest.mark.parametrize("reader", READERS, ids=kind)
def test_given_a_solid_of_each_format_when_it_is_written_in_each_other_then_what_both_keep_is_there(
    reader: Format, writer: Format, sources: Sources, need_extra: Need, tmp_path: Path
) -> None:
    """Given what one format gives, when it is written in another and read, then what both keep is as before."""
    need_all(need_extra, reader, writer)
    sample = "solid" if "geometry" in reader.survives else "points"
    before, path = sources(reader, sample), tmp_path / f"again.{kind(writer)}"
    if sample == "points" and "points" not in writer.survives:
        with pytest.raises(InvalidFile, match="only points"):
            write_scene(before, path)
        return
    write_scene(before, path)
    result = opened(path)
    if "geometry" not in writer.survives:
        assert facts.extents(result) == pytest.approx(facts.extents(before), rel=1e-3)
        return
    assert_kept(result, before, set(reader.survives) & set(writer.survives))


@pytest.mark.parametrize("writer", WRITERS, ids=kind)
@pytest.mark.parametrize("reader", [entry for entry in READERS if "points" in entry.survives], ids=kind)
def test_given_points_of_each_format_when_they_are_written_in_each_other_then_they_stay_or_are_refused(
    reader: Format, writer: Format, sources: Sources, need_extra: Need, tmp_path: Path
) -> None:
    """Given a cloud of points, when it is written, then it comes back with its colours, or a sentence refuses it."""
    need_all(need_extra, reader, writer)
    before, path = sources(reader, "points"), tmp_path / f"again.{kind(writer)}"
    if "points" not in writer.survives:
        with pytest.raises(InvalidFile, match="only points"):
            write_scene(before, path)
        return
    write_scene(before, path)
    result = opened(path)
    assert facts.extents(result) == pytest.approx(facts.extents(before))
    assert facts.close(samples.RED, facts.colours(result)) and facts.close(samples.BLUE, facts.colours(result))
