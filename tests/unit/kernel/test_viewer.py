"""Viewers: what the names of pxz.view do."""

from __future__ import annotations

import numpy
import PIL.Image
import pytest

from pixyz_worker.exception import InvalidBackendParameter, PixyzFileNotFound
from pixyz_worker.kernel.pictures.viewer import GpuScene, Viewer
from tests.unit.kernel.picture_samples import BLUE, FRONT, GREEN, RED, box, paint, scene, shown


@pytest.fixture
def viewer():
    """A viewer of 64 x 48 pixels on a red, a green and a blue box, side by side along x."""
    made = Viewer(64, 48)
    boxes = [shown(box(paint(colour)), (place, 0, 0)) for place, colour in ((-2, RED), (0, GREEN), (2, BLUE))]
    made.add(GpuScene((scene(*boxes).root,)))
    made.set("Renderer", "embree")
    yield made
    made.destroy()


def pixels(path):
    """A picture's pixels, as signed numbers."""
    return numpy.asarray(PIL.Image.open(path)).astype(int)


def test_a_screenshot(viewer, tmp_path):
    """Given a viewer without a background, when a screenshot is taken, then it is a PNG with transparency."""
    viewer.set("ShowBackground", "False")
    viewer.fit_camera(FRONT, "perspective", 70)
    picture = pixels(viewer.take_screenshot(tmp_path / "a.png"))
    assert picture.shape == (48, 64, 4)
    assert picture[0, 0, 3] == 0
    assert picture[24, 32].argmax() in (1, 3) and picture[24, 32, 1] > 100


def test_a_background_and_jpeg(viewer, tmp_path):
    """Given a background colour, when written as PNG and JPEG, then both show it; without one JPEG is white."""
    viewer.set("BackgroundColor", "[0.2, 0.4, 0.6]")
    assert pixels(viewer.take_screenshot(tmp_path / "a.png"))[0, 0].tolist() == [51, 102, 153, 255]
    assert pixels(viewer.take_screenshot(tmp_path / "a.jpg"))[0, 0] == pytest.approx([51, 102, 153], abs=4)
    viewer.set("ShowBackground", False)
    assert pixels(viewer.take_screenshot(tmp_path / "b.JPEG"))[0, 0] == pytest.approx([255] * 3, abs=8)


def test_fitting_some_occurrences(viewer):
    """Given an occurrence, when the camera is fitted to it, then it fills the picture."""
    viewer.set("ShowBackground", "False")
    viewer.fit_camera(FRONT, "orthographic", occurrences=[viewer._scenes[0].roots[0].children[2]])
    picture = viewer.picture()
    assert picture[24, 32, 2] > 150
    assert picture[2, 32, 3] == 255 or picture[4, 32, 3] == 255


def test_a_scene_that_stands_on_z_is_turned():
    """Given a red box above a blue one along z, when seen from the front, then red is above."""
    viewer = Viewer(32, 32)
    viewer.add(GpuScene((scene(shown(box(paint(RED)), (0, 0, 2)), shown(box(paint(BLUE))), up="z").root,)))
    viewer.set("Renderer", "embree")
    viewer.fit_camera(FRONT, "orthographic")
    picture = viewer.picture()
    assert picture[6, 16].argmax() in (0, 3) and picture[6, 16, 0] > 150
    assert picture[26, 16, 2] > 150


def test_scenes_come_and_go(viewer):
    """Given a second scene, when added and removed, then the picture shows it and then does not."""
    viewer.set("ShowBackground", "False")
    before = viewer.fit_camera(FRONT)
    more = GpuScene((scene(shown(box(), (0, 30, 0))).root,))
    viewer.add(more)
    assert viewer.fit_camera(FRONT).position != before.position
    viewer.remove(more)
    assert viewer.fit_camera(FRONT).position == before.position
    viewer.destroy()
    assert (viewer.picture() == 0).all()


def test_several_pictures_share_what_was_set_up(viewer):
    """Given a viewer, when several pictures are taken, then the scene is set up once."""
    viewer.picture()
    first = viewer._renderer
    viewer.fit_camera((0, -1, 0))
    viewer.picture()
    assert viewer._renderer is first


def test_another_size_keeps_the_camera(viewer):
    """Given a fitted camera, when the viewer gets another size, then the picture has it."""
    viewer.fit_camera(FRONT)
    viewer.width, viewer.height = 32, 20
    assert viewer.picture().shape == (20, 32, 4)


def test_properties_that_mean_nothing_here_are_kept(viewer):
    """Given a name that only the SDK knows, when set, then it can be read, and others cannot."""
    viewer.set("SSAOQuality", "High")
    assert viewer.get("SSAOQuality") == "High"
    with pytest.raises(InvalidBackendParameter, match="no property 'Glow'"):
        viewer.get("Glow")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ShowBackground", "perhaps"),
        ("BackgroundColor", "blue"),
        ("BackgroundColor", "[1, 2, 3]"),
        ("PointSize", "-1"),
        ("AntiAliasing", "nan"),
        ("Renderer", "opengl"),
    ],
)
def test_values_that_make_no_sense(viewer, name, value):
    """Given a value that its property cannot have, when a picture is taken, then a sentence says so."""
    viewer.set(name, value)
    with pytest.raises(InvalidBackendParameter, match=r"\.$"):
        viewer.picture()


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (10, 10**6)])
def test_sizes_that_no_picture_has(size):
    """Given such a size, when a viewer is made, then a sentence says what is allowed."""
    with pytest.raises(InvalidBackendParameter, match="1 to 16384 pixels"):
        Viewer(*size)


def test_paths_that_cannot_be_written(viewer, tmp_path):
    """Given another extension or no folder, when a screenshot is taken, then a sentence says so."""
    with pytest.raises(InvalidBackendParameter, match=r"a\.tiff cannot be written"):
        viewer.take_screenshot(tmp_path / "a.tiff")
    with pytest.raises(PixyzFileNotFound, match="There is no folder"):
        viewer.take_screenshot(tmp_path / "none" / "a.png")


def test_a_direction_without_length(viewer):
    """Given no direction, when the camera is fitted, then a sentence says so."""
    with pytest.raises(InvalidBackendParameter, match="a direction needs a length"):
        viewer.fit_camera((0, 0, 0))
