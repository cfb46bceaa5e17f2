"""The text of docs/formats.md, made from the format table."""

from __future__ import annotations

from typing import get_args

from pixyz_worker.kernel.formats.pxz.container import CREATED_KEY, PRODUCER_KEY, VERSION, VERSION_KEY
from pixyz_worker.kernel.formats.pxz.rows import LISTS
from pixyz_worker.kernel.formats.pxz.tree import ARRAYS
from pixyz_worker.kernel.formats.table import EXTRAS, SDK_ONLY, TABLE, Format, Trait

_TRAITS: tuple[Trait, ...] = get_args(Trait)

_HEAD = """# Formats

Made by `python -m pixyz_worker.kernel.formats`; a test keeps it equal to the table in
`pixyz_worker/kernel/formats/table.py`.

`io.importScene(path)` reads and `io.exportScene(path, root)` writes what this table names, by extension. What two
formats both have survives from one to the other.

"""

_EXTRAS = """
Formats without an extra work in every installation, with no system library and no GL. An extra is installed with
`pip install 'pixyz-ray[NAME]'`, all of them with `pixyz-ray[all]`; an import or an export that needs one says so.

| extra | package | for |
|---|---|---|
"""

_RULES = """
## Rules

- **Lengths.** A scene is in metres inside. STEP, IGES, BRep, 3MF, COLLADA, FBX, USD, IFC and X3D tell their unit, STL
  counts as millimetres, and what other files say without a unit counts as metres, unless the import is told another
  one. A format that knows no unit (OBJ, PLY, STL, OFF, XYZ) is written in the unit of the file that the scene came
  from, so a STEP part of 190 mm becomes an STL of 190 units.
- **Axes.** A scene knows which of its axes points up, where its file says so or its format does. Written to a format
  in which another one does, it is turned at its root; in all other cases coordinates are passed on as they are.
- **Colours.** glTF stores linear light, most others store sRGB; colours are converted between the two. Plain colours
  become materials without metalness.
- **Instances.** A part that is shown several times is stored once where the format has instances.
- **Exact surfaces.** With the extra `cad` they are kept until something needs triangles, and written as they are to
  STEP, BRep and pxz.
- **Points.** A cloud of points can be written to the formats that have `points`; others refuse it with a sentence.
- **Side files.** Materials, textures and buffers beside a file are read from its own folder and below, from nowhere
  else, and never from a network.
- **Hostile files.** A file that is damaged, or lies about its size, ends its job with a sentence. What one file may
  cost in time, memory and triangles is set in [operating.md](operating.md).
- **Export.** A file appears under its name when it is whole: it is written to a hidden folder beside it first.
- **The SDK.** Where the Pixyz SDK (`pxz`) is installed and `DISABLE_PIXYZ` is not set, all files go through it instead.
"""

_CONTAINER = """
## The `.pxz` container

Without the SDK, `.pxz` is our own container, since scripts ask for this extension by default. **Pixyz's own products
cannot read it**, and the job's log says so. A file of Pixyz's products is recognised (it does not name our producer)
and refused.

It holds everything of a scene, in one file of [Apache Arrow's IPC file
format](https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format), uncompressed. It is mapped into memory, not
read: arrays are views of the file, so the next task of a chain has the scene at once. Any Arrow library opens it:

```python
import pyarrow as pa

table = pa.ipc.open_file(pa.memory_map("scene.pxz")).read_all()
frame = table.to_pandas()
highest = [p.reshape(-1, 3).max(axis=0) for p in frame.positions[frame.kind == "mesh"]]
```

The metadata of the schema are `{producer}` (`pixyz-on-ray`), `{version}` (`{number}`; a reader refuses a newer one) and
`{created}` (ISO 8601 in UTC). The same scene and `{created}` give the same bytes. Columns that a row does not need are
null:

| column | type | of which rows |
|---|---|---|
| `kind` | utf8 | all: what the row is |
| `name` | utf8 | all: a name for people |
{columns}| `data` | large_binary | scene, glb, brep, image |

| kind | how many | holds |
|---|---|---|
{rows}
Rows of one kind are numbered from 0 in their order; kinds that a reader does not know do no harm. Row batches are of
any size: a large mesh has one of its own, so that it is written without a copy. The JSON refers to rows, and to its own
lists, by number. What is not there is null, false or empty, except where a default is named:

| key | holds |
|---|---|
{tree}
A reader of ours checks every number, length and kind, and refuses compressed batches, which may unpack to any size.
Containers of earlier releases (a zip of `manifest.json` and `scene.glb`) are still read.
"""

