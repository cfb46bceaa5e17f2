"""Settings of the platform, checked once into a frozen object.

The command line wins over the environment, the environment over the configuration file (see config_file.py), the file
over the defaults. The names are those of the scheduler that existing installations configure; new ones are marked.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from pixyz_ray.home import home
from pixyz_ray.queue_settings import check_queue_name, make_queue_table, queue_changes
from pixyz_ray.queues import Queue
from pixyz_ray.setting_problems import Conflict, problems_of
from pixyz_ray.setting_reading import Reading, notes_on
from pixyz_ray.setting_sources import COMMAND_LINE, Draft, Given, collect
from pixyz_ray.setting_types import (
    JSON_OBJECT,
    HostPatterns,
    Names,
    Networks,
    OldSize,
    OptionalSeconds,
    Origins,
    Seconds,
    Size,
    Umask,
)
from pixyz_ray.token_settings import Token
from pixyz_worker.kernel.limits import Limits

OPERATOR = "operator"
"""Whose the token of GOD_PASSWORD_SHA256 is."""
LOCAL = "local"
"""Whose this machine's own token is."""
PIXYZ_FOLDER = Path("/opt/pixyz")
"""Where installations of the Pixyz SDK are by default."""
_LIMITS = Limits()
_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}


def _processes_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "processes"


