"""Arguments of the Serve application."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from pixyz_ray.settings import SETTINGS, Settings, load_settings
from pixyz_worker.nearest import SIMILAR, nearest


class AppArguments(BaseModel):
    """Arguments of the application: any setting, by its name in upper or lower case, as in `api_port=8123`.

    They take precedence over the environment and the configuration file of the machine where the application is built.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_settings(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = [name.lower() for name in SETTINGS]
        for name in sorted(map(str, given)):
            if name.lower() not in known:
                meant = nearest(name, known, cutoff=SIMILAR)
                hint = f"Did you mean {meant}?" if meant else "Arguments are settings, such as api_port."
                raise ValueError(f"There is no setting {name!r}. {hint}")
        return {str(name).lower(): value for name, value in given.items()}

    def settings(self) -> Settings:
        """Return the settings that result.

        Raises:
            InvalidBackendParameter: a value cannot be used.
        """
        return load_settings(**{SETTINGS[name.upper()]: value for name, value in (self.model_extra or {}).items()})
