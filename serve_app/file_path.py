"""Names of files in the paths of requests, in any encoding, with line breaks, at which Starlette's convertor stops."""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request


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


def name_in(request: Request, path: str) -> str:
    """Return the name at the end of a request's path, as the file system has it.

    Args:
        request: the request.
        path: the same as the server has decoded it; what is no UTF-8 is replaced in it.
    """
    raw: bytes = request.scope.get("raw_path") or b""
    if "\ufffd" not in path or not raw:
        return path
    depth = request.scope["path"].removesuffix(path).count("/")
    return os.fsdecode(unquote_to_bytes(raw.split(b"/", depth)[-1]))
