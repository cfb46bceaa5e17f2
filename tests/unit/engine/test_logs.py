"""The platform's log: one line for each record, which says what job it is about."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pixyz_ray.logs import LogFormat, configure_logging, job_logger

UUID = "7f3c2a9e-0000-4000-8000-000000000001"
Configure = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configure the log of this process in a format; returns where it goes. Afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def configured(format: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        configure_logging("INFO", format, stream)
        return stream

    yield configured
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log() -> logging.Logger:
    """A logger of the platform."""
    return logging.getLogger("pixyz_ray.cluster.example")


def test_given_json_when_a_job_is_spoken_of_then_the_line_has_its_id(configure: Configure, log: logging.Logger) -> None:
    """Time, level, logger and message are there too; the queue is as the caller adds it."""
    stream = configure("json")
    job_logger(log, UUID, 2).warning("lost its %s", "worker", extra={"queue": "gpu"})
    line = json.loads(stream.getvalue())
    assert datetime.now(UTC) - datetime.fromisoformat(line.pop("time")) < timedelta(minutes=1)
    assert line == {
        "level": "WARNING",
        "logger": "pixyz_ray.cluster.example",
        "message": "lost its worker",
        "job": UUID,
        "attempt": 2,
        "queue": "gpu",
    }


def test_given_text_when_a_job_is_spoken_of_then_its_id_can_be_searched_for(
    configure: Configure, log: logging.Logger
) -> None:
    """The attempt as well where there is one; nothing where there is no job."""
    stream = configure("text")
    job_logger(log, UUID, 2).warning("lost")
    job_logger(log, UUID).info("removed")
    log.info("ready")
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert lines == [
        f"WARNING pixyz_ray.cluster.example [job {UUID} attempt 2] lost",
        f"INFO pixyz_ray.cluster.example [job {UUID}] removed",
        "INFO pixyz_ray.cluster.example ready",
    ]


@pytest.mark.parametrize("format", ["text", "json"])
def test_given_a_record_of_many_lines_when_written_then_it_is_one(
    configure: Configure, log: logging.Logger, format: LogFormat
) -> None:
    """A traceback, and a name that a stranger made to look like a line of ours."""
    stream = configure(format)
    try:
        raise ValueError("a\nb")
    except ValueError:
        job_logger(log, UUID).exception("name: %s", "x\n2025-01-01 INFO forged\r\udc80")
    (line,) = stream.getvalue().splitlines()
    assert UUID in line
    assert "Traceback" in line
    assert "ValueError: a" in line


def test_given_what_json_does_not_know_when_written_then_it_is_its_text(
    configure: Configure, log: logging.Logger
) -> None:
    """A record is never lost for what somebody attached to it."""
    stream = configure("json")
    log.info("%s", 1, extra={"queue": {1, 2}})
    assert json.loads(stream.getvalue())["queue"] == "{1, 2}"


def test_given_a_level_when_configured_again_then_each_record_is_written_once(
    configure: Configure, log: logging.Logger
) -> None:
    """The last configuration counts; what is less severe is not written."""
    before, stream = configure("json"), configure("text")
    log.debug("hidden")
    log.info("shown")
    assert before.getvalue() == ""
    assert stream.getvalue().count("shown") == 1
    assert "hidden" not in stream.getvalue()
