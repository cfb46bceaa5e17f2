"""The exact surfaces of a part, as OpenCASCADE holds them, with the looks of its faces.

Nothing here imports OpenCASCADE before a shape is really needed: surfaces that come from a file stay bytes until
then, and are passed on as these bytes.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.material import Material

MILLIMETRE = 0.001
"""Metres in one unit of a shape: OpenCASCADE's tolerances are made for millimetres."""
_MAGIC = b"OCCBREP1"
_HEAD = struct.Struct("<8sII")  # magic, bytes of JSON, number of faces whose looks follow
_KEPT = ("name", "base_colour", "metalness", "roughness", "emission", "alpha_mode", "alpha_cutoff", "double_sided")


class OccBrep:
    """A shape in millimetres, and for each of its faces a material.

    The shape is never written into: whoever changes it makes another OccBrep.
    """

    __slots__ = ("_bounds", "_data", "_shape", "face_materials", "materials")

    def __init__(
        self,
        shape: Any,
        *,
        materials: tuple[Material | None, ...] = (None,),
        face_materials: NDArray[numpy.uint16] | None = None,
    ) -> None:
        """Hold a TopoDS_Shape; face_materials has for each of its faces, as occ.faces() lists them, a place in
        materials, and is None when all have the first.
        """
        self._shape = shape
        self._data: bytes | memoryview | None = None
        self._bounds: NDArray[numpy.float64] | None = None
        self.materials = materials or (None,)
        self.face_materials = face_materials if len(self.materials) > 1 else None

    @property
    def shape(self) -> Any:
        """The TopoDS_Shape, in millimetres; UnsupportedFormat where OpenCASCADE is not installed."""
        if self._shape is None:
            from pixyz_worker.kernel.formats.cad import occ

            assert self._data is not None
            with occ.explained("its exact surfaces are damaged"):
                self._shape = _read_shape(occ, self._data)
        return self._shape

    def bounds(self) -> NDArray[numpy.float64]:
        """Lowest and highest corner in metres, (2, 3), of the surfaces themselves; zeros for an empty shape."""
        if self._bounds is None:
            self._bounds = _box(self.shape) * MILLIMETRE
        return self._bounds

    def to_bytes(self) -> bytes:
        """The surfaces in OpenCASCADE's binary format, without their triangles, behind the looks of the faces."""
        looks = self._looks()
        numbers = b"" if self.face_materials is None else self.face_materials.astype("<u2").tobytes()
        body = _written(self._shape) if self._data is None else bytes(self._data)
        return b"".join((_HEAD.pack(_MAGIC, len(looks), len(numbers) // 2), looks, numbers, body))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> OccBrep:
        """What to_bytes() gave; the bytes are kept, and read when the shape is used. ValueError if damaged."""
        view = memoryview(data)
        if len(view) < _HEAD.size:
            raise ValueError("its exact surfaces are cut off")
        magic, size, count = _HEAD.unpack_from(view)
        start = _HEAD.size + size + 2 * count
        if magic != _MAGIC or start > len(view):
            raise ValueError("its exact surfaces are damaged")
        told = json.loads(bytes(view[_HEAD.size : _HEAD.size + size]))
        materials = tuple(None if entry is None else _material(entry) for entry in told["materials"])
        numbers = numpy.frombuffer(view[_HEAD.size + size : start], dtype="<u2") if count else None
        if numbers is not None and (numbers >= len(materials)).any():
            raise ValueError("its exact surfaces are damaged: a face has no material")
        brep = cls(None, materials=materials, face_materials=numbers)
        brep._data = view[start:]
        if told.get("bounds") is not None:
            brep._bounds = numpy.array(told["bounds"], dtype=numpy.float64).reshape(2, 3)
        return brep

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., OccBrep], tuple[Any]]:
        data = self.to_bytes()
        return _restored, (PickleBuffer(data) if int(protocol) >= 5 else data,)

    def _looks(self) -> bytes:
        materials = [
            None if material is None else {key: getattr(material, key) for key in _KEPT} for material in self.materials
        ]
        bounds = None if self._bounds is None else self._bounds.ravel().tolist()
        return json.dumps({"materials": materials, "bounds": bounds}).encode()


def _restored(data: bytes | memoryview) -> OccBrep:
    # A function of the module: cloudpickle, which Ray uses, sends a class method with all that its module holds.
    return OccBrep.from_bytes(data)


def _material(told: dict[str, Any]) -> Material:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in told.items() if key in _KEPT
    }
    return Material(**values)


def _written(shape: Any) -> bytes:
    from pixyz_worker.kernel.formats.cad import occ

    stream, nowhere = io.BytesIO(), occ.TopLoc.TopLoc_Location()
    # Faces without a surface are nothing but their triangles.
    needed = any(occ.BRep.BRep_Tool.Surface_s(face, nowhere) is None for face in occ.faces(shape))
    version = occ.BinTools.BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4
    occ.BinTools.BinTools.Write_s(shape, stream, needed, needed, version)
    return stream.getvalue()


def _read_shape(occ: Any, data: bytes | memoryview) -> Any:
    shape = occ.TopoDS.TopoDS_Shape()
    occ.BinTools.BinTools.Read_s(shape, io.BytesIO(data))
    if shape.IsNull():
        raise ValueError("its exact surfaces are damaged")
    return shape


def _box(shape: Any) -> NDArray[numpy.float64]:
    from pixyz_worker.kernel.formats.cad import occ

    box = occ.Bnd.Bnd_Box()
    with occ.explained("the size of its surfaces cannot be told"):
        occ.BRepBndLib.BRepBndLib.AddOptimal_s(shape, box, False, False)
    if box.IsVoid():
        return numpy.zeros((2, 3))
    return numpy.array([[corner.X(), corner.Y(), corner.Z()] for corner in (box.CornerMin(), box.CornerMax())])
