"""Settings of the platform, read once into a frozen object: environment over `pixyz-scheduler.conf` over defaults.

The names are those of the scheduler that existing installations configure; new ones are marked. The configuration
file holds `NAME=value` lines. It is `$PIXYZ_CONFIG`, else `pixyz-scheduler.conf` in the current folder, else the one
in the platform's home.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pixyz_ray.home import home
from pixyz_ray.queues import DEFAULT_QUEUES, Queue
from pixyz_worker.exception import InvalidBackendParameter

CONFIG_NAME = "pixyz-scheduler.conf"


def _processes_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "processes"


class Settings(BaseSettings):
    """What an operator may set. A field's upper-case name is its name in the environment and in the file."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    api_host: str = Field("127.0.0.1", description="New. Address that the HTTP service listens on.")
    api_port: int = Field(8001, ge=1, le=65535, description="Port of the HTTP service.")
    god_password_sha256: str | None = Field(
        None, description="SHA-256 (hex) of the token that callers send as x-api-key."
    )
    share_path: Path = Field(
        default_factory=lambda: home() / "share", description="Folder of the jobs' files, shared by all nodes."
    )
    process_path: Path = Field(default_factory=_processes_folder, description="Folder of the pre-built processes.")
    pixyz_python_path: Path | None = Field(None, description="Folder of the genuine Pixyz SDK's Python modules.")
    license_host: str | None = Field(None, description="Host of the licence server.")
    license_port: int | None = Field(None, description="Port of the licence server.")
    license_flexlm: bool = Field(False, description="Whether the licence server is FlexLM.")
    license_acquire_at_start: bool = Field(False, description="Take the licence when a worker starts.")
    disable_pixyz: bool = Field(False, description="Use the open kernel even where the Pixyz SDK is installed.")
    pixyz_time_limit: float = Field(2400, gt=0, description="Seconds that a run on cpu, gpu, zip or clean may take.")
    pixyz_retry_time_limit: float = Field(3600, gt=0, description="Seconds that a run on gpuhigh or control may take.")
    cleanup_enabled: bool = Field(False, description="Whether old jobs are removed (not acted on yet).")
    cleanup_delay: float = Field(
        86400, gt=0, description="Age in seconds of an ended job to remove (not acted on yet)."
    )
    max_tasks_before_shutdown: int = Field(0, ge=0, description="Tasks after which a worker is replaced; 0 is never.")
    max_memory_usage: int = Field(0, ge=0, description="Memory limit of a task in bytes (not acted on yet).")
    max_memory_usage_gpuhigh: int = Field(0, ge=0, description="The same on gpuhigh (not acted on yet).")
    concurrent_tasks: int | None = Field(
        None, ge=1, description="CPUs offered to tasks on this machine; all of them when not given."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Verbosity.")
    debug: bool = Field(False, description="Answer internal errors with their traceback.")
    job_store_url: str = Field(
        default_factory=lambda: f"sqlite:///{home() / 'jobs.db'}",
        description="New. SQLAlchemy URL of the job records: SQLite or PostgreSQL.",
    )
    max_upload_bytes: int = Field(64 * 2**30, ge=1, description="New. Largest request that may be uploaded.")
    max_field_bytes: int = Field(16 * 2**20, ge=1, description="New. Largest form field (params, config).")
    queues: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict,
        alias="PIXYZ_QUEUES",
        description='New. JSON that changes or adds queues: {"gpu": {"num_gpus": 0.5, "labels": {"zone": "a"}}}.',
    )

    @field_validator("god_password_sha256")
    @classmethod
    def _is_a_digest(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value.strip()):
            raise ValueError("must be the SHA-256 of your token: 64 hexadecimal digits")
        return value.strip().lower() if value else None

    @field_validator("share_path", "process_path")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _is_upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_safe(self) -> Settings:
        if not self.god_password_sha256 and not _is_loopback(self.api_host):
            raise ValueError(
                f"API_HOST {self.api_host} can be reached from other machines, so a token of your own is needed: "
                "set GOD_PASSWORD_SHA256 to the SHA-256 of a long random token"
            )
        return self

    @cached_property
    def queue_table(self) -> Mapping[str, Queue]:
        """The queues in force: the default table with the operator's changes.

        Raises:
            InvalidBackendParameter: a change names something that a queue does not have.
        """
        table = dict(DEFAULT_QUEUES)
        known = {field.name for field in dataclass_fields(Queue)} - {"name"}
        for name, changes in self.queues.items():
            if unknown := set(changes) - known:
                raise InvalidBackendParameter(
                    f"PIXYZ_QUEUES: queue {name!r} has no setting {', '.join(sorted(unknown))}. "
                    f"Use: {', '.join(sorted(known))}."
                )
            base = table.get(name) or Queue(name=name, purpose="set by the operator", num_cpus=1)
            table[name] = replace(base, **changes)
        return table

    def time_limit_of(self, queue: Queue) -> float:
        """Return the longest time in seconds that one run on that queue may take."""
        return self.pixyz_retry_time_limit if queue.long else self.pixyz_time_limit

    def accepts_token(self, token: str, local_token_sha256: str) -> bool:
        """Tell whether a caller's token is the operator's or this machine's own, in constant time."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        local = hmac.compare_digest(digest, local_token_sha256)
        if self.god_password_sha256 is None:
            return local
        return hmac.compare_digest(digest, self.god_password_sha256) or local


def load_settings(**overrides: Any) -> Settings:
    """Read environment and configuration file into Settings; overrides win.

    Raises:
        InvalidBackendParameter: a value is not usable; the message names the setting and what it must be.
    """
    given = os.environ.get("PIXYZ_CONFIG")
    candidates = [Path(given)] if given else [Path(CONFIG_NAME), home() / CONFIG_NAME]
    file = next((path for path in candidates if path.is_file()), None)
    if given and file is None:
        raise InvalidBackendParameter(f"PIXYZ_CONFIG names {given}, which is not a file.")
    try:
        return Settings(_env_file=file, **overrides)  # type: ignore[call-arg]
    except ValueError as error:
        raise InvalidBackendParameter(_explain(error)) from None


def _explain(error: ValueError) -> str:
    problems = getattr(error, "errors", None)
    if problems is None:
        return f"Settings: {error}"
    lines = [
        f"{'.'.join(str(part) for part in problem['loc']).upper() or 'Settings'}: "
        f"{problem['msg'].removeprefix('Value error, ')}"
        for problem in problems()
    ]
    return "Settings cannot be used. " + "; ".join(lines)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def settings_table() -> str:
    """Return the settings as a Markdown table, for the documents."""
    rows = ["| name | default | what |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = _DEFAULTS_IN_WORDS.get(name) or ("none" if info.default is None else f"`{info.default}`")
        rows.append(f"| `{info.alias or name.upper()}` | {default} | {info.description} |")
    return "\n".join(rows)


_DEFAULTS_IN_WORDS = {
    "share_path": "`$PIXYZ_HOME/share`",
    "process_path": "the processes that come with it",
    "job_store_url": "`sqlite:///$PIXYZ_HOME/jobs.db`",
    "queues": "`{}`",
    "concurrent_tasks": "all CPUs",
}


if __name__ == "__main__":
    print(settings_table())
