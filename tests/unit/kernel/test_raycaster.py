"""The ray caster: colours, textures, opacity and order of what is seen."""

from __future__ import annotations

import importlib
import sys

import numpy
import pytest

from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.kernel.material import Image, Material, Texture, from_srgb
from pixyz_worker.kernel.mesh import make_mesh
from pixyz_worker.kernel.pictures.camera import Camera
from pixyz_worker.kernel.pictures.look import Look
from pixyz_worker.kernel.pictures.textures import decode
from pixyz_worker.kernel.scene import Occurrence
from tests.unit.kernel.picture_samples import (
    BLUE,
    GREEN,
    ISO,
    RED,
    WHITE,
    box,
    draw,
    paint,
    quarters,
    scene,
    shown,
    square,
)

CENTRE = (32, 32)
QUADRANTS = {"upper left": (20, 20), "upper right": (20, 44), "lower left": (44, 20), "lower right": (44, 44)}


def close(pixel, colour, by=30) -> bool:
    """Whether a pixel has a colour, up to what light does to it."""
    return bool(numpy.abs(numpy.subtract(pixel[:3], colour[:3])).max() <= by)


@pytest.mark.parametrize("kind", ["perspective", "orthographic"])
def test_a_cube_looks_like_its_colour(kind):
    """Given a red cube, when drawn from the front, then its face is red, and the picture's corners are transparent."""
    picture = draw(scene(shown(box(paint(RED)))), "embree", kind=kind)
    assert picture.shape == (64, 64, 4)
    assert close(picture[CENTRE], RED)
    assert picture[CENTRE][3] == 255
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    assert 0.8 < (picture[..., 3] > 0).mean() < 1


def test_perspective_makes_far_things_smaller():
    """Given two boxes one behind the other, when drawn, then the far one is smaller in perspective alone."""
    boxes = scene(shown(box(paint(RED)), (-1, 0, 0)), shown(box(paint(BLUE)), (1, 0, -4)))
    sizes = {}
    for kind in ("perspective", "orthographic"):
        picture = draw(boxes, "embree", kind=kind, size=(128, 64))
        seen = picture[picture[..., 3] == 255]
        sizes[kind] = ((seen[:, 0] > seen[:, 2]).sum(), (seen[:, 0] < seen[:, 2]).sum())
    assert sizes["orthographic"][0] == pytest.approx(sizes["orthographic"][1], rel=0.05)
    assert sizes["perspective"][0] > 2 * sizes["perspective"][1]


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_a_texture_lies_the_right_way_up(mode):
    """Given an image of four colours on a square, when drawn, then each quarter has its own."""
    picture = draw(scene(shown(square(Material(base_colour_texture=Texture(image=quarters(mode)))))), "embree")
    seen = [picture[place] for place in QUADRANTS.values()]
    assert all(close(pixel, colour) for pixel, colour in zip(seen, (RED, GREEN, BLUE, WHITE), strict=True))


@pytest.mark.parametrize(
    ("changes", "uvs", "expected"),
    [
        ({"offset": (0.5, 0.0)}, None, (GREEN, RED, WHITE, BLUE)),
        ({"scale": (-1.0, 1.0)}, None, (GREEN, RED, WHITE, BLUE)),
        ({"wrap": ("mirror", "repeat"), "offset": (1.0, 0.0)}, None, (GREEN, RED, WHITE, BLUE)),
        ({"wrap": ("clamp", "clamp"), "offset": (2.0, 0.0)}, None, (GREEN, GREEN, WHITE, WHITE)),
        ({"rotation": numpy.pi / 2}, None, (BLUE, RED, WHITE, GREEN)),
        ({}, [[0, 0], [1, 0], [1, 1], [0, 1]], (BLUE, WHITE, RED, GREEN)),
    ],
)
def test_wraps_and_transforms(changes, uvs, expected):
    """Given a texture that is shifted, turned, mirrored or clamped, when drawn, then its quarters lie accordingly."""
    material = Material(base_colour_texture=Texture(image=quarters(), **changes))
    arrays = {} if uvs is None else {"uvs": uvs}
    picture = draw(scene(shown(square(material, **arrays))), "embree")
    assert [close(picture[p], c) for p, c in zip(QUADRANTS.values(), expected, strict=True)] == [True] * 4


