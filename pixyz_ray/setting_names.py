"""Names that are not settings: those of the scheduler before this one without a meaning here, and typing errors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pixyz_worker.nearest import close_names, nearest, similarity

CLIENT_NAMES = frozenset({"PIXYZ_HOME", "PIXYZ_CONFIG", "PIXYZ_URL", "PIXYZ_TOKEN"})
"""Variables of ours that are not settings: they are read from the environment alone."""
_CLOSE_IN_FILE, _CLOSE_IN_ENVIRONMENT, _SIMILAR_WORD = 0.7, 0.85, 0.75
"""Similarities from which on a name, or its first word, counts as a misspelling."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldName:
    """Settings of the scheduler before this one that have no meaning here."""

    patterns: Sequence[str]
    """Names, or patterns of names, that count in a configuration file."""
    reason: str
    """Why they have no meaning here; a clause that follows a colon."""
    remedy: str
    """What to do instead."""
    variables: frozenset[str] = frozenset()
    """Names that are reported in the environment too; only those that hardly anything else uses."""


OLD_NAMES: Sequence[OldName] = (
    OldName(
        patterns=("REDIS_*",),
        reason="jobs wait in the platform itself, and their records are in SQLite or PostgreSQL",
        remedy="Remove it; JOB_STORE_URL chooses the database.",
        variables=frozenset(
            f"REDIS_{name}"
            for name in (
                *("HOST", "PORT", "USERNAME", "PASSWORD", "DATABASE", "DB", "URL"),
                *("MASTER_SERVICE_HOST", "MASTER_SERVICE_PORT"),
            )
        ),
    ),
    OldName(
        patterns=("CELERY_*", "BROKER_*", "RABBITMQ_*", "AMQP_*", "KOMBU_*"),
        reason="the platform hands jobs to Ray and needs neither Celery nor a broker",
        remedy="Remove it; PIXYZ_QUEUES changes the queues.",
        variables=frozenset({"CELERY_BROKER_URL", "CELERY_BROKER", "BROKER_URL", "RABBITMQ_HOST", "RABBITMQ_URL"}),
    ),
    OldName(
        patterns=("RESULT_BACKEND*", "BACKEND_URL", "BACKEND_*"),
        reason="results are in the job records",
        remedy="Remove it; JOB_STORE_URL chooses the database.",
        variables=frozenset({"CELERY_RESULT_BACKEND", "RESULT_BACKEND", "BACKEND_URL"}),
    ),
    OldName(
        patterns=("FLOWER_*",),
        reason="there is no Flower",
        remedy="Remove it; `pixyz queue`, `pixyz jobs --why` and /metrics show queues and jobs.",
        variables=frozenset({"FLOWER_PORT", "FLOWER_BASIC_AUTH", "FLOWER_URL"}),
    ),
    OldName(
        patterns=("POOL_TYPE", "WORKER_*", "*_CONCURRENCY", "PREFETCH_*"),
        reason="every worker is a process for one job at a time, started when it is needed",
        remedy="Remove it; CONCURRENT_TASKS and the concurrency of a queue in PIXYZ_QUEUES bound how many run.",
        variables=frozenset({"POOL_TYPE", "WORKER_CONCURRENCY", "CELERYD_CONCURRENCY"}),
    ),
    OldName(
        patterns=("DOCKER_*", "PIXYZ_IMAGE_*", "IMAGE_*", "COMPOSE_*"),
        reason="the platform is a Python package and starts no containers",
        remedy="Remove it.",
        variables=frozenset(
            {
                *("DOCKER_REDIS_IMAGE", "DOCKER_API_IMAGE", "DOCKER_WORKER_IMAGE"),
                *("PIXYZ_IMAGE_BASE", "PIXYZ_IMAGE_VERSION"),
            }
        ),
    ),
    OldName(
        patterns=("UID", "GID", "PUID", "PGID", "USER_ID", "GROUP_ID"),
        reason="files of jobs belong to the user who starts the platform",
        remedy="Remove it, and start the platform as that user.",
    ),
    OldName(
        patterns=("GOD_PASSWORD", "API_PASSWORD", "API_TOKEN", "API_KEY"),
        reason="the platform keeps no token in clear text",
        remedy='Set GOD_PASSWORD_SHA256 instead: printf %s "TOKEN" | sha256sum.',
        variables=frozenset({"GOD_PASSWORD"}),
    ),
    OldName(
        patterns=("STORAGE_*", "S3_*", "AWS_*", "MINIO_*", "AZURE_*", "GCS_*", "BUCKET_*"),
        reason="files of jobs are in a folder that all machines share",
        remedy="Remove it; SHARE_PATH names the folder.",
        variables=frozenset({"STORAGE_BACKEND", "STORAGE_PATH", "STORAGE_TYPE"}),
    ),
    OldName(
        patterns=("API_WORKERS", "UVICORN_*", "GUNICORN_*", "WEB_CONCURRENCY"),
        reason="one process serves HTTP, and starts again by itself",
        remedy="Remove it.",
        variables=frozenset({"API_WORKERS"}),
    ),
    OldName(
        patterns=("PIXYZ_HOME", "PIXYZ_CONFIG"),
        reason="it says where the configuration is, so it cannot be in it",
        remedy="Set it in the environment.",
    ),
    OldName(
        patterns=("PIXYZ_URL", "PIXYZ_TOKEN"),
        reason="it is read by the client, which does not read this file",
        remedy="Set it in the environment, or in ~/.config/pixyz/client.toml.",
    ),
)


def find_old_name(name: str, *, in_file: bool) -> OldName | None:
    """Return the entry for a name of the scheduler before this one, or None.

    Args:
        name: name in capitals.
        in_file: whether it is in the configuration file, where whole families of names count; in the environment of
            a machine, names such as AZURE_* belong to others.
    """
    for old in OLD_NAMES:
        if name in old.variables or (in_file and any(fnmatchcase(name, pattern) for pattern in old.patterns)):
            return old
    return None


def guess_in_file(name: str, known: Collection[str]) -> str | None:
    """Return the setting that an unknown name in the configuration file was probably meant to be, or None."""
    return nearest(name, known, cutoff=_CLOSE_IN_FILE)


def guess_in_environment(name: str, known: Collection[str]) -> str | None:
    """Return the setting that a variable was almost certainly meant to be, or None.

    Variables of other programs are common, so a similar name is not enough: the first words must be equal, or similar
    with the rest equal.
    """
    if "_" not in name or name in CLIENT_NAMES:
        return None
    for meant in close_names(name, known, most=3, cutoff=_CLOSE_IN_ENVIRONMENT):
        (first, _, rest), (first_meant, _, rest_meant) = name.partition("_"), meant.partition("_")
        similar = similarity(first, first_meant) >= _SIMILAR_WORD
        if first == first_meant or (similar and rest == rest_meant):
            return meant
    return None
