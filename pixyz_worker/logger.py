"""Loggers whose lines land in the job's log, or on stderr on a workstation."""

from __future__ import annotations

import logging
import os
import sys

_SHOWN = "_pixyz_shown"
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


def get_logger(name: str = "pixyz_worker") -> logging.Logger:
    """Return the logger of a name, which shows lines of level INFO and above on stderr.

    LOG_LEVEL (or LOGLEVEL, its old name) in the environment is another level. A program that configures logging by
    itself, with logging.basicConfig() for example, gets the lines through its own handlers instead.
    """
    logger = logging.getLogger(name)
    logger.setLevel(_level())
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())
    return logger


def _level() -> str:
    wanted = (os.environ.get("LOGLEVEL") or os.environ.get("LOG_LEVEL") or "").strip().upper()
    return wanted if wanted in _LEVELS else "INFO"


class _StderrHandler(logging.Handler):
    """Writes to the current sys.stderr, since each job has its own."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("[%(asctime)s: %(levelname)s/%(name)s] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless the program has its own handlers, or a child logger has written it."""
        if logging.getLogger().handlers or getattr(record, _SHOWN, False):
            return
        setattr(record, _SHOWN, True)
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)
