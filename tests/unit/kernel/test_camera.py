"""The camera: what it looks at fills the picture, whatever the direction, the lens and the shape."""

from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_worker.kernel.pictures.camera import Camera, fit

UNIT = st.floats(-1, 1, allow_nan=False)
CUBE = numpy.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


@settings(max_examples=60, deadline=None)
@given(
    direction=st.tuples(UNIT, UNIT, UNIT).filter(lambda d: math.hypot(*d) > 0.1),
    size=st.tuples(*[st.floats(0.05, 1)] * 3),
    scale=st.sampled_from([1e-4, 1.0, 1e5]),
    shift=st.tuples(UNIT, UNIT, UNIT),
    fov_deg=st.floats(10, 110),
    shape=st.sampled_from([(64, 64), (128, 64), (64, 96)]),
    kind=st.sampled_from(["perspective", "orthographic"]),
)
def test_all_points_lie_in_the_picture_and_touch_its_margin(direction, size, scale, shift, fov_deg, shape, kind):
    """Given a box, when a camera is fitted, then all corners are in the frame and two opposite edges are reached."""
    points = CUBE * size * scale + numpy.multiply(shift, scale)
    width, height = shape
    camera = fit(direction, points, fov_deg=fov_deg, width=width, height=height, kind=kind, margin=0.1)
    placed = camera.project(points)
    across, down = placed[:, 0] / width * 2 - 1, placed[:, 1] / height * 2 - 1
    assert max(numpy.abs(across).max(), numpy.abs(down).max()) <= 0.9 + 1e-6
    reached = [(across.min(), across.max()), (down.min(), down.max())]
    close = placed[:, 2].min() < 2e-3 * numpy.ptp(points, axis=0).max()  # nearer than a lens may come
    assert close or any(
        low == pytest.approx(-0.9, abs=1e-3) and high == pytest.approx(0.9, abs=1e-3) for low, high in reached
    )
    assert (placed[:, 2] >= camera.near).all()
    assert (placed[:, 2] <= camera.far).all()


@pytest.mark.parametrize(
    ("direction", "right", "up"),
    [
        ((0, 0, -1), (1, 0, 0), (0, 1, 0)),
        ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
        ((0, -1, 0), (1, 0, 0), (0, 0, -1)),
        ((0, 1, 0), (1, 0, 0), (0, 0, 1)),
    ],
)
def test_the_views_of_a_drawing(direction, right, up):
    """Given the front, right, upper and lower view, when fitted, then y is up, and z decides along y."""
    axes = fit(direction, CUBE, width=10, height=10).axes
    assert axes[0] == pytest.approx(right, abs=1e-9)
    assert axes[1] == pytest.approx(up, abs=1e-9)
    assert axes[2] == pytest.approx(-numpy.array(direction), abs=1e-9)


@pytest.mark.parametrize("kind", ["perspective", "orthographic"])
@pytest.mark.parametrize("points", [CUBE[:1], CUBE[:2], numpy.empty((0, 3))], ids=["point", "line", "nothing"])
def test_what_has_no_width_can_be_looked_at(points, kind):
    """Given a point, a line from its end, or nothing, when fitted, then the camera is a real one."""
    camera = fit((0, 0, -1), points, width=10, height=10, kind=kind)
    assert numpy.isfinite(camera.position).all()
    assert 0 < camera.near < camera.far
    placed = camera.project(points)
    assert ((placed[:, :2] >= 0) & (placed[:, :2] <= 10)).all()


@pytest.mark.parametrize(
    ("direction", "changes"),
    [
        ((0, 0, 0), {}),
        ((0, 0, float("nan")), {}),
        ((0, 0, -1), {"fov_deg": 180}),
        ((0, 0, -1), {"width": 0}),
        ((0, 0, -1), {"up": (0, 0, 2)}),
    ],
)
def test_what_no_camera_can_do(direction, changes):
    """Given a direction without length and the like, when fitted, then ValueError says so."""
    with pytest.raises(ValueError, match=r"direction|degrees|pixels|top"):
        fit(direction, CUBE, **{"width": 10, "height": 10, **changes})


def test_a_camera_that_is_moved_sees_the_same():
    """Given points and a camera, when both go to another frame, then each point stays on its pixel."""
    camera: Camera = fit((-0.5, -0.5, -1), CUBE, width=64, height=48, fov_deg=60)
    moved = camera.moved(3.0, (1, 2, 3))
    assert moved.project(CUBE * 3 + (1, 2, 3))[:, :2] == pytest.approx(camera.project(CUBE)[:, :2])
