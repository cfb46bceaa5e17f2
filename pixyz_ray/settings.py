"""Settings of the platform, read once into a frozen object: environment over `pixyz-scheduler.conf` over defaults.

The names are those of the scheduler that existing installations configure; new ones are marked. The configuration
file holds `NAME=value` lines. It is `$PIXYZ_CONFIG`, else `pixyz-scheduler.conf` in the current folder, else the one
in the platform's home.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pixyz_ray.home import home
from pixyz_ray.queues import DEFAULT_QUEUES, Queue
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.kernel.limits import Limits

CONFIG_NAME = "pixyz-scheduler.conf"
OPERATOR = "operator"
"""Whose the token of GOD_PASSWORD_SHA256 is."""
LOCAL = "local"
"""Whose this machine's own token is."""
_LIMITS = Limits()


def _processes_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "processes"


class Token(BaseModel):
    """Somebody who may send jobs, beside the operator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$", description="SHA-256 (hex) of the token.")
    share: float = Field(1.0, gt=0, description="Weight among submitters when there is not room for all.")
    concurrency: int | None = Field(None, ge=1, description="Most of its jobs that run at a time.")
    max_queued: int | None = Field(None, ge=1, description="Most of its jobs that may wait.")


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
    pixyz_time_limit: float = Field(
        2400, gt=0, description="Time limit in seconds on cpu, gpu, zip and clean of a job that asks for none."
    )
    pixyz_retry_time_limit: float = Field(
        3600, gt=0, description="The same on gpuhigh and control, and for a retry there."
    )
    pixyz_max_time_limit: float | None = Field(
        None, gt=0, description="New. Longest time limit in seconds that a job may ask for; more is refused with 400."
    )
    cleanup_enabled: bool = Field(False, description="Whether jobs that ended long ago are removed, files and record.")
    cleanup_delay: float = Field(86400, gt=0, description="Seconds after its end that a job is kept.")
    max_tasks_before_shutdown: int = Field(0, ge=0, description="Tasks after which a worker is replaced; 0 is never.")
    max_memory_usage: int = Field(
        0, ge=0, description="Bytes that the processes of one attempt may take; 0 is no limit of its own."
    )
    max_memory_usage_gpuhigh: int = Field(0, ge=0, description="The same on gpuhigh and control.")
    memory_threshold: float = Field(
        0.95,
        ge=0,
        le=1,
        alias="PIXYZ_MEMORY_THRESHOLD",
        description="New. Share of a machine's memory from which on its largest attempt has to go; 0 for never.",
    )
    max_worker_growth: int = Field(
        2 * 2**30, ge=0, description="New. Bytes by which a worker may have grown over its jobs before it is replaced."
    )
    max_log_bytes: int = Field(
        64 * 2**20, ge=2**20, description="New. Size of a job's log; of a longer one the middle is left out."
    )
    max_result_bytes: int = Field(
        32 * 2**20, ge=1024, description="New. Size of a job's result as JSON; what is larger belongs into a file."
    )
    max_import_seconds: float = Field(
        _LIMITS.max_import_seconds,
        ge=0,
        allow_inf_nan=False,
        description="New. Seconds that the process which reads one file may take; 0 is no limit.",
    )
    max_import_bytes: int = Field(
        _LIMITS.max_import_bytes,
        ge=0,
        description="New. Bytes of memory that a process which reads one file may take; 0 is no limit.",
    )
    max_triangles: int = Field(
        _LIMITS.max_triangles, ge=0, description="New. Triangles, or points, that one file may have; 0 is no limit."
    )
    max_image_pixels: int = Field(
        _LIMITS.max_image_pixels, ge=0, description="New. Pixels that one picture of a file may have; 0 is no limit."
    )
    max_archive_entries: int = Field(
        _LIMITS.max_archive_entries,
        ge=0,
        description="New. Files and folders that an input archive may hold; 0 is no limit.",
    )
    max_archive_bytes: int = Field(
        _LIMITS.max_archive_bytes, ge=0, description="New. Bytes that an input archive may unpack to; 0 is no limit."
    )
    max_archive_ratio: float = Field(
        _LIMITS.max_archive_ratio,
        ge=0,
        allow_inf_nan=False,
        description="New. How many times its own size an archive may unpack to, 64 MiB are free; 0 is no limit.",
    )
    max_queued_jobs: int = Field(200_000, ge=1, description="New. Jobs that may wait; more are answered with 429.")
    priority_ageing: float = Field(
        600, gt=0, description="New. Seconds of waiting that count as much as one level of priority."
    )
    concurrent_tasks: int | None = Field(
        None, ge=1, description="CPUs offered to tasks on this machine; all of them when not given."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Verbosity.")
    log_format: Literal["text", "json"] = Field("text", description="New. Form of the platform's own log lines.")
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
        description='New. JSON that changes or adds queues: {"gpu": {"num_gpus": 0.5, "concurrency": 4}}.',
    )
    pools: Mapping[str, int] = Field(
        default_factory=dict,
        alias="PIXYZ_POOLS",
        description='New. JSON with the seats of named pools, such as licences: {"catia": 3}.',
    )
    tokens: Mapping[str, Token] = Field(
        default_factory=dict,
        alias="PIXYZ_TOKENS",
        description='New. JSON with more tokens: {"team": {"sha256": "...", "share": 2, "concurrency": 8}}.',
    )

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="New. Origins whose web pages may call the service, such as `https://app.example.com`: "
        "comma-separated or a JSON list; `*` is any.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, value: Any) -> Any:
        if isinstance(value, str):
            text = value.strip()
            value = json.loads(text) if text.startswith("[") else [one for one in text.split(",") if one.strip()]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ValueError("must be a comma-separated text or a JSON list of origins")
        origins = tuple(one.strip().rstrip("/") for one in value)
        for one in origins:
            if one != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+", one):
                raise ValueError(f"{one!r} is not an origin such as https://app.example.com:8443, nor *")
        return origins

    @field_validator("god_password_sha256")
    @classmethod
    def _is_a_digest(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value.strip()):
            raise ValueError("must be the SHA-256 of your token: 64 hexadecimal digits")
        return value.strip().lower() if value else None

    @field_validator("pools")
    @classmethod
    def _have_seats(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if bad := [name for name, seats in value.items() if seats < 1]:
            raise ValueError(f"pool {bad[0]!r} must have at least 1 seat")
        return value

    @field_validator("tokens")
    @classmethod
    def _are_others(cls, value: Mapping[str, Token]) -> Mapping[str, Token]:
        if taken := {OPERATOR, LOCAL} & value.keys():
            raise ValueError(f"{min(taken)!r} is the platform's own name; choose another")
        return value

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
            InvalidBackendParameter: a change names something that a queue does not have, or has a value of no use.
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
        for queue in table.values():
            if problem := queue.problem(table):
                raise InvalidBackendParameter(f"PIXYZ_QUEUES: queue {queue.name!r}: {problem}")
        return table

    def time_limit_of(self, queue: Queue) -> float:
        """Return the seconds that one run on that queue may take, unless the job asks for another limit."""
        usual = self.pixyz_retry_time_limit if queue.long else self.pixyz_time_limit
        return usual if self.pixyz_max_time_limit is None else min(usual, self.pixyz_max_time_limit)

    def memory_limit_of(self, queue: Queue) -> int | None:
        """Return the most bytes that one attempt on that queue may take; None for no limit."""
        usual = self.max_memory_usage_gpuhigh if queue.long else self.max_memory_usage
        return queue.memory_limit or usual or None

    def submitter_of(self, token: str, local_token_sha256: str) -> str | None:
        """Return whose a caller's token is, or None; each comparison takes the same time, right or wrong."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        known = {OPERATOR: self.god_password_sha256 or "", LOCAL: local_token_sha256}
        known |= {name: one.sha256.lower() for name, one in self.tokens.items()}
        found = [name for name, sha256 in known.items() if hmac.compare_digest(digest, sha256)]
        return found[0] if found else None


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
    "pools": "`{}`",
    "tokens": "`{}`",
    "concurrent_tasks": "all CPUs",
    "cors_origins": "none",
}


if __name__ == "__main__":
    print(settings_table())
