"""Arguments of `serve_app:app`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pixyz_worker.exception import InvalidBackendParameter
from serve_app.arguments import AppArguments


def test_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a setting in the environment and as an argument, as text or typed, then the argument counts."""
    monkeypatch.setenv("API_PORT", "8001")
    monkeypatch.setenv("MAX_QUEUED_JOBS", "7")
    settings = AppArguments.model_validate(
        {"API_PORT": "8123", "pixyz_queues": {"gpu": {"concurrency": 4}}, "max_field_bytes": "1MB"}
    ).settings()
    assert (settings.api_port, settings.max_queued_jobs, settings.max_field_bytes) == (8123, 7, 1 << 20)
    assert settings.queue_table["gpu"].concurrency == 4


def test_unknown_argument() -> None:
    """Given an argument that is no setting, then the error has the nearest one."""
    with pytest.raises(ValidationError, match=r"no setting 'api_prot'\. Did you mean api_port"):
        AppArguments.model_validate({"api_prot": 1})


def test_bad_value() -> None:
    """Given a value that cannot be used, then the error names setting and value."""
    with pytest.raises(InvalidBackendParameter, match="API_PORT=none"):
        AppArguments.model_validate({"api_port": "none"}).settings()
