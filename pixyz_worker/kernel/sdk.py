"""Whether the genuine Pixyz SDK is here and wanted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

PRODUCER = "pixyz-on-ray"
"""What our own pxz modules carry as __producer__, so that nobody takes them for the SDK."""
_OFF = frozenset({"1", "true", "yes", "on"})


def genuine() -> Any | None:
    """The module pxz of the SDK; None when it is absent, or switched off by DISABLE_PIXYZ."""
    if os.environ.get("DISABLE_PIXYZ", "").strip().lower() in _OFF:
        return None
    loaded = sys.modules.get("pxz")
    if loaded is None:
        try:
            loaded = importlib.import_module("pxz")
        except ImportError:
            return None
    is_folder = getattr(getattr(loaded, "__spec__", loaded), "origin", "") is None
    return None if is_folder or getattr(loaded, "__producer__", None) == PRODUCER else loaded
