"""Uploads: the multipart form of `POST /jobs`, written to the job's folder as it arrives, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.form_fields import FORM_FIELDS, TEXT_FIELDS, UnknownFields
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder, plain_name
from pixyz_ray.submission import Request as Submission
from serve_app.errors import BadRequest, UploadTooLarge
from serve_app.request_body import request_body
from serve_app.text_form import TextForm
from serve_app.uploaded_input import UploadedInput

if TYPE_CHECKING:
    # The library defines it for type checkers alone.
    from python_multipart.multipart import MultipartCallbacks

_TEXT_FIELDS = (*TEXT_FIELDS, "graph")
_MAX_PARTS = 100
_MAX_BOUNDARY_BYTES = 70
"""What RFC 2046 allows."""
_ENCODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})
"""Values of a part's Content-Transfer-Encoding that leave its content unchanged."""


@dataclass(slots=True)
class _Part:
    """The part of the form that is being read."""

    name: str = ""
    file_name: str | None = None
    size: int = 0
    content: bytearray = field(default_factory=bytearray)
    is_input: bool = False
    """Whether its content goes to the job's input."""


async def read_form(request: Request, folder: JobFolder, settings: Settings) -> Submission:
    """Read the form of `POST /jobs`, multipart or urlencoded.

    Args:
        request: the request.
        folder: folder of the job to come.
        settings: limits.

    Raises:
        BadRequest: it is not a form, or not a valid one.
        UploadTooLarge: it is larger than the server accepts.
        EngineNotReady: the share has no room for it, or is not there.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"application/x-www-form-urlencoded":
        return await TextForm(settings).read(request)
    return await JobForm(folder, settings).read(request)


class JobForm:
    """Reads one form: the input goes to disk, everything else is small and stays in memory.

    Args:
        folder: folder of the job to come.
        settings: limits.
    """

    def __init__(self, folder: JobFolder, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._part = _Part()
        self._header = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._parts = 0
        self._fields: dict[str, str] = {}
        self._scripts: dict[str, bytes] = {}
        self._input: UploadedInput | None = None
        self._unknown = UnknownFields()
        self._complete = False

    async def read(self, request: Request) -> Submission:
        """Read the whole request.

        Raises:
            BadRequest: it is no form of this kind, or ends before its closing boundary.
            UploadTooLarge: it is larger than the server takes.
            EngineNotReady: the share has no room for it, or is not there.
        """
        parser = MultipartParser(_boundary(request), self._callbacks())
        try:
            async for chunk in request_body(request, self._settings.max_upload_bytes):
                parser.write(chunk)
                if self._input is not None:
                    await self._input.write()
            # The parser itself does not say whether it has seen the closing boundary.
            if not self._complete:
                raise BadRequest("The form ends before its closing boundary: it was cut off. Send it again.")
        except MultipartParseError as error:
            raise BadRequest(f"The form cannot be read: {error}.") from None
        except OSError as error:
            raise EngineNotReady(f"The job's files cannot be written: {error.strerror or error}.") from error
        finally:
            if self._input is not None:
                await self._input.close()
        return self._submission()

    def _submission(self) -> Submission:
        if len(self._scripts) > 1 and not self._fields.get("graph"):
            raise BadRequest("The form has more than one script: send one, or a 'graph' that uses them.")
        name, content = next(iter(self._scripts.items()), (None, None))
        return Submission(
            process=self._fields.get("process") or "custom",
            script_name=name,
            script=content,
            input_file=None if self._input is None else self._input.name,
            params=self._fields.get("params", ""),
            name=self._fields.get("name", ""),
            config=self._fields.get("config", ""),
            graph=self._fields.get("graph", ""),
            unknown_fields=self._unknown.names(),
            more_scripts={other: self._scripts[other] for other in self._scripts if other != name},
        )

    # --- The parser's callbacks, in the order in which they come ----------------------------------------------------

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise BadRequest(f"The form has more than {_MAX_PARTS} parts.")
        self._part = _Part()
        self._headers = {}

    def _header_end(self) -> None:
        name, value = bytes(self._header[0]).lower(), bytes(self._header[1])
        if name in self._headers:
            raise BadRequest(f"Part {self._parts} of the form has the header {name.decode('latin-1')!r} twice.")
        self._headers[name] = value
        self._header = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not self._part.name:
            raise BadRequest(
                f"Part {self._parts} of the form has no name: it needs a header "
                'Content-Disposition: form-data; name="FIELD".'
            )
        if "\0" in self._part.name:
            raise BadRequest(f"The name of part {self._parts} of the form has a null byte in it.")
        encoding = self._headers.get(b"content-transfer-encoding", b"").strip().lower()
        if encoding not in _ENCODINGS:
            # Taken as it is, the content would be another than the sender's.
            raise BadRequest(
                f"Part {self._part.name[:100]!r} comes with Content-Transfer-Encoding "
                f"{encoding[:100].decode('latin-1')!r}: send its bytes unencoded."
            )
        self._unknown.add(self._part.name)
        if b"filename" in options:
            self._part.file_name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.name == "file" and part.file_name is not None:
            if not part.is_input:
                self._begin_input(part.file_name)
            assert self._input is not None
            self._input.add(data[start:end] if (start, end) != (0, len(data)) else data)
        elif part.name == "script" and part.size > self._settings.max_script_bytes:
            raise UploadTooLarge(
                f"The script takes more than {self._settings.max_script_bytes} bytes (MAX_SCRIPT_BYTES). "
                "Move its data into an input file, and read that when the script runs."
            )
        elif part.name != "script" and part.size > self._settings.max_field_bytes:
            raise UploadTooLarge(self._too_large(part.name))
        elif part.name == "script" or part.name in _TEXT_FIELDS:
            part.content += data[start:end]

    def _too_large(self, name: str) -> str:
        sentence = f"Field {name[:100]!r} is larger than {self._settings.max_field_bytes} bytes."
        if name in FORM_FIELDS:
            return sentence
        return f"{sentence} There is no such field: send the input as 'file'. Fields: {', '.join(FORM_FIELDS)}."

    def _end(self) -> None:
        part = self._part
        if part.name == "file" and part.file_name is not None and (part.file_name or part.size):
            # An empty file with a name is an input all the same; without one it is an empty part.
            if not part.is_input:
                self._begin_input(part.file_name)
            assert self._input is not None
            self._input.finish()
        elif part.name == "file" and part.size:
            raise BadRequest("Field 'file' came as a text: send a file, with its name (with curl: -F file=@PATH).")
        elif part.name == "script" and (part.content or part.file_name):
            name = plain_name(part.file_name or "", "script.py")
            if name in self._scripts:
                raise BadRequest(f"The form has two scripts named {name!r}.")
            self._scripts[name] = bytes(part.content)
        elif part.name in _TEXT_FIELDS and part.size:
            if part.name in self._fields:
                raise BadRequest(f"The form has field {part.name!r} twice: send it once.")
            self._fields[part.name] = _text(part)

    def _finish(self) -> None:
        self._complete = True

    def _begin_input(self, name: str) -> None:
        if self._input is not None:
            raise BadRequest("The form has more than one input: send one 'file', or an archive of several.")
        self._part.is_input = True
        self._input = UploadedInput(self._folder, plain_name(name, "input"))


def _text(part: _Part) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"Field {part.name!r} is not UTF-8: {error.reason} at byte {error.start}.") from None


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadRequest(
            "Send a multipart/form-data form with the fields process, script, file, params, name, config; "
            "for a pre-built process without a file, application/x-www-form-urlencoded will do."
        )
    boundary = options[b"boundary"]
    if len(boundary) > _MAX_BOUNDARY_BYTES:
        raise BadRequest(
            f"The form's boundary is {len(boundary)} bytes long; at most {_MAX_BOUNDARY_BYTES} are allowed."
        )
    return boundary