def test_what_is_near_hides_what_is_far():
    """Given a green square before a red box, when drawn from both sides, then each hides the other once."""
    both = scene(shown(box(paint(RED))), shown(square(paint(GREEN)), (0, 0, 0.6)))
    assert close(draw(both, "embree")[CENTRE], GREEN)
    assert close(draw(both, "embree", direction=(0, 0, 1))[CENTRE], RED)


def test_glass_shows_what_is_behind():
    """Given half-open blue glass before red, and beside it, when drawn, then red shines through, and air too."""
    glass = paint((*BLUE, 128), alpha_mode="blend")
    wide = shown(square(glass, uvs=None), (0, 0, 1))
    wide.matrix[:2, :2] *= 3
    picture = draw(scene(shown(square(paint(RED))), wide), "embree")
    middle, side = picture[CENTRE], picture[32, 8]
    assert middle[3] == 255
    assert middle[0] > 80 and middle[2] > 80
    assert close(side, BLUE)
    assert side[3] == pytest.approx(128, abs=2)


@pytest.mark.parametrize(("cutoff", "opacity"), [(0.4, 255), (0.6, 0)])
def test_a_mask_is_there_or_not(cutoff, opacity):
    """Given a surface half open in mode mask, when drawn, then the cut-off decides."""
    material = paint((*RED, 128), alpha_mode="mask", alpha_cutoff=cutoff)
    assert draw(scene(shown(square(material))), "embree")[CENTRE][3] == opacity


@pytest.mark.parametrize(("double", "opacity"), [(True, 255), (False, 0)])
def test_the_back_of_a_surface(double, opacity):
    """Given a square from behind, when drawn, then it is seen if it has two sides, and lit."""
    picture = draw(scene(shown(square(paint(RED, double_sided=double)))), "embree", direction=(0, 0, 1))
    assert picture[CENTRE][3] == opacity
    assert not double or close(picture[CENTRE], RED)


def test_colours_of_vertices_and_of_no_material():
    """Given colours of vertices, and nothing at all, when drawn, then they are seen, and grey."""
    colours = numpy.full((4, 4), (*GREEN, 255), numpy.uint8)
    assert close(draw(scene(shown(square(None, colours=colours))), "embree")[CENTRE], GREEN)
    red, green, blue, _ = draw(scene(shown(square(None))), "embree")[CENTRE]
    assert red == pytest.approx(green, abs=6) == pytest.approx(blue, abs=6)
    assert 150 < green < 250


def test_edges_of_a_surface_keep_its_colour():
    """Given a light square, when its edge pixels are half covered, then they are half open, not darker."""
    picture = draw(scene(shown(box(paint(WHITE)))), "embree", direction=ISO, look=Look(crevices=False))
    partly = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert partly.sum() > 40
    assert picture[partly][:, :3].min() > 90


def test_a_background_lies_behind():
    """Given a background, when drawn, then the picture is closed and the background seen around."""
    picture = draw(scene(shown(box(paint(RED)))), "embree", look=Look(background=(10, 200, 90, 255)))
    assert picture[0, 0].tolist() == [10, 200, 90, 255]
    assert (picture[..., 3] == 255).all()


def test_edges_of_triangles():
    """Given a square, when drawn with edges, then its diagonal and rim are dark and the rest is not."""
    plain, lined = (
        draw(scene(shown(square(paint(WHITE)))), "embree", look=Look(edges=edges)) for edges in (False, True)
    )
    darker = (plain - lined)[..., 0] > 60
    assert darker[CENTRE]
    assert not darker[20, 20] or not darker[20, 44]
    assert 0.02 < darker.mean() < 0.25


def test_points_are_discs_that_hide_and_are_hidden():
    """Given a blue point before and a green one behind a red square, when drawn, then one of them is seen."""
    red = shown(square(paint(RED)))
    points = [
        shown(make_mesh([[x, 0, z]], materials=(paint(c),))) for x, z, c in ((0.2, 0.1, BLUE), (-0.2, -0.1, GREEN))
    ]
    picture = draw(scene(red, *points), "embree", look=Look(point_size=9))
    blue = (picture[..., 2] > 150).sum()
    assert blue == pytest.approx(numpy.pi * 4.5**2, rel=0.25)
    assert not (picture[..., 1] > 150).any()


