"""Keys of a job's config: which ones the platform knows, which ones the caller cannot set, and which look misspelt."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixyz_ray.json_fields import json_object
from pixyz_ray.policy import POLICY_KEYS
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import nearest
from pixyz_worker.wire import RUNNER_KEYS

_log = logging.getLogger(__name__)

RESERVED_KEYS = frozenset({"script", "data", "shadow", "uuid"})
"""Keys that the contract reserves for the platform."""

CONFIG_KEYS = POLICY_KEYS | {"entrypoint", "queue", "time_limit", "compute_only", "raw", "root_file", "strict"}
"""Keys with a meaning for the platform. All others are the script's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedConfig:
    """The config as the caller sent it."""

    values: Mapping[str, Any]
    """The keys that are used: without null values, and without those that the platform sets."""
    strict: bool
    """Whether a name that looks misspelt is refused."""
    notes: tuple[str, ...]
    """Keys that were ignored, and keys that look misspelt."""


def read_config(text: str) -> AskedConfig:
    """Read the form field `config`.

    Args:
        text: JSON object, or empty.

    Raises:
        InvalidBackendParameter: it is not a JSON object; with `strict`, a key looks misspelt.
    """
    # Old clients send every key that they know, with null for those that are not given.
    given = {key: value for key, value in json_object(text, "config", {}).items() if value is not None}
    # A caller must not be able to name other files than those that were sent.
    ignored = sorted(key for key in given if key in RESERVED_KEYS or key in RUNNER_KEYS)
    notes = []
    if ignored:
        names = ", ".join(map(repr, ignored))
        _log.warning("config keys %s are set by the platform: ignored", names)
        kind = "keys" if len(ignored) > 1 else "key"
        notes.append(f"config {kind} {names} ignored: the platform sets {'them' if len(ignored) > 1 else 'it'} itself.")
    values = {key: value for key, value in given.items() if key not in ignored}
    strict = typed(values, "strict", bool, False)
    for key in sorted(values.keys() - CONFIG_KEYS):
        meant = nearest(key, CONFIG_KEYS)
        if meant is None:
            continue
        problem = f"config key {key[:100]!r} is not known; did you mean {meant!r}?"
        if strict:
            raise InvalidBackendParameter(f"{problem} With 'strict', such a key is refused.")
        notes.append(f"{problem} It was passed on to the script's context.")
    return AskedConfig(values=values, strict=strict, notes=tuple(notes))


def typed(values: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return a value of the config, or the default when it is not given.

    Raises:
        InvalidBackendParameter: it has another type.
    """
    value = values.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise InvalidBackendParameter(f"config: {key!r} must be of type {kind.__name__}, not {type(value).__name__}.")
    return value
