"""Digest of the settings in force: two processes compare it to see whether they have the same ones."""

from __future__ import annotations

import hashlib
import json

from pixyz_ray.settings import Settings


def settings_digest(settings: Settings) -> str:
    """Return a digest (hex) of all settings; secrets cannot be read from it."""
    plain = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]
