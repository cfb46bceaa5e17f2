"""Import names of old scripts at interpreter start: `from celery import chain` as a script's first line.

`pixyz_startup.pth` in site-packages calls `register()` whenever Python starts. It adds one finder at the end of
sys.meta_path, which therefore is asked only for modules that nothing else has: an installed celery or pxz always
wins. Nothing of pixyz_worker is imported before one of these names is really needed.

PIXYZ_IMPORTS=0 in the environment switches it off.
"""

import os
import sys

NAMES = frozenset({"billiard", "celery", "kombu", "pixyz_worker", "pxz"})
"""Top-level packages that the finder answers for; of pixyz_worker only the modules that old versions had."""
_OFF = frozenset({"0", "false", "no", "off"})


class LastFinder:
    """Asks pixyz_worker.compat for a name of NAMES that no other finder has found."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]  # typing is slow to import
        """Return the spec of a name that pixyz_worker offers to scripts, or None."""
        if fullname.partition(".")[0] not in NAMES:
            return None
        # An editable install of the genuine package may have registered its finder after this one.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            if find is not None and (found := find(fullname, path, target)) is not None:
                return found
        try:
            from pixyz_worker import compat
        except ImportError:  # it was uninstalled while this file stayed
            return None
        return compat.last_resort(fullname)


def register() -> None:
    """Add the finder to sys.meta_path, unless it is there or switched off; called by the .pth file."""
    if os.environ.get("PIXYZ_IMPORTS", "").strip().lower() in _OFF:
        return
    if not any(type(finder).__name__ == "LastFinder" for finder in sys.meta_path):
        sys.meta_path.append(LastFinder())
