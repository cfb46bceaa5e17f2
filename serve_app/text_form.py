"""The urlencoded form of `POST /jobs`: texts alone, for a pre-built process that needs no file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import QuerystringParseError
from python_multipart.multipart import QuerystringParser
from starlette.requests import Request

from pixyz_ray.form_fields import FORM_FIELDS, TEXT_FIELDS, UnknownFields
from pixyz_ray.settings import Settings
from pixyz_ray.submission import Request as Submission
from serve_app.errors import BadRequest, UploadTooLarge
from serve_app.request_body import request_body

if TYPE_CHECKING:
    # The library defines it for type checkers alone.
    from python_multipart.multipart import QuerystringCallbacks

_FILES = frozenset(FORM_FIELDS) - frozenset(TEXT_FIELDS)
_MAX_FIELDS = 100
_MAX_NAME_BYTES = 1024
_BYTES_PER_CHAR = 3
"""What one byte may take while it is percent-encoded."""


class TextForm:
    """Reads one urlencoded form; all of it is small and stays in memory.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._count = 0
        self._name = bytearray()
        self._value = bytearray()
        self._fields: dict[str, str] = {}
        self._unknown = UnknownFields()

    async def read(self, request: Request) -> Submission:
        """Read the whole request.

        Raises:
            BadRequest: it is not an urlencoded form, or has a field that only a multipart form can have.
            UploadTooLarge: it, or one of its fields, is larger than the server accepts.
        """
        parser = QuerystringParser(self._callbacks())
        try:
            async for chunk in request_body(request, self._settings.max_upload_bytes):
                parser.write(chunk)
            parser.finalize()
        except QuerystringParseError as error:
            raise BadRequest(f"The form cannot be read: {error}") from None
        return Submission(
            process=self._fields.get("process") or "custom",
            params=self._fields.get("params", ""),
            name=self._fields.get("name", ""),
            config=self._fields.get("config", ""),
            unknown_fields=self._unknown.names(),
        )

    # --- The parser's callbacks, in the order in which they come ----------------------------------------------------

    def _callbacks(self) -> QuerystringCallbacks:
        return {
            "on_field_start": self._begin,
            "on_field_name": self._take_name,
            "on_field_data": self._take_value,
            "on_field_end": self._end,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MAX_FIELDS:
            raise BadRequest(f"The form has more than {_MAX_FIELDS} fields.")
        self._name.clear()
        self._value.clear()

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        if len(self._name) > _MAX_NAME_BYTES:
            raise BadRequest(f"The form has a field whose name is longer than {_MAX_NAME_BYTES} bytes.")

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > _BYTES_PER_CHAR * self._settings.max_field_bytes:
            raise self._too_large(_decoded(self._name).decode("utf-8", "replace"))

    def _end(self) -> None:
        name = _decoded(self._name).decode("utf-8", "replace")
        value = _decoded(self._value)
        self._unknown.add(name)
        if len(value) > self._settings.max_field_bytes:
            raise self._too_large(name)
        if "\0" in name:
            raise BadRequest("The form has a field with a null byte in its name.")
        if name in _FILES and value:
            raise BadRequest(f"Field {name!r} cannot come in an urlencoded form: send a multipart/form-data form.")
        if name in TEXT_FIELDS and value:
            if name in self._fields:
                raise BadRequest(f"The form has field {name!r} twice: send it once.")
            try:
                self._fields[name] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadRequest(f"Field {name!r} is not UTF-8: {error.reason} at byte {error.start}.") from None

    def _too_large(self, name: str) -> UploadTooLarge:
        return UploadTooLarge(f"Field {name!r} is larger than {self._settings.max_field_bytes} bytes.")


def _decoded(text: bytearray) -> bytes:
    return unquote_to_bytes(bytes(text).replace(b"+", b" "))
