"""The process in which VTK draws: `python -m pixyz_worker.kernel.pictures.vtk_child FOLDER`.

It reads the stage that vtk_renderer put into the folder, then a line of JSON for each picture. Light comes from
studio.shader(), which takes the place of VTK's own; a picture is drawn larger and made smaller, which gives smooth
edges far quicker than OpenGL's own way does in software.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 (it registers what draws)
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkCommand, vtkOutputWindow, vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer, vtkRenderWindow, vtkTexture

from pixyz_worker.kernel.death import die_with_parent
from pixyz_worker.kernel.pictures import studio
from pixyz_worker.kernel.pictures.camera import Camera

_ARRAYS: Any = numpy_support  # it has no types
_WAIT_S = 600.0
_PEELS = 12
_UNIT = numpy.array([0.1, 1.0])
_WRAPS = {"repeat": vtkTexture.Repeat, "mirror": vtkTexture.MirroredRepeat, "clamp": vtkTexture.ClampToEdge}
_TEXTURES = {"base": ("albedoTex", True), "metal_rough": ("materialTex", False), "emission": ("emissiveTex", True)}


class Painter:
    """One window with the stage in it."""

    def __init__(self, folder: Path) -> None:
        """Make the window and the actors."""
        self._folder, self._kept = folder, []  # type: tuple[Path, list[Any]]
        self._problems: list[str] = []
        vtkOutputWindow.GetInstance().AddObserver(vtkCommand.ErrorEvent, self._note)
        vtkOutputWindow.GetInstance().SetDisplayModeToNever()
        self._renderer, self._window = vtkRenderer(), vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.AddRenderer(self._renderer)
        self._renderer.SetBackground(0.0, 0.0, 0.0)
        self._renderer.SetBackgroundAlpha(0.0)
        self._images: dict[str, Any] = {}
        self._surfaces: list[Any] = []
        self._points: Any = None
        self._build()

    def draw(self, wanted: dict[str, Any]) -> None:
        """Draw what one line asks for into the file that it names; RuntimeError when OpenGL complains."""
        camera, look = Camera(**wanted["camera"]), wanted["look"]
        fine = int(look["samples"])
        self._aim(camera)
        for actor in self._surfaces:
            style = actor.GetProperty()
            style.SetEdgeVisibility(bool(look["edges"]))
            style.SetEdgeColor(*(level / 255 for level in look["edge_colour"]))
            style.SetLineWidth(1.2 * fine)
        if self._points is not None:
            self._points.GetProperty().SetPointSize(wanted["point_size"] * fine)
        self._window.SetSize(camera.width * fine, camera.height * fine)
        self._window.Render()
        if self._problems:
            raise RuntimeError(self._problems[0])
        numpy.save(wanted["result"], self._pixels(camera, fine))

    def _note(self, *_: Any) -> None:
        self._problems.append("OpenGL or VTK reports an error; see the log")

    def _pixels(self, camera: Camera, fine: int) -> NDArray[numpy.float32]:
        """The picture from top to bottom, averaged, multiplied with opacity, from 0 to 255."""
        pixels = vtkUnsignedCharArray()
        self._window.GetRGBACharPixelData(0, 0, camera.width * fine - 1, camera.height * fine - 1, 0, pixels, 0)
        whole = _ARRAYS.vtk_to_numpy(pixels).reshape(camera.height, fine, camera.width, fine, 4)
        mean = numpy.zeros((camera.height, camera.width, 4), numpy.float32)
        for row in range(fine):
            for column in range(fine):
                mean += whole[:, row, :, column]
        return mean[::-1] / numpy.float32(fine * fine)

    def _aim(self, camera: Camera) -> None:
        eye = self._renderer.GetActiveCamera()
        eye.SetPosition(*camera.position)
        eye.SetFocalPoint(*(place + step for place, step in zip(camera.position, camera.direction, strict=True)))
        eye.SetViewUp(*camera.up)
        eye.SetParallelProjection(camera.kind == "orthographic")
        eye.SetViewAngle(camera.fov_deg)
        eye.SetParallelScale(camera.span_m / 2)
        depths = numpy.concatenate([self._depths(array, camera) for array in self._placed if len(array)] or [_UNIT])
        far = max(float(depths.max()) * 1.01, 1e-3)
        eye.SetClippingRange(max(float(depths.min()) * 0.99, far * 2e-4), far)

    @staticmethod
    def _depths(positions: NDArray[Any], camera: Camera) -> NDArray[Any]:
        """The least and the greatest distance of points along the camera's direction, (2,)."""
        along = positions @ numpy.array(camera.direction, numpy.float32)
        ends: NDArray[Any] = numpy.array([along.min(), along.max()]) - numpy.dot(camera.position, camera.direction)
        return ends

    def _build(self) -> None:
        told = json.loads((self._folder / "stage.json").read_text(encoding="utf-8"))
        arrays = {file.stem: numpy.load(file, mmap_mode="r") for file in self._folder.glob("*.npy")}
        self._placed = [arrays["positions"], arrays["points"]]
        see_through = False
        for group in told["groups"]:
            actor = self._surface(group, arrays)
            self._renderer.AddActor(actor)
            self._surfaces.append(actor)
            see_through = see_through or group["mode"] == "blend"
        if len(arrays["points"]):
            self._points = self._cloud(arrays["points"], arrays["point_colours"])
            self._renderer.AddActor(self._points)
        self._renderer.SetUseDepthPeeling(see_through)
        self._renderer.SetMaximumNumberOfPeels(_PEELS)
        self._renderer.SetOcclusionRatio(0.0)

    def _surface(self, group: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
        vertices, triangles = slice(*group["vertices"]), slice(*group["triangles"])
        data = vtkPolyData()
        data.SetPoints(self._point_array(arrays["positions"][vertices]))
        corners = arrays["triangles"][triangles].astype(numpy.int64) - vertices.start
        cells = vtkCellArray()
        starts = numpy.arange(0, 3 * len(corners) + 1, 3, dtype=numpy.int64)
        cells.SetData(self._ids(starts), self._ids(corners.reshape(-1)))
        data.SetPolys(cells)
        if group["smooth"]:
            data.GetPointData().SetNormals(self._array(arrays["normals"][vertices]))
        if group["textures"]:
            data.GetPointData().SetTCoords(self._array(arrays["uvs"][vertices]))
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(data)
        mapper.SetScalarVisibility(group["coloured"])
        if group["coloured"]:
            data.GetPointData().SetScalars(self._array(arrays["colours"][vertices]))
            mapper.SetColorModeToDirectScalars()
        actor = vtkActor()
        actor.SetMapper(mapper)
        self._paint(actor, group)
        return actor

    def _paint(self, actor: Any, group: dict[str, Any]) -> None:
        style = actor.GetProperty()
        style.SetInterpolationToPBR()
        style.SetColor(*group["base"][:3])
        style.SetMetallic(group["metalness"])
        style.SetRoughness(group["roughness"])
        style.SetEmissiveFactor(*group["emission"])
        blended = group["mode"] == "blend"
        style.SetOpacity(group["base"][3] if blended else 1.0)
        style.SetBackfaceCulling(not group["double_sided"])
        actor.SetForceTranslucent(blended)
        actor.SetForceOpaque(not blended)
        for kind, texture in group["textures"].items():
            name, coloured = _TEXTURES[kind]
            style.SetTexture(name, self._texture(texture, coloured))
        change = actor.GetShaderProperty()
        change.AddFragmentShaderReplacement("//VTK::Light::Dec", True, "//VTK::Light::Dec\n" + studio.shader(), False)
        change.AddFragmentShaderReplacement("//VTK::Light::Impl", True, "//VTK::Light::Impl\n" + _light(group), False)

    def _texture(self, told: dict[str, str], coloured: bool) -> Any:
        if told["file"] not in self._images:
            pixels = numpy.load(self._folder / told["file"])
            image = vtkImageData()
            image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
            # The first row of an image of VTK lies at v = 0, where glTF has the upper edge: nothing is turned over.
            image.GetPointData().SetScalars(self._array(pixels.reshape(-1, 4)))
            self._images[told["file"]] = image
        texture = vtkTexture()
        texture.SetInputData(self._images[told["file"]])
        texture.SetUseSRGBColorSpace(coloured)
        texture.SetColorModeToDirectScalars()
        texture.InterpolateOn()
        texture.MipmapOn()
        texture.SetWrap(_WRAPS[told["wrap"]])
        return texture

    def _cloud(self, points: NDArray[Any], colours: NDArray[Any]) -> Any:
        data = vtkPolyData()
        data.SetPoints(self._point_array(points))
        cells = vtkCellArray()
        cells.SetData(self._ids(numpy.arange(len(points) + 1)), self._ids(numpy.arange(len(points))))
        data.SetVerts(cells)
        data.GetPointData().SetScalars(self._array(colours))
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(data)
        mapper.SetColorModeToDirectScalars()
        actor = vtkActor()
        actor.SetMapper(mapper)
        actor.ForceOpaqueOn()
        code = """//VTK::Light::Impl
  if (length(gl_PointCoord - vec2(0.5)) > 0.5) { discard; }
  fragOutput0 = vec4(vertexColorVSOutput.rgb, 1.0);
"""
        actor.GetShaderProperty().AddFragmentShaderReplacement("//VTK::Light::Impl", True, code, False)
        return actor

    def _array(self, values: NDArray[Any]) -> Any:
        """A VTK array over the same memory, which is kept."""
        values = numpy.ascontiguousarray(values)
        self._kept.append(values)
        return _ARRAYS.numpy_to_vtk(values)

    def _ids(self, values: NDArray[Any]) -> Any:
        values = numpy.ascontiguousarray(values, numpy.int64)
        self._kept.append(values)
        return _ARRAYS.numpy_to_vtkIdTypeArray(values)

    def _point_array(self, values: NDArray[Any]) -> Any:
        points = vtkPoints()
        points.SetData(self._array(values))
        return points


def _light(group: dict[str, Any]) -> str:
    """GLSL that takes VTK's values of a surface and gives its colour, multiplied with nothing."""
    red, green, blue, opacity = group["base"]
    lines = ["vec3 studioV = cameraParallel == 1 ? vec3(0.0, 0.0, 1.0) : normalize(-vertexVC.xyz);"]
    lines.append("vec3 studioN = dot(N, studioV) < -0.35 ? -N : N;")
    if group["coloured"]:
        texel = "albedoSample.rgb * " if "base" in group["textures"] else ""
        lines.append(f"albedo = {texel}linear(vertexColorVSOutput.rgb) * vec3({red:.6f}, {green:.6f}, {blue:.6f});")
    if group["mode"] == "mask":
        lines.append(f"opacity *= {opacity:.6f};")
        lines.append(f"if (opacity < {group['cutoff']:.6f}) {{ discard; }}")
    if group["mode"] != "blend":
        lines.append("opacity = 1.0;")
    shine = "emissiveColor" if "emission" in group["textures"] else "emissiveFactorUniform"
    lines.append(f"vec3 studioL = studio(albedo, metallic, roughness, studioN, studioV) + {shine};")
    lines.append("fragOutput0 = vec4(encode(studioL), opacity);")
    return "\n".join(lines)


def _main(folder: Path) -> int:
    """Wait for the stage, then draw picture after picture until the standard input ends."""
    die_with_parent()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what VTK prints goes to standard error
    end = time.monotonic() + _WAIT_S
    while not (folder / "stage.json").exists():
        if time.monotonic() > end or not folder.exists():
            return 1
        time.sleep(0.005)
    painter: Painter | None = None
    for line in sys.stdin:
        said: dict[str, Any] = {}
        try:
            painter = painter or Painter(folder)
            painter.draw(json.loads(line))
        except Exception as error:
            said["problem"] = str(error) or type(error).__name__
        answer.write(json.dumps(said) + "\n")
        answer.flush()
    return 0


if __name__ == "__main__":
    # os._exit: taking VTK's window down is one more chance to crash, after the work is done.
    code = _main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)