class Settings(BaseSettings):
    """What an operator may set. A field's upper-case name is its name in the environment and in the file."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    api_host: str = Field("127.0.0.1", description="New. Address that the HTTP service listens on.")
    api_port: int = Field(8001, ge=1, le=65535, description="Port of the HTTP service.")
    tracker_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="New. Port on which the tracker listens for the other machines of a cluster; 0 is any free one.",
    )
    god_password_sha256: str | None = Field(
        None, validate_default=True, description="SHA-256 (hex) of the token that callers send as x-api-key."
    )
    share_path: Path = Field(
        default_factory=lambda: home() / "share", description="Folder of the jobs' files, shared by all nodes."
    )
    share_umask: Umask = Field(
        None,
        description="New. Rights that files on the share do not give to others, as octal umask: with 022 everybody can "
        "read them, with 027 the group, with 077 nobody else.",
    )
    process_path: Path = Field(default_factory=_processes_folder, description="Folder of the pre-built processes.")
    pixyz_python_path: Path | None = Field(
        default_factory=lambda: PIXYZ_FOLDER if PIXYZ_FOLDER.is_dir() else None,
        description="Folder of the genuine Pixyz SDK's Python modules.",
    )
    license_host: str | None = Field(None, description="Host of the licence server.")
    license_port: int | None = Field(None, ge=1, le=65535, description="Port of the licence server.")
    license_flexlm: bool = Field(False, description="Whether the licence server is FlexLM.")
    license_acquire_at_start: bool = Field(False, description="Take the licence when a worker starts.")
    disable_pixyz: bool = Field(False, description="Use the open kernel even where the Pixyz SDK is installed.")
    pixyz_time_limit: Seconds = Field(
        2400, gt=0, description="Time limit in seconds on cpu, gpu, zip and clean of a job that asks for none."
    )
    pixyz_retry_time_limit: Seconds = Field(
        3600, gt=0, description="The same on gpuhigh and control, and for a retry there."
    )
    pixyz_max_time_limit: OptionalSeconds = Field(
        None, gt=0, description="New. Longest time limit in seconds that a job may ask for; more is refused with 400."
    )
    cleanup_enabled: bool = Field(False, description="Whether jobs that ended long ago are removed, files and record.")
    cleanup_delay: Seconds = Field(86400, gt=0, description="Seconds after its end that a job is kept.")
    max_tasks_before_shutdown: int = Field(0, ge=0, description="Tasks after which a worker is replaced; 0 is never.")
    max_memory_usage: OldSize = Field(
        0,
        ge=0,
        description="Memory that the processes of one attempt may take, in KB unless it has a unit; 0 is no limit of "
        "its own.",
    )
    max_memory_usage_gpuhigh: OldSize = Field(0, ge=0, description="The same on gpuhigh and control.")
    memory_threshold: float = Field(
        0.95,
        ge=0,
        le=1,
        alias="PIXYZ_MEMORY_THRESHOLD",
        description="New. Share of a machine's memory from which on its largest attempt has to go; 0 for never.",
    )
    max_worker_growth: Size = Field(
        2 * 2**30, ge=0, description="New. Bytes by which a worker may have grown over its jobs before it is replaced."
    )
    max_log_bytes: Size = Field(
        64 * 2**20, ge=2**20, description="New. Size of a job's log; of a longer one the middle is left out."
    )
    max_result_bytes: Size = Field(
        32 * 2**20, ge=1024, description="New. Size of a job's result as JSON; what is larger belongs into a file."
    )
    max_import_seconds: Seconds = Field(
        _LIMITS.max_import_seconds,
        ge=0,
        allow_inf_nan=False,
        description="New. Seconds that the process which reads one file may take; 0 is no limit.",
    )
    max_import_bytes: Size = Field(
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
    max_archive_bytes: Size = Field(
        _LIMITS.max_archive_bytes, ge=0, description="New. Bytes that an input archive may unpack to; 0 is no limit."
    )
    max_archive_ratio: float = Field(
        _LIMITS.max_archive_ratio,
        ge=0,
        allow_inf_nan=False,
        description="New. How many times its own size an archive may unpack to, 64 MiB are free; 0 is no limit.",
    )
    max_queued_jobs: int = Field(200_000, ge=1, description="New. Jobs that may wait; more are answered with 429.")
    priority_ageing: Seconds = Field(
        600, gt=0, description="New. Seconds of waiting that count as much as one level of priority."
    )
    concurrent_tasks: int | None = Field(
        None,
        ge=1,
        description="CPUs offered to tasks on this machine; all of them when not given. On a cluster that is joined, "
        "`ray start --num-cpus` says so for each machine.",
    )
    gpu_expected: bool | None = Field(
        None,
        description="New. Whether machines with GPUs join when they are needed: jobs of a GPU queue then wait for one "
        "and do not run on CPU. Not given: whether Ray's autoscaler has a node type with GPUs.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Verbosity.")
    log_format: Literal["text", "json"] = Field("text", description="New. Form of the platform's own log lines.")
    debug: bool = Field(False, description="Answer internal errors with their traceback.")
    job_store_url: str = Field(
        default_factory=lambda: f"sqlite:///{home() / 'jobs.db'}",
        description="New. SQLAlchemy URL of the job records: SQLite or PostgreSQL.",
    )
    max_upload_bytes: Size = Field(64 * 2**30, ge=1, description="New. Largest request that may be uploaded.")
    max_field_bytes: Size = Field(16 * 2**20, ge=1, description="New. Largest form field (params, config).")
    max_script_bytes: Size = Field(
        2**20, ge=1024, description="New. Largest script; its data belongs into an input file."
    )
    queue_name: Names = Field(
        (), description="Names of queues, with commas between them; one that is not known becomes a queue like cpu."
    )
    queues: Annotated[Mapping[str, Mapping[str, Any]], *JSON_OBJECT] = Field(
        default_factory=dict,
        alias="PIXYZ_QUEUES",
        description='New. JSON that changes or adds queues: {"gpu": {"num_gpus": 0.5, "concurrency": 4}}.',
    )
    pools: Annotated[Mapping[str, int], *JSON_OBJECT] = Field(
        default_factory=dict,
        alias="PIXYZ_POOLS",
        description='New. JSON with the seats of named pools, such as licences: {"catia": 3}.',
    )
    tokens: Annotated[Mapping[str, Token], *JSON_OBJECT] = Field(
        default_factory=dict,
        alias="PIXYZ_TOKENS",
        description='New. JSON with more tokens: {"team": {"sha256": "...", "share": 2, "concurrency": 8}}.',
    )

    cors_origins: Origins = Field(
        (),
        description="New. Origins whose web pages may call the service, such as `https://app.example.com`: "
        "comma-separated or a JSON list; `*` is any.",
    )
    allowed_hosts: HostPatterns = Field(
        (),
        description="New. Names by which callers without a token may reach the service, beside addresses, `localhost` "
        "and this machine's own names: comma-separated; `*.example.org` is any name below it, `*` any at all.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="New. Addresses or networks of reverse proxies: their connections have no limit per address, and "
        "what they say of the caller's address is believed.",
    )
    api_replicas: int = Field(
        1,
        ge=1,
        description="New. Machines on which the HTTP service runs, the head among them, each on API_PORT; "
        "`pixyz nginx` prints the configuration of one address for all of them.",
    )
    api_header_timeout: Seconds = Field(
        15, gt=0, allow_inf_nan=False, description="New. Seconds that a request's header may take to arrive."
    )
    api_stall_timeout: Seconds = Field(
        60,
        gt=0,
        allow_inf_nan=False,
        description="New. Seconds without a byte after which an upload, or a download that nobody reads, is dropped.",
    )
    api_max_half_open: int = Field(
        4096, ge=1, description="New. Connections that may be open without a complete header; the oldest gives way."
    )
    api_max_half_open_per_address: int = Field(256, ge=1, description="New. The same from one address.")

    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("god_password_sha256")
    @classmethod
    def _is_a_digest(cls, value: str | None, info: ValidationInfo) -> str | None:
        host = info.data.get("api_host", "localhost")
        if not value and not _is_loopback(host):
            raise Conflict(
                "must be set, since {other} can be reached from other machines: "
                "set it to the SHA-256 of a long random token",
                other="API_HOST",
            )
        if value and not re.fullmatch(r"[0-9a-fA-F]{64}", value.strip()):
            raise ValueError('must be the SHA-256 of your token, 64 hexadecimal digits: printf %s "TOKEN" | sha256sum')
        return value.strip().lower() if value else None

    @field_validator("tracker_port")
    @classmethod
    def _is_its_own(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("api_port"):
            raise Conflict("is the port of {other} too: give each a port of its own", other="API_PORT")
        return value

    @field_validator("api_replicas")
    @classmethod
    def _can_be_reached(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and _is_loopback(info.data.get("api_host", "0.0.0.0")):
            raise Conflict(
                "is more than 1, but no other machine can reach {other}: set that to 0.0.0.0", other="API_HOST"
            )
        return value

    @field_validator("queue_name")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            check_queue_name(name)
        return value

    @field_validator("queues")
    @classmethod
    def _make_a_table(cls, value: Mapping[str, Mapping[str, Any]], info: ValidationInfo) -> Mapping[str, Any]:
        changes = {name: queue_changes(name, given) for name, given in value.items()}
        make_queue_table(info.data.get("queue_name", ()), changes)
        return changes

    @field_validator("pools")
    @classmethod
    def _have_seats(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if bad := [name for name, seats in value.items() if seats < 1]:
            raise ValueError(f"is of no use: pool {bad[0]!r} must have at least 1 seat")
        return value

    @field_validator("tokens")
    @classmethod
    def _are_others(cls, value: Mapping[str, Token]) -> Mapping[str, Token]:
        if taken := {OPERATOR, LOCAL} & value.keys():
            raise ValueError(f"cannot be used: {min(taken)!r} is the platform's own name; choose another")
        return value

    @field_validator("share_path", "process_path", "pixyz_python_path")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if not str(value).isprintable():
            raise ValueError("has a character that cannot be printed: write the path of a folder")
        try:
            folder = value.expanduser().absolute()
            is_file = folder.is_file()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ValueError(f"cannot be the path of a folder: {reason}") from None
        if is_file:
            raise ValueError("is a file: name a folder")
        return folder

    @field_validator("job_store_url")
    @classmethod
    def _is_a_database(cls, value: str) -> str:
        if not re.match(r"(sqlite|postgresql)(\+\w+)?:", value):
            raise ValueError(
                "is not the URL of a database: write sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
            )
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _is_upper(cls, value: Any) -> Any:
        return _LEVELS.get(value.upper(), value.upper()) if isinstance(value, str) else value

    @cached_property
    def queue_table(self) -> Mapping[str, Queue]:
        """The queues in force: the default table with the operator's changes."""
        return make_queue_table(self.queue_name, self.queues)

    @property
    def places(self) -> Mapping[str, str]:
        """Where each setting comes from, by its name in capitals; those at their default are missing."""
        return self._places

    def time_limit_of(self, queue: Queue) -> float:
        """Return the seconds that one run on that queue may take, unless the job asks for another limit."""
        usual = self.pixyz_retry_time_limit if queue.long else self.pixyz_time_limit
        return usual if self.pixyz_max_time_limit is None else min(usual, self.pixyz_max_time_limit)

    @property
    def max_message_bytes(self) -> int:
        """Largest message between the platform's processes: the fields of a request and a result, as ASCII JSON."""
        return 3 * (2 * self.max_field_bytes + self.max_result_bytes) + 16 * 2**20

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


