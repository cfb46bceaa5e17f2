"""The text of docs/formats.md, made from the format table."""

from __future__ import annotations

from dataclasses import fields

from pixyz_worker.kernel.formats import SDK_ONLY, TABLE, Format
from pixyz_worker.kernel.pxz_container import MANIFEST, MAX_RATIO, SCENE, VERSION, Manifest

_TRAITS = ("geometry", "names", "colours", "textures", "hierarchy", "instances", "units", "points")

_HEAD = """# Formats

Made by `python -m pixyz_worker.kernel.formats`; a test keeps it equal to the table in
`pixyz_worker/kernel/formats.py`.

`io.importScene(path)` reads and `io.exportScene(path, root)` writes what this table names, by extension.

"""

_RULES = """
## Rules

- **Lengths.** A scene is in metres inside, as glTF is. STEP and 3MF are read as millimetres and COLLADA by
  the unit that it names. A format that knows no unit (OBJ, PLY, STL, OFF, XYZ) is written in the unit of
  the file that the scene came from, so a STEP part of 190 mm becomes an STL of 190 units. What is read from
  such a format keeps its numbers: they count as metres in glTF and COLLADA, and as millimetres in 3MF.
- **Axes.** Coordinates are passed on as they are: a STEP assembly that stands on z does so in the GLB too.
- **Colours.** glTF stores linear light, all others store sRGB; colours are converted between the two. Plain
  colours of STEP become materials without metalness.
- **Instances.** Parts that a STEP assembly repeats are stored once in GLB, glTF, pxz and 3MF.
- **Points.** A cloud of points can be written to the formats that have `points`; others refuse it with a
  sentence.
- **Files.** An export appears under its name when it is whole: it is written to a hidden folder beside it
  first.
- **The SDK.** Where the Pixyz SDK (`pxz`) is installed and `DISABLE_PIXYZ` is not set, all files go through
  it instead.
"""

_CONTAINER = """
## The `.pxz` container

Without the SDK, `.pxz` is our own container, since scripts ask for this extension by default. **Pixyz's own
products cannot read it**, and the job's log says so. A file of Pixyz's products is recognised (it has no
manifest of ours) and refused.

It is a zip (deflate) of two entries, in this order:

| entry | content |
|---|---|
"""


_KEYS = """
`producer` is `pixyz-on-ray`; `version` is {version}, and a newer one is refused; `created` is ISO 8601 in
UTC; `unit_m` is the unit of the file that the scene came from, in metres, or null when it told none;
`scene` names the scene's entry, whose size and SHA-256 follow. Readers pass over keys that they do not
know. An entry that is larger than announced, or that unpacks to more than 16 MiB and {ratio} times its
packed size, is refused. Dates within the zip are fixed: the same scene and `created` give the same bytes.
"""


def page() -> str:
    """The whole page."""
    return "".join((_HEAD, _table(), _RULES, _container(), _sdk_only()))


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
        "x" if entry.reader else "",
        "x" if entry.writer else "",
        *traits,
        ", ".join(entry.packages),
        entry.note,
    )
    return "| " + " | ".join(cells) + " |\n"


def _container() -> str:
    names = ", ".join(f"`{field.name}`" for field in fields(Manifest))
    entries = f"| `{MANIFEST}` | JSON: {names} |\n| `{SCENE}` | the scene as glTF 2.0 binary |\n"
    return _CONTAINER + entries + _KEYS.format(version=VERSION, ratio=MAX_RATIO)


def _sdk_only() -> str:
    owners: dict[str, list[str]] = {}
    for extension, owner in SDK_ONLY.items():
        owners.setdefault(owner, []).append(f"`.{extension}`")
    lines = "".join(f"- {owner}: {', '.join(extensions)}\n" for owner, extensions in owners.items())
    return f"\n## Only with the Pixyz SDK\n\n{lines}"
