"""Pictures that lie beside a 3D file: find them for readers, put them there for writers."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pixyz_worker.file_names import is_remote
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.material import Image

_MAX_BYTES = 1 << 30
_DRIVE = re.compile(r"^/([A-Za-z]:/)")
"""How a URL names a drive of Windows: file:///C:/textures/wood.png."""
_UNSAFE = re.compile(r"[^\w.-]+")


def decoded(data: bytes, name: str = "") -> Image | None:
    """An Image of the bytes of a picture; kinds other than PNG, JPEG and WebP become PNG. None if it is no picture.

    A picture with more pixels than the limits allow is left out too.
    """
    import PIL.Image

    most = Limits.from_environment().max_image_pixels
    try:
        with warnings.catch_warnings():
            # Pillow warns of many pixels; the limits of this kernel hold instead.
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data)) as picture:
                if most and picture.width * picture.height > most:
                    return None
                if picture.format in ("PNG", "JPEG", "WEBP"):
                    return Image(name=name, data=data, mime=f"image/{picture.format.lower()}")
                packed = io.BytesIO()
                picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(packed, "PNG")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
    return Image(name=name, data=packed.getvalue(), mime="image/png")


class ImagesBeside:
    """Finds the pictures that a 3D file refers to, in the folder of that file and below it, nowhere else."""

    def __init__(self, file: Path) -> None:
        self._folder = file.parent.resolve()
        self._found: dict[Path, Image | None] = {}

    def find(self, reference: str) -> Image | None:
        """The picture of a path or URL as the file has it; the same one for the same picture, None if it is not there.

        Of a path that leads out of the folder (the author's own computer, say) the name alone counts.
        """
        for path in self._places(reference):
            if path not in self._found:
                self._found[path] = self._load(path)
            return self._found[path]
        return None

    def _places(self, reference: str) -> list[Path]:
        text = unquote(reference.strip().removeprefix("file://")).replace("\\", "/")
        text = _DRIVE.sub(r"\1", text)
        name = PurePosixPath(text).name
        if not name or "\0" in text or len(text) > 4096:
            return []
        try:
            candidates = (name,) if is_remote(text) else (text, name)
            paths = [(self._folder / candidate).resolve() for candidate in candidates]
            return [path for path in paths if path.is_relative_to(self._folder) and path.is_file()]
        except OSError:
            return []

    def _load(self, path: Path) -> Image | None:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return decoded(path.read_bytes(), path.name)


class ImageWriter:
    """Puts pictures beside a 3D file that is being written, each once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._names: dict[Image, str] = {}

    def put(self, image: Image) -> str:
        """The name of the picture's file, in the folder of the 3D file, whose name it begins with."""
        if image not in self._names:
            plain = _UNSAFE.sub("_", Path(image.name).stem)[:60].strip("._") or "image"
            base = f"{self._file.stem}_{plain}"
            name, number, taken = f"{base}.{image.extension}", 1, set(self._names.values())
            while name in taken or name == self._file.name:
                number += 1
                name = f"{base}_{number}.{image.extension}"
            self._file.with_name(name).write_bytes(image.data)
            self._names[image] = name
        return self._names[image]
