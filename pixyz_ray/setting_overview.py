"""All settings in force: value, default and source of each, and what differs from another platform's."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pixyz_ray.setting_problems import SECRET_NAMES, shown
from pixyz_ray.setting_types import in_words
from pixyz_ray.settings import SETTINGS, Settings
from pixyz_ray.units import format_number

DEFAULT = "default"
"""Source of a setting that nobody has set."""
_OCTAL = "share_umask"


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRow:
    """One setting in force."""

    name: str
    """Its name in the environment and in the file."""
    value: str | None
    """The value in words; None where it has none, or is a secret without a part that may be shown."""
    source: str
    """Where it comes from: `default`, `in the environment`, `in FILE, line 3`, `on the command line`."""
    is_set: bool
    """Whether it has another value than the default."""
    fingerprint: str | None
    """Of a secret that is set: a keyed digest, to find out whether two are the same. None for others."""

    def answer(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return asdict(self)

    @property
    def is_secret(self) -> bool:
        """Whether its value is shown in part at most."""
        return self.name in SECRET_NAMES

    @property
    def text(self) -> str:
        """The value for people."""
        if self.value is not None:
            return self.value
        return "(set, not shown)" if self.fingerprint else ""


def overview(settings: Settings, key: str) -> list[SettingRow]:
    """Return all settings.

    Args:
        settings: the settings in force.
        key: secret key of the fingerprints, known to the platform and the owner of its home alone.
    """
    return [_row(name, settings, key) for name in SETTINGS]


def field_of(name: str) -> str:
    """Return the field of Settings for a name in capitals."""
    return next(field for field, info in Settings.model_fields.items() if name == (info.alias or field).upper())


def description(name: str) -> str:
    """Return what a setting means, in a sentence or two."""
    return Settings.model_fields[field_of(name)].description or ""


def default_text(name: str) -> str | None:
    """Return the default of a setting in words; None where it has none."""
    field = field_of(name)
    return _text(field, Settings.model_fields[field].get_default(call_default_factory=True))


def fingerprint_key(local_token: str) -> str:
    """Return the key of the fingerprints for the token in a platform's home."""
    return hashlib.sha256(local_token.encode()).hexdigest()


def differences(
    running: Sequence[Mapping[str, Any]], written: Sequence[SettingRow], *, same_key: bool
) -> list[dict[str, Any]]:
    """Return the settings that a running platform has with another value than a new start would.

    Args:
        running: rows of the platform that runs, as `SettingRow.answer` makes them.
        written: rows of the settings that were read now.
        same_key: whether the fingerprints of both have the same key; without it, secrets are not compared.
    """
    now = {row.name: row for row in written}
    found = []
    for row in running:
        other = now.get(str(row.get("name")))
        if other is None:  # a setting of another version
            continue
        same_secret = not same_key or row.get("fingerprint") == other.fingerprint
        if row.get("value") == other.value and same_secret:
            continue
        found.append(
            {
                "name": other.name,
                "secret": other.is_secret,
                "running": _shown(row.get("value"), row.get("fingerprint")),
                "running_source": row.get("source"),
                "written": _shown(other.value, other.fingerprint),
                "written_source": other.source,
            }
        )
    return found


def _shown(value: Any, fingerprint: Any) -> str | None:
    if fingerprint is None:
        return None if value is None else str(value)
    return f"{value} (a part is not shown)" if value else "(set, not shown)"


def _row(name: str, settings: Settings, key: str) -> SettingRow:
    field = field_of(name)
    value = getattr(settings, field)
    text = _text(field, value)
    is_secret = name in SECRET_NAMES
    return SettingRow(
        name=name,
        value=text if text is None or not is_secret else shown(name, text),
        source=settings.places.get(name, DEFAULT),
        is_set=value != Settings.model_fields[field].get_default(call_default_factory=True),
        fingerprint=_fingerprint(key, name, text) if is_secret and text else None,
    )


def _text(field: str, value: Any) -> str | None:
    """Return a value as it may be written into the file; None for no value."""
    if value is None:
        return None
    if field == _OCTAL:
        return f"{value:03o}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps({name: _plain(one) for name, one in value.items()}, sort_keys=True) if value else None
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None
    words = in_words(value, Settings.model_fields[field])
    if words is not None:
        return words
    return format_number(value) if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    return dict(value) if isinstance(value, Mapping) else value


def _fingerprint(key: str, name: str, text: str) -> str:
    return hmac.new(key.encode(), f"{name}={text}".encode(), hashlib.sha256).hexdigest()[:32]
