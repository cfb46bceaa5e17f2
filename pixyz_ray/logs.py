"""The platform's own log: one line for each record, as text or as JSON, with the id of the job that it is about."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

LogFormat = Literal["text", "json"]

_SUBJECT = ("job", "attempt", "queue")
"""What a record may be about: attributes that it carries."""


class TextFormatter(logging.Formatter):
    """Lines for people: `TIME LEVEL LOGGER [job ID attempt 2] MESSAGE`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line (called by logging); line breaks in it are written as `\\n`."""
        subject = " ".join(f"{name} {value}" for name, value in _subject(record).items())
        parts = [
            _time(record),
            record.levelname,
            record.name,
            f"[{subject}]" if subject else "",
            record.getMessage(),
        ]
        text = "\n".join(filter(None, (" ".join(filter(None, parts)), self._trace(record))))
        # What strangers named must not look like a line of ours.
        return text.replace("\r", "\\r").replace("\n", "\\n")

    def _trace(self, record: logging.LogRecord) -> str:
        return "" if record.exc_info is None else self.formatException(record.exc_info)


class JsonFormatter(logging.Formatter):
    """Lines for programs: an object with time, level, logger, message, and what the record is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON in ASCII (called by logging)."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_subject(record),
        }
        if record.exc_info is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


_FORMATTERS: Mapping[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of `configure_logging`, known by its class."""


def configure_logging(level: str | int, format: LogFormat = "text", stream: TextIO | None = None) -> None:
    """Make this process write its log; calling it again replaces what was configured before.

    Args:
        level: least severity that is written, such as INFO.
        format: text for people, or JSON, an object for each line.
        stream: where to; standard error when None.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[format]())
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger all of whose records are about one job; made by `job_logger`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the job to a record (called by logging); what its caller adds stays."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


def job_logger(logger: logging.Logger, uuid: str, attempt: int | None = None) -> JobLogger:
    """Return a logger for what concerns one job.

    Args:
        logger: where its records go.
        uuid: id of the job.
        attempt: number of the attempt; None where it concerns the whole job.
    """
    return JobLogger(logger, {"job": uuid} if attempt is None else {"job": uuid, "attempt": attempt})


def _subject(record: logging.LogRecord) -> dict[str, Any]:
    about = ((name, getattr(record, name, None)) for name in _SUBJECT)
    return {name: value for name, value in about if value is not None}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
