"""The settings as they were read: values, sources, problems and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixyz_ray.setting_problems import described, shown
from pixyz_ray.setting_sources import Given, Note, Sources
from pixyz_ray.setting_types import in_words
from pixyz_ray.units import format_size, is_bare
from pixyz_worker.exception import InvalidBackendParameter

if TYPE_CHECKING:
    from pixyz_ray.settings import Settings

_HUGE_MEMORY = 2**40
"""Bytes from which on a limit of memory is no limit."""
_TINY_MEMORY = 64 * 2**20
"""Bytes that a script which imports a 3D library needs at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The settings as they were read."""

    settings: Settings | None
    """The settings; None where something keeps them from being used."""
    sources: Sources
    """Where each comes from; problems and notes."""

    def checked(self) -> Settings:
        """Return the settings.

        Raises:
            InvalidBackendParameter: they cannot be used; one line for each reason.
        """
        if self.settings is None:
            raise InvalidBackendParameter("\n".join(self.sources.problems))
        return self.settings

    def rows(self) -> list[dict[str, str]]:
        """Return name, value and source of each setting that somebody has set, by name."""
        return [
            {"name": name, "value": self._value(name, given.text), "source": given.place}
            for name, given in sorted(self.sources.given.items())
        ]

    def _value(self, name: str, text: str) -> str:
        value = shown(name, text)
        if value is None:
            return "set, not shown"
        field = None if self.settings is None else type(self.settings).model_fields.get(name.lower())
        meant = None if field is None else getattr(self.settings, name.lower())
        words = str(meant) if isinstance(meant, Path) else field and in_words(meant, field)
        return f"{value} ({words})" if words and words != value else value


def notes_on(settings: Settings, given: Mapping[str, Given]) -> list[Note]:
    """Return notes on settings that can be used, but look wrong."""
    notes = []
    for name, effect in (
        ("PROCESS_PATH", "there are no pre-built processes"),
        ("PIXYZ_PYTHON_PATH", "the Pixyz SDK is not found there"),
    ):
        if name in given and not getattr(settings, name.lower()).is_dir():
            found = f"{described(name, given[name])} does not exist, so {effect}."
            notes.append(Note(found=found, remedy="Make the folder, or correct the setting."))
    if settings.api_replicas > 1 and not settings.trusted_proxies:
        found = (
            f"API_REPLICAS={settings.api_replicas}, but TRUSTED_PROXIES is not set: the proxy in front of the replicas "
            "counts as one client, with that client's limits."
        )
        remedy = "Set TRUSTED_PROXIES to the address of the machine on which nginx runs (see  pixyz nginx)."
        notes.append(Note(found=found, remedy=remedy))
    for name in ("MAX_MEMORY_USAGE", "MAX_MEMORY_USAGE_GPUHIGH"):
        if (one := given.get(name)) is not None:
            notes += _memory_notes(described(name, one), one, getattr(settings, name.lower()))
    return notes


def _memory_notes(subject: str, given: Given, size: int) -> list[Note]:
    """Return a note for a limit on memory that was probably meant in another unit."""
    counted = f"{subject} is {format_size(size)}" + (
        ": a number without a unit counts KB" if is_bare(given.text) else ""
    )
    if size >= _HUGE_MEMORY:
        return [
            Note(found=f"{counted}, and no job takes that much.", remedy="Write a size with its unit, such as 8GB.")
        ]
    if 0 < size < _TINY_MEMORY:
        return [Note(found=f"{counted}, too little for most jobs.", remedy="Write a size with its unit, such as 2GB.")]
    return []