_ROW_KINDS = (
    "| `scene` | 1 | JSON of the tree, below |",
    "| `glb` | 0 or 1 | the GLB that the scene came as and still is, byte for byte; then there are no other "
    "rows and no tree |",
    "| `matrices` | 0 or 1 | all matrices of occurrences, 16 numbers each, row by row, for column vectors in metres |",
    "| `mesh` | any | vertices in metres, three corners to a triangle (none: a cloud of points), normals, "
    "texture coordinates ((0, 0) is the upper left of an image), sRGB colours with opacity, and for each "
    "triangle its place in the mesh's materials |",
    "| `brep` | any | exact surfaces: OpenCASCADE's binary BRep in millimetres, behind the looks of its faces |",
    "| `image` | any | PNG, JPEG or WebP |",
    "| `keys` | any | seconds and values of the key frames of one animated property |",
)
"""What the rows of a container are."""
_TREE_KEYS = (
    "| `name`, `unit_m`, `up` | of the scene: its name, metres in a unit of the file that it came from, `x`, "
    "`y` or `z` |",
    "| `occurrences` | the tree, parents before their children, the root first: `name`, `parent`, `matrix`, "
    "`part`, `visible` (true), `metadata` (an object of texts, numbers and flags), `annotations` (list of "
    "`name`, `annotations`) |",
    "| `parts` | `name`, `mesh`, `brep`, `metadata` |",
    "| `meshes` | for each mesh row: `materials` (numbers or null), `variants` (for each of these an object: "
    "material by name of the variant) |",
    "| `materials` | `name`, `base_colour`, `metalness`, `roughness`, `emission` (linear, as in glTF), "
    "`base_colour_texture`, `metal_rough_texture`, `normal_texture`, `occlusion_texture`, `emission_texture` "
    "(each `image`, `wrap`, `offset`, `scale`, `rotation`), `alpha_mode`, `alpha_cutoff`, `double_sided`, "
    "`extensions` (of glTF) |",
    "| `images` | for each image row: `name`, `mime` |",
    "| `animations` | `name`, `channels`: `target` (an occurrence), `path`, `keys`, `shape` (of the values), "
    "`interpolation` |",
    "| `variants` | names of the scene's variants |",
)
"""What the JSON of a container holds."""
_KINDS = {"times": "keys", "values": "keys", "matrices": "matrices"}


def page() -> str:
    """The whole page."""
    return "".join((_HEAD, _table(), _EXTRAS, _extras(), _RULES, _container(), _sdk_only()))


def _table() -> str:
    head = "| format | extension | read | write | " + " | ".join(_TRAITS) + " | needs | note |\n"
    rule = "|---|---|:-:|:-:|" + ":-:|" * len(_TRAITS) + "---|---|\n"
    return head + rule + "".join(_row(entry) for entry in TABLE)


def _row(entry: Format) -> str:
    extensions = ", ".join(f"`.{extension}`" for extension in entry.extensions)
    traits = ("x" if trait in entry.survives else "" for trait in _TRAITS)
    cells = (
        entry.name,
        extensions,
        _mark(entry.reader, entry.reader_extra),
        _mark(entry.writer, entry.writer_extra),
        *traits,
        ", ".join(entry.packages),
        entry.note,
    )
    return "| " + " | ".join(cells) + " |\n"


def _mark(target: str | None, extra: str | None) -> str:
    """How a cell says that a format is read or written: with the extra that it needs."""
    return "" if target is None else f"`{extra}`" if extra else "x"


def _extras() -> str:
    uses: dict[str, list[str]] = {name: [] for name in EXTRAS}
    for entry in TABLE:
        for extra, verb in ((entry.reader_extra, "read"), (entry.writer_extra, "write")):
            if extra:
                uses[extra].append(f"{verb} {entry.name}")
    uses["cad"].append("keep exact surfaces")
    uses["render"].append("pictures with VTK")
    return "".join(f"| `{name}` | {package} | {', '.join(uses[name])} |\n" for name, (package, _) in EXTRAS.items())


def _container() -> str:
    columns = "".join(
        f"| `{name}` | `large_list<{kind.__name__}>` | {'mesh' if name in ARRAYS else _KINDS[name]} |\n"
        for name, kind in LISTS.items()
    )
    return _CONTAINER.format(
        producer=PRODUCER_KEY,
        version=VERSION_KEY,
        created=CREATED_KEY,
        number=VERSION,
        columns=columns,
        rows=_lines(_ROW_KINDS),
        tree=_lines(_TREE_KEYS),
    )


def _lines(rows: tuple[str, ...]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _sdk_only() -> str:
    owners: dict[str, list[str]] = {}
    for extension, owner in SDK_ONLY.items():
        owners.setdefault(owner, []).append(f"`.{extension}`")
    lines = "".join(f"- {owner}: {', '.join(extensions)}\n" for owner, extensions in owners.items())
    return f"\n## Only with the Pixyz SDK\n\n{lines}"
