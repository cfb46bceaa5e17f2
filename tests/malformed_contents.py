"""Files that are wrong in a way of their own format: what headers announce, where references lead, what is missing."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zipfile
from io import BytesIO
from typing import Any

from pixyz_worker.kernel.formats.gltf import document as gltf

NOISE = random.Random(7).randbytes(3011)
HUGE = 10**9
SWOLLEN = bytes(80 << 20)
"""More than the 64 MiB that any archive may unpack to."""


def packed(**files: bytes) -> bytes:
    """A zip archive of some files."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def glb(tree: dict[str, Any], binary: bytes = b"") -> bytes:
    """A GLB of a JSON tree."""
    return gltf.join(gltf.Document(tree={"asset": {"version": "2.0"}, **tree}, binary=binary))


def _accessor(**changes: Any) -> bytes:
    """A GLB with one accessor that is right but for changes."""
    entry = {"bufferView": 0, "componentType": 5126, "count": 1, "type": "VEC3", **changes}
    views = [{"buffer": 0, "byteLength": 12}]
    return glb({"buffers": [{"byteLength": 12}], "bufferViews": views, "accessors": [entry]}, bytes(12))


def _triangle(corners: tuple[int, int, int], first: float = 0.0) -> bytes:
    """A GLB of one triangle, by its corners and its first coordinate."""
    data = struct.pack("<9f3I", first, 0, 0, 1, 0, 0, 0, 1, 0, *corners)
    views = [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}]
    points = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}
    order = {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"}
    meshes = [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}]
    tree = {"buffers": [{"byteLength": 48}], "bufferViews": views, "accessors": [points, order], "meshes": meshes}
    return glb({**tree, "nodes": [{"mesh": 0}]}, data)


def _chunk(text: bytes) -> bytes:
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


def _json(**tree: Any) -> bytes:
    return json.dumps({"asset": {"version": "2.0"}, **tree}).encode()


_STEP_HEAD = b"ISO-10303-21;\nHEADER;\nFILE_SCHEMA(('AUTOMOTIVE_DESIGN'));\nENDSEC;\nDATA;\n"
_STEP_END = b"ENDSEC;\nEND-ISO-10303-21;\n"
_IFC_HEAD = (
    b"ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\n"
    b"FILE_SCHEMA(('%s'));\nENDSEC;\nDATA;\n"
)
_XYZ = b"property float x\nproperty float y\nproperty float z\n"
_PLY = b"ply\nformat ascii 1.0\nelement vertex %d\n" + _XYZ
_PLY_BINARY = b"ply\nformat binary_little_endian 1.0\nelement vertex %d\n" + _XYZ
_FACES = b"element face %d\nproperty list %s int vertex_indices\n"
_POINTS = b"0 0 0\n1 0 0\n0 1 0\n"
_OBJ = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
_BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
_OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


def _3mf(model: bytes) -> bytes:
    """A package with a model."""
    kind = b"application/vnd.openxmlformats-package.relationships+xml"
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
    types += b'ContentType="%s"/><Default Extension="model" ' % kind
    types += b'ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
    links = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r" '
    links += b'Target="/3D/3dmodel.model" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    links += b"</Relationships>"
    return packed(**{"[Content_Types].xml": types, "_rels/.rels": links, "3D/3dmodel.model": model})


def _model(resources: bytes) -> bytes:
    space = b"http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    head = b'<?xml version="1.0"?><model unit="millimeter" xmlns="%s">' % space
    build = b'<build><item objectid="1"/></build>' if resources else b"<build/>"
    return head + b"<resources>" + resources + b"</resources>" + build + b"</model>"


_MESH = (
    b'<object id="1" type="model"><mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/>'
    b'<vertex x="0" y="1" z="0"/></vertices><triangles><triangle v1="0" v2="1" v3="77"/></triangles></mesh></object>'
)
_CIRCLE = b'<object id="1" type="model"><components><component objectid="1"/></components></object>'