def test_few_points_are_larger_than_many():
    """Given points without a wish for their size, when there are fewer, then they are larger, within bounds."""
    camera = Camera(position=(0, 0, 1), direction=(0, 0, -1), up=(0, 1, 0), width=512, height=640)
    sizes = [Look().diameter(camera, count) for count in (0, 4, 3000, 30_000, 10**7)]
    assert sizes[:2] == [12.8, 12.8] and sizes[3:] == [3.2, 3.2]
    assert sizes[2] == pytest.approx(5.12, abs=0.01)
    assert Look(point_size=9).diameter(camera, 4) == 9


def test_points_without_a_colour_are_seen_on_white_and_on_black():
    """Given points alone, when drawn, then they are neither light nor dark."""
    points = make_mesh([[-1, 0, 0], [1, 0, 0], [0, 1, 0]])
    picture = draw(scene(shown(points)), "embree", look=Look(point_size=9))
    there = picture[..., 3] == 255
    assert there.sum() > 20
    assert ((picture[there][:, :3] > 80) & (picture[there][:, :3] < 160)).all()


def test_what_is_hidden_is_not_drawn():
    """Given a hidden branch, when drawn, then nothing of it is seen, and it does not count for the camera."""
    far = Occurrence(visible=False, children=[shown(box(paint(BLUE)), (50, 0, 0))])
    picture = draw(scene(shown(box(paint(RED))), far), "embree")
    assert (picture[..., 3] > 0).mean() > 0.8


def test_far_from_the_origin_and_tiny():
    """Given a box of micrometres a hundred kilometres away, when drawn, then it looks as at home."""
    home = draw(scene(shown(box(paint(RED)))), "embree", direction=ISO)
    small = shown(box(paint(RED)), (1e5, 2e5, -3e5))
    small.matrix[:3, :3] *= 1e-3
    assert numpy.abs(draw(scene(small), "embree", direction=ISO) - home).max() <= 60


def test_a_mirrored_instance_keeps_its_front():
    """Given a one-sided square that is mirrored, when drawn from the front, then it is still seen."""
    mirrored = shown(square(paint(RED, double_sided=False)))
    mirrored.matrix[0, 0] = -1
    assert draw(scene(mirrored), "embree")[CENTRE][3] == 255


def test_nothing_to_draw():
    """Given an empty scene, when drawn, then the picture is empty."""
    assert (draw(scene(), "embree") == 0).all()


@pytest.mark.parametrize("data", [b"", b"no picture", quarters().data[:60]], ids=["empty", "garbage", "cut"])
def test_an_image_that_is_none_is_left_out(data, caplog):
    """Given a texture that cannot be decoded, when drawn, then the material's colour is seen and the log says why."""
    material = paint(RED, base_colour_texture=Texture(image=Image(name="torn.png", data=data)))
    assert close(draw(scene(shown(square(material))), "embree")[CENTRE], RED)
    assert "'torn.png' is not drawn" in caplog.text


def test_large_images_are_refused_or_made_smaller(monkeypatch):
    """Given an image and a limit, when decoded, then it fits the side that is asked for, or is refused."""
    assert decode(quarters(), 4).shape == (4, 4, 4)
    monkeypatch.setenv("MAX_IMAGE_PIXELS", "10")
    assert decode(quarters(), 4) is None


def test_light_from_within():
    """Given a black surface that shines green, when drawn, then it is green."""
    material = Material(base_colour=(0, 0, 0, 1), emission=from_srgb(*(part / 255 for part in GREEN))[:3])
    assert close(draw(scene(shown(square(material))), "embree")[CENTRE], GREEN)


def test_given_no_embree_when_rays_are_wanted_then_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a machine without a build of Embree, when it is asked for, then the sentence names the extra `render`."""
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)
    monkeypatch.delitem(sys.modules, "pixyz_worker.kernel.embree", raising=False)
    with pytest.raises(InvalidBackendParameter, match=r"pip install 'pixyz-ray\[render\]'"):
        importlib.import_module("pixyz_worker.kernel.embree")
