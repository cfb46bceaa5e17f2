"""The VTK renderer: the same pictures as the ray caster, and an orderly end when it cannot draw."""

from __future__ import annotations

import numpy
import pytest

from pixyz_worker.exception import InternalError, InvalidBackendParameter
from pixyz_worker.kernel.material import Texture
from pixyz_worker.kernel.pictures import picture as choice
from pixyz_worker.kernel.pictures.camera import fit
from pixyz_worker.kernel.pictures.look import Look
from pixyz_worker.kernel.pictures.picture import make_renderer, open_renderer
from pixyz_worker.kernel.pictures.stage import set_up
from tests.unit.kernel.picture_samples import FRONT, ISO, RED, box, mixed_scene, paint, quarters, scene, shown, square

SIZE = 128
NO_CREVICES = Look(crevices=False)


@pytest.fixture(autouse=True)
def vtk(need_extra, monkeypatch):
    """VTK has to be there, and what one test saw of it is forgotten."""
    need_extra("render")
    monkeypatch.setattr(choice, "_broken", choice._Broken())
    choice._report.cache_clear()


def overlap(one, other) -> float:
    """How much of the opaque parts of two pictures is common to both: 1 when they are the same."""
    a, b = one[..., 3] > 127, other[..., 3] > 127
    return (a & b).sum() / (a | b).sum()


def test_both_renderers_draw_the_same():
    """Given a scene with all kinds of things, when drawn by both from several sides, then the pictures are alike."""
    stage = set_up([mixed_scene().root])
    with open_renderer(stage, "vtk") as vtk, open_renderer(stage, "embree") as rays:
        for direction, kind in ((ISO, "perspective"), (FRONT, "orthographic"), ((0, -1, 0), "perspective")):
            inside = fit(direction, stage.shown(), width=SIZE, height=SIZE, kind=kind)
            camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
            one, other = (renderer.draw(camera, NO_CREVICES).astype(int) for renderer in (vtk, rays))
            assert overlap(one, other) > 0.98
            both = (one[..., 3] > 127) & (other[..., 3] > 127)
            assert numpy.abs(one - other)[both].mean() < 4


@pytest.mark.parametrize("kind", ["perspective", "orthographic"])
def test_fitting_a_part_clips_nothing_else(kind):
    """Given a camera fitted to one of several parts, when drawn by both, then the others are seen alike."""
    drawn = scene(shown(box(paint(RED))), shown(box(), (1.5, 0, -6)), shown(box(), (-1.2, 0, 1)))
    stage = set_up([drawn.root])
    inside = fit(FRONT, stage.shown([drawn.root.children[0]]), width=64, height=32, kind=kind)
    camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
    with open_renderer(stage, "vtk") as vtk, open_renderer(stage, "embree") as rays:
        assert overlap(vtk.draw(camera, NO_CREVICES), rays.draw(camera, NO_CREVICES)) > 0.98


@pytest.mark.parametrize(
    "material",
    [
        paint((*RED, 100), alpha_mode="mask", alpha_cutoff=0.3),
        paint((*RED, 100), alpha_mode="mask", alpha_cutoff=0.6),
        paint(RED, double_sided=False),
        paint((*RED, 128), alpha_mode="blend"),
        paint((200, 200, 200), base_colour_texture=Texture(image=quarters(), rotation=0.5, scale=(2.0, 1.5))),
        paint(RED, emission_texture=Texture(image=quarters()), emission=(0.5, 0.5, 0.5)),
        paint((180, 180, 180), metalness=1.0, metal_rough_texture=Texture(image=quarters())),
    ],
    ids=["mask kept", "mask cut", "one side", "blend", "transform", "emission", "metal"],
)
def test_materials_look_alike(material):
    """Given a material on squares to both sides, some coloured by vertex, when drawn by both, then they look alike."""
    colours = numpy.tile([[255, 255, 255, 255], [90, 120, 255, 255]], (2, 1)).astype(numpy.uint8)
    turned = shown(square(material), (0, 1.2, 0))
    turned.matrix[0, 0] = turned.matrix[2, 2] = -1
    drawn = scene(shown(square(material)), shown(square(material, colours=colours), (1.2, 0, 0)), turned)
    stage = set_up([drawn.root])
    inside = fit(FRONT, stage.shown(), width=64, height=64)
    camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
    with open_renderer(stage, "vtk") as vtk, open_renderer(stage, "embree") as rays:
        one, other = (renderer.draw(camera, NO_CREVICES).astype(int) for renderer in (vtk, rays))
    assert numpy.abs(one - other).mean() < 3
    assert (numpy.abs(one - other).max(axis=2) > 24).mean() < 0.03


def test_a_child_that_ends_is_reported():
    """Given a child that is killed, when drawn, then the error is a sentence, and so it stays."""
    stage = set_up([scene(shown(box())).root])
    from pixyz_worker.kernel.pictures.vtk_renderer import VtkRenderer

    renderer = VtkRenderer(stage)
    renderer._child.kill()
    camera = fit(FRONT, stage.shown(), width=8, height=8)
    for _ in range(2):
        with pytest.raises(InternalError, match=r"^The VTK renderer .*\.$"):
            renderer.draw(camera, Look())
    assert renderer._child.returncode is not None


def test_a_child_that_hangs_is_ended():
    """Given no patience, when drawn, then the child is gone and the error says that it took too long."""
    from pixyz_worker.kernel.pictures.vtk_renderer import VtkRenderer

    stage = set_up([scene(shown(box())).root])
    renderer = VtkRenderer(stage, patience_s=0.0)
    with pytest.raises(InternalError, match="took longer than 0 s"):
        renderer.draw(fit(FRONT, stage.shown(), width=8, height=8), Look())
    assert renderer._child.returncode is not None


def test_rays_take_over_when_vtk_fails(monkeypatch, caplog):
    """Given a VTK that cannot start, when 'auto' draws twice, then rays are cast, and the log says so once."""
    monkeypatch.setattr("pixyz_worker.kernel.pictures.vtk_renderer._CHILD", "pixyz_worker.no_such_module")
    stage = set_up([scene(shown(box(paint(RED)))).root])
    inside = fit(FRONT, stage.shown(), width=16, height=16)
    camera = inside.moved(1 / stage.scale, -stage.shift / stage.scale)
    for _ in range(2):
        with open_renderer(stage) as renderer:
            assert renderer.draw(camera, Look())[8, 8, 3] == 255
    assert caplog.text.count("Pictures are drawn by casting rays instead") == 1


def test_an_unknown_renderer():
    """Given a name that is none, when asked for, then the error names the three."""
    with pytest.raises(InvalidBackendParameter, match="auto, vtk, embree"):
        make_renderer(set_up([]), "opengl")
