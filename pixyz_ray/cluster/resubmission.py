"""Idempotent submission: the same key gives the same job, so that a request can be sent again."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID, uuid5

from pixyz_ray.storage import JobFolder

_KEYS = UUID("5b0d3a5e-6a0e-4f55-9d1c-1c3f4f0c7a52")
"""Namespace of the ids of jobs that are sent with a key."""
_ABANDONED_AFTER_S = 15.0


def folder_for_key(share: Path, submitter: str, key: str) -> JobFolder:
    """Return the folder of the job that a submitter sends with a key: always the same.

    Args:
        share: SHARE_PATH.
        submitter: name of the submitter's token.
        key: what the submitter sends as Idempotency-Key.
    """
    return JobFolder(share, str(uuid5(_KEYS, f"{submitter}\n{key}")))


def clear_abandoned(folder: JobFolder) -> bool:
    """Remove the folder of a request that was lost before it became a job; return whether the folder is gone.

    The replica that received it is gone when nothing has been written for 15 s; until then the request may be in
    progress.
    """
    try:
        inputs = folder.inputs
        paths = [folder.path, *((inputs, *inputs.iterdir()) if inputs.is_dir() else ())]
        if time.time() - max(path.stat().st_mtime for path in paths) < _ABANDONED_AFTER_S:
            return False
    except FileNotFoundError:
        return False
    folder.remove()
    return True
