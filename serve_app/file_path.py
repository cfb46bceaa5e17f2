"""The convertor of paths for names of files: Starlette's own stops at a line break, which a file's name may have."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor


class FilePathConvertor(Convertor[str]):
    """`{name:file_path}` in a route takes the rest of the path, whatever is in it."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        """Return the path (called by Starlette)."""
        return value

    def to_string(self, value: str) -> str:
        """Return the path (called by Starlette)."""
        return value


FILE_PATH = "file_path"
"""Name of the convertor."""
register_url_convertor(FILE_PATH, FilePathConvertor())