def _dae(geometry: bytes, node: bytes = b'<instance_geometry url="#g"/>') -> bytes:
    return (
        b'<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        b'<library_geometries><geometry id="g"><mesh>' + geometry + b"</mesh></geometry></library_geometries>"
        b'<library_visual_scenes><visual_scene id="s"><node id="n">' + node + b"</node></visual_scene>"
        b'</library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    )


def _dae_mesh(corners: bytes) -> bytes:
    return (
        b'<source id="p"><float_array id="a" count="9">0 0 0 1 0 0 0 1 0</float_array><technique_common>'
        b'<accessor source="#a" count="3" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>'
        b'<param name="Z" type="float"/></accessor></technique_common></source><vertices id="v">'
        b'<input semantic="POSITION" source="#p"/></vertices><triangles count="1">'
        b'<input semantic="VERTEX" source="#v" offset="0"/><p>' + corners + b"</p></triangles>"
    )


def _x3d(shape: bytes) -> bytes:
    return b"<X3D><Scene><Shape>" + shape + b"</Shape></Scene></X3D>"


def _x3d_mesh(index: bytes, points: bytes = b"0 0 0, 1 0 0, 0 1 0") -> bytes:
    return _x3d(b'<IndexedTriangleSet index="%s"><Coordinate point="%s"/></IndexedTriangleSet>' % (index, points))


def _3dxml(main: bytes) -> bytes:
    return packed(**{"Manifest.xml": b"<Manifest><Root>main.3dxml</Root></Manifest>", "main.3dxml": main})


def _usda(body: bytes) -> bytes:
    return b"#usda 1.0\n" + body


def _usda_mesh(counts: bytes, corners: bytes) -> bytes:
    return _usda(
        b'def Mesh "m" {\n int[] faceVertexCounts = [%s]\n int[] faceVertexIndices = [%s]\n'
        b" point3f[] points = [(0,0,0), (1,0,0), (0,1,0)]\n}\n" % (counts, corners)
    )


def _usdz(name: str, content: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _fbx_array() -> bytes:
    """An FBX file with one record whose property announces 10^9 numbers."""
    value = b"d" + struct.pack("<III", HUGE, 1, 9) + b"012345678"
    head = b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400)
    end = len(head) + 13 + 8 + len(value)
    return head + struct.pack("<IIIB", end, 1, len(value), 8) + b"Vertices" + value + bytes(13)


def _dxf(entities: bytes) -> bytes:
    return b"0\nSECTION\n2\nENTITIES\n" + entities + b"0\nENDSEC\n0\nEOF\n"


CRAFTED: dict[str, tuple[str, bytes]] = {
    "a header only": ("step", _STEP_HEAD + _STEP_END),
    "noise after its header": ("step", _STEP_HEAD + NOISE + _STEP_END),
    "an entity that refers to nothing": ("step", _STEP_HEAD + b"#1=ADVANCED_BREP_SHAPE_REPRESENTATION('',(#7),#8);\n"
                                         + _STEP_END),
    "entities in a circle": ("step", _STEP_HEAD + b"#1=CLOSED_SHELL('',(#2));\n#2=ADVANCED_FACE('',(#1),#2,.T.);\n"
                             b"#3=MANIFOLD_SOLID_BREP('',#1);\n" + _STEP_END),
    "a gzip that is none": ("stpz", b"\x1f\x8b" + NOISE),
    "a gzip bomb": ("stpz", gzip.compress(_STEP_HEAD + SWOLLEN, 9)),
    "a gzip of another format": ("stpz", gzip.compress(b"solid x\nendsolid x\n")),
    "a header and an end": ("iges", b"nothing".ljust(72) + b"S      1\n" + b"S      1".ljust(72) + b"T      1\n"),
    "a header of a shape": ("brep", b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra-Datavision\nLocations 0\n"),
    "10^9 poles of a curve": ("brep", b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra-Datavision\nLocations 0\n"
                              b"Curve2ds 1\n7 0 0 3 1000000000 4 0 0 1 1\n"),
    "10^10 poles of a surface": ("brep", b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra-Datavision\n"
                                 b"Locations 0\nCurve2ds 0\nCurves 0\nPolygon3D 0\nPolygonOnTriangulations 0\n"
                                 b"Surfaces 1\n9 0 0 0 0 3 3 100000 100000 5 5 0 0 0\n"),
    "10^9 curves": ("brep", b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra-Datavision\nLocations 0\n"
                    b"Curve2ds 1000000000\n"),
    "four bytes": ("glb", b"glTF"),
    "version 1": ("glb", struct.pack("<4sIIII", b"glTF", 1, 20, 0, 0)),
    "a huge announced length": ("glb", struct.pack("<4sIIII", b"glTF", 2, 0xFFFFFFFF, 8, 0x4E4F534A)),
    "broken JSON": ("glb", _chunk(b"{ ] ")),
    "deep JSON": ("glb", _chunk(b"[" * 400_000)),
    "no asset": ("glb", gltf.join(gltf.Document(tree={}, binary=b""))),
    "10^9 elements": ("glb", _accessor(count=HUGE)),
    "10^9 elements of nothing": ("glb", glb({"accessors": [{"componentType": 5126, "count": HUGE, "type": "VEC3"}]})),
    "a negative count": ("glb", _accessor(count=-1)),
    "an accessor of no known type": ("glb", _accessor(type="VEC9")),
    "a view beyond its data": ("glb", glb({"bufferViews": [{"buffer": 0, "byteLength": 99}]})),
    "nodes in a circle": ("glb", glb({"nodes": [{"children": [1]}, {"children": [0]}]})),
    "a child twice": ("glb", glb({"nodes": [{"children": [2]}, {"children": [2]}, {}]})),
    "a mesh that is not there": ("glb", glb({"nodes": [{"mesh": 5}]})),
    "nodes that are a number": ("glb", glb({"nodes": 7})),
    "a corner that is not there": ("glb", _triangle((0, 1, 3))),
    "a coordinate that is no number": ("glb", _triangle((0, 1, 2), float("nan"))),
    "an infinite coordinate": ("glb", _triangle((0, 1, 2), float("inf"))),
    "no bin": ("gltf", _json(buffers=[{"uri": "gone.bin", "byteLength": 4}])),
    "broken base64": ("gltf", _json(buffers=[{"uri": "data:;base64,@@@", "byteLength": 4}])),
    "a file elsewhere": ("gltf", _json(buffers=[{"uri": "../../../../etc/passwd", "byteLength": 4}])),
    "an absolute path": ("gltf", _json(buffers=[{"uri": "/etc/passwd", "byteLength": 4}])),
    "a page of the network": ("gltf", _json(buffers=[{"uri": "http://127.0.0.1:1/x", "byteLength": 4}])),
    "a buffer of 10^9 bytes": ("gltf", _json(buffers=[{"uri": "data:;base64,AAAA", "byteLength": HUGE}])),
    "no shape": ("obj", b"# nothing\no part\n"),
    "a face that leads nowhere": ("obj", _OBJ + b"f 1 2 900000000\n"),
    "a face of a vertex before the first": ("obj", _OBJ + b"f -1 -2 -9\n"),
    "a face of vertex 0": ("obj", _OBJ + b"f 0 1 2\n"),
    "a face of words": ("obj", _OBJ + b"f one two three\n"),
    "a face of texture coordinates that are not there": ("obj", _OBJ + b"f 1/7 2/8 3/9\n"),
    "a vertex of two numbers": ("obj", b"v 0 0\n" + _OBJ + b"f 1 2 3\n"),
    "words for numbers": ("obj", b"v a b c\n" + _OBJ + b"f 1 2 3\n"),
    "coordinates that are no numbers": ("obj", b"v nan 0 0\n" + _OBJ + b"f 1 2 3\n"),
    "10^9 vertices": ("ply", _PLY % HUGE + b"end_header\n0 0 0\n"),
    "10^9 binary vertices": ("ply", _PLY_BINARY % HUGE + b"end_header\n" + bytes(120)),
    "10^9 faces": ("ply", _PLY_BINARY % 3 + _FACES % (HUGE, b"uchar") + b"end_header\n" + bytes(120)),
    "a face of 10^9 corners": ("ply", _PLY_BINARY % 3 + _FACES % (1, b"int") + b"end_header\n" + bytes(36)
                               + struct.pack("<I", HUGE) + bytes(12)),
    "a face of fewer than no corners": ("ply", _PLY_BINARY % 3 + _FACES % (1, b"int") + b"end_header\n" + bytes(36)
                                        + struct.pack("<i", -3) + bytes(12)),
    "no end of its header": ("ply", _PLY % 3),
    "a type that there is not": ("ply", (_PLY % 3).replace(b"float x", b"number x") + b"end_header\n" + _POINTS),
    "a face to nowhere": ("ply", _PLY % 3 + _FACES % (1, b"uchar") + b"end_header\n" + _POINTS + b"3 0 1 77\n"),
    "10^9 triangles": ("stl", bytes(80) + struct.pack("<I", HUGE) + bytes(50)),
    "no triangles": ("stl", bytes(84)),
    "infinite coordinates": ("stl", bytes(80) + struct.pack("<I12fH", 1, *[float("inf")] * 12, 0)),
    "a facet of two corners": ("stl", b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nendloop\n"
                               b"endfacet\nendsolid x\n"),
    "10^9 points": ("off", b"OFF\n1000000000 1 0\n" + _POINTS + b"3 0 1 2\n"),
    "10^9 corners of one face": ("off", b"OFF\n3 1 0\n" + _POINTS + b"1000000000 0 1 2\n"),
    "a triangle to nowhere": ("off", b"OFF\n3 1 0\n" + _POINTS + b"3 0 1 99\n"),
    "points of words": ("off", b"OFF\n3 1 0\na b c\n1 0 0\n0 1 0\n3 0 1 2\n"),
    "a line of words": ("xyz", b"1 2 3\none two three\n"),
    "lines of two numbers": ("xyz", b"1 2\n3 4\n"),
    "ragged lines": ("xyz", b"1 2 3\n4 5\n6 7 8\n"),
    "points that are no numbers": ("xyz", b"1 2 nan\n4 5 inf\n"),
    "no model": ("3mf", packed(**{"readme.txt": b"nothing"})),
    "an empty model": ("3mf", _3mf(_model(b""))),
    "noise for a model": ("3mf", _3mf(NOISE)),
    "a corner to nowhere": ("3mf", _3mf(_model(_MESH))),
    "an object of itself": ("3mf", _3mf(_model(_CIRCLE))),
    "a bomb": ("3mf", _3mf(_model(b"") + SWOLLEN)),
    "dae entities": ("dae", _BOMB + b"<COLLADA>&b;</COLLADA>"),
    "an entity of a file": ("dae", _OUTSIDE + b"<COLLADA>&a;</COLLADA>"),
    "no scene": ("dae", b'<?xml version="1.0"?><COLLADA version="1.4.1"></COLLADA>'),
    "another corner to nowhere": ("dae", _dae(_dae_mesh(b"0 1 77"))),
    "a geometry that is not there": ("dae", _dae(_dae_mesh(b"0 1 2"), b'<instance_geometry url="#gone"/>')),
    "words among its numbers": ("dae", _dae(_dae_mesh(b"0 1 2").replace(b"1 0 0", b"x y z"))),
    "x3d entities": ("x3d", _BOMB + b"<X3D><Scene>&b;</Scene></X3D>"),
    "an x3d entity of a file": ("x3d", _OUTSIDE + b"<X3D><Scene>&a;</Scene></X3D>"),
    "no x3d shape": ("x3d", b"<X3D><Scene/></X3D>"),
    "an x3d index to nowhere": ("x3d", _x3d_mesh(b"0 1 77")),
    "an x3d point of words": ("x3d", _x3d_mesh(b"0 1 2", b"a b c")),
    "an x3d group of itself": ("x3d", b'<X3D><Scene><Group DEF="a"><Group USE="a"/></Group></Scene></X3D>'),
    "a sphere below nothing": ("x3d", _x3d(b'<Sphere radius="-1"/>')),
    "no manifest": ("3dxml", packed(**{"x.xml": b"<x/>"})),
    "a document that is not there": ("3dxml", packed(**{"Manifest.xml": b"<Manifest><Root>x.3dxml</Root></Manifest>"})),
    "no structure": ("3dxml", _3dxml(b"<Model_3dxml/>")),
    "3dxml entities": ("3dxml", _3dxml(_BOMB + b"<Model_3dxml>&b;</Model_3dxml>")),
    "a 3dxml bomb": ("3dxml", _3dxml(SWOLLEN)),
    "fbx of 10^9 values": ("fbx", _fbx_array()),
    "fbx of text that is cut": ("fbx", b'; FBX 7.4.0 project file\nObjects:  {\n Geometry: 1, "x", "Mesh" {\n'),
    "a 3ds chunk of 4 GB": ("3ds", struct.pack("<HIHI", 0x4D4D, 0xFFFFFFFF, 0x3D3D, 0xFFFFFFF0) + bytes(40)),
    "a 3ds that is empty inside": ("3ds", struct.pack("<HI", 0x4D4D, 6)),
    "a dxf without a face": ("dxf", _dxf(b"0\nLINE\n10\n0\n20\n0\n11\n1\n21\n1\n")),
    "a dxf without its end": ("dxf", _dxf(b"0\n3DFACE\n10\n0\n11\n1\n22\n1\n").replace(b"EOF", b"")),
    "usda of 10^9 corners": ("usda", _usda_mesh(b"1000000000", b"0, 1, 2")),
    "usda of a corner to nowhere": ("usda", _usda_mesh(b"3", b"0, 1, 1000000000")),
    "a usda that refers elsewhere": ("usda", _usda(b'def "a" (references = @/etc/passwd@) {}\n')),
    "a usda that refers to the network": ("usda", _usda(b'def "a" (references = @http://127.0.0.1:1/a.usda@) {}\n')),
    "a usda that refers to itself": ("usda", _usda(b'(subLayers = [@./bad.usda@])\ndef "a" {}\n')),
    "a usda of nothing": ("usda", _usda(b"")),
    "a usdz that is an empty zip": ("usdz", packed()),
    "a usdz that is compressed": ("usdz", packed(**{"a.usda": _usda_mesh(b"3", b"0, 1, 2")})),
    "a usdz of noise": ("usdz", _usdz("a.usdc", b"PXR-USDC" + NOISE)),
    "ifc of nothing": ("ifc", _IFC_HEAD % b"IFC4" + _STEP_END),
    "ifc of a schema that there is not": ("ifc", _IFC_HEAD % b"CITYGML" + _STEP_END),
    "ifc that refers to nothing": ("ifc", _IFC_HEAD % b"IFC4" + b"#1=IFCPROJECT('0',#9,'x',$,$,$,$,(#8),#7);\n"
                                   + _STEP_END),
    "a manifest that lies": ("pxz", packed(**{"manifest.json": b'{"producer": "pixyz-on-ray", "version": 1}'})),
    "a newer release": ("pxz", packed(**{"manifest.json": b'{"producer": "pixyz-on-ray", "version": 99}'})),
    "a manifest bomb": ("pxz", packed(**{"manifest.json": SWOLLEN})),
}  # fmt: skip
"""Extension and content of files that are wrong in a way of their own format."""