SETTINGS: Mapping[str, str] = {
    (field.alias or name).upper(): field.alias or name for name, field in Settings.model_fields.items()
}
"""Name of each setting -> the keyword that Settings takes it by."""


def load_settings(**overrides: Any) -> Settings:
    """Read environment and configuration file into Settings; overrides win.

    Raises:
        InvalidBackendParameter: a value is not usable; one line for each names variable, value and place.
    """
    return read_settings(**overrides).checked()


def read_settings(**overrides: Any) -> Reading:
    """Read environment and configuration file; overrides, by the names of the fields, win.

    Unlike `load_settings` this returns what is wrong instead of raising it.
    """
    return _read(None, overrides)


def read_draft(draft: Draft) -> Reading:
    """Read the environment and another configuration file than the one in force."""
    return _read(draft, {})


def _read(draft: Draft | None, overrides: Mapping[str, Any]) -> Reading:
    sources = collect(SETTINGS.keys(), draft)
    for key, value in overrides.items():
        sources.given[key.upper()] = Given(name=key.upper(), text=str(value), place=COMMAND_LINE)
    values = {SETTINGS[name]: given.anchored for name, given in sources.given.items() if name in SETTINGS}
    try:
        settings = Settings(_env_file=None, **{**values, **overrides})  # type: ignore[call-arg]
    except ValidationError as error:
        sources.problems += problems_of(error, sources.given)
        return Reading(settings=None, sources=sources)
    settings._places = {name: given.place for name, given in sources.given.items()}
    sources.notes += notes_on(settings, sources.given)
    return Reading(settings=None if sources.problems else settings, sources=sources)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
