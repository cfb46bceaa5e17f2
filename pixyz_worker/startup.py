"""Import names of old scripts in plain Python: `from celery import chain` as a script's first line.

`pixyz_startup.pth` in site-packages adds a finder to the end of sys.meta_path whenever Python starts. It is therefore
asked only for modules that nothing else has: an installed celery or pxz always wins. For a name of those packages it
imports this module, which asks pixyz_worker.compat. All else costs a start some microseconds: the class is written
into the .pth file, because to look for a module takes a hundred times as long.

PIXYZ_IMPORTS=0 in the environment switches it off.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from typing import Any

_NEEDED = frozenset({"pixyz_worker", "pixyz_worker.compat", "pixyz_worker.old_modules"})
"""Modules that answer here; to ask for one of them would recurse."""
_OFF = frozenset({"0", "false", "no", "off"})


def find_spec(finder: Any, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
    """Return the spec of a name that pixyz_worker offers to scripts, or None.

    Args:
        finder: the one of sys.meta_path that was asked.
        fullname: name of the module; like path and target as finders get them.
        path: search path of its package.
        target: a module that is reloaded.
    """
    if os.environ.get("PIXYZ_IMPORTS", "").strip().lower() in _OFF:
        return None
    # An editable install of the genuine package may have added its finder after this one.
    for later in sys.meta_path[sys.meta_path.index(finder) + 1 :]:
        find = getattr(later, "find_spec", None)
        found: ModuleSpec | None = find(fullname, path, target) if find is not None else None
        if found is not None:
            return found
    if fullname in _NEEDED:
        return None
    try:
        from pixyz_worker import compat
    except ImportError:  # it was uninstalled while this file stayed
        return None
    return compat.last_resort(fullname)
